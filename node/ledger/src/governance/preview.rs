//! What a proposal would come to, for those who are asked to sign it: the same
//! code that executes it, run on a view that is thrown away.

use consilium_proto::header::Header;
use consilium_proto::pb::{self, ProposalState, ProposalTopic};
use consilium_proto::transaction::Topic;

use super::quorum::{self, Arithmetic};
use super::{Change, Unfit, count, describe, effects, measured};
use crate::epoch::EpochInForce;
use crate::rules::IdentityRules;
use crate::view::{StateReader, StoreFault, View};

/// What a topic would come to if it were accepted in the next block.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Whether it fits the state.
    pub possible: bool,
    /// If not: why, with the arithmetic.
    pub refusal: Option<String>,
    /// What its tally counts, without any ballot.
    pub tally: pb::Tally,
    /// What it changes, a sentence each, for people; empty if it fits no state
    /// like this one.
    pub effects: Vec<String>,
    /// The power that certifies now, and after it, in words.
    pub quorum_arithmetic: String,
}

/// Tries a topic on the state after `tip`. Nothing is written.
///
/// # Errors
/// If the store fails. A topic that is malformed or does not fit is an answer.
pub fn preview<R: StateReader>(
    reader: &R,
    identities: &dyn IdentityRules,
    tip: &Header,
    topic: &ProposalTopic,
) -> Result<Preview, StoreFault> {
    let before = View::new(reader);
    let tally = count(&before, &ProposalState { topic: Some(topic.clone()), ..ProposalState::default() })?;
    let epoch = EpochInForce::load(&before, tip)?;
    let parsed = match Topic::parse(topic) {
        Ok(parsed) => parsed,
        Err(error) => return refused(&before, &epoch, tally, error.to_string()),
    };
    let proposal = before.roster()?.last_proposal.saturating_add(1);
    let change = Change { identities, height: tip.height.next(), epoch: &epoch, proposal };
    let mut view = View::new(reader);
    let arithmetic = match measured(&mut view, &change, |view| effects::run(view, &change, &parsed)) {
        Ok(((), arithmetic)) => arithmetic,
        Err(Unfit::Refused { outcome: _, why }) => return refused(&before, &epoch, tally, why),
        Err(Unfit::Fault(fault)) => return Err(fault),
    };
    let mut effects = describe::effects(&before, &change, &parsed)?;
    effects.extend(describe::seats(&view, &arithmetic)?);
    let quorum_arithmetic = arithmetic.to_string();
    let refusal = arithmetic.strands().then(|| format!("the network could not go on: {quorum_arithmetic}"));
    Ok(Preview { possible: refusal.is_none(), refusal, tally, effects, quorum_arithmetic })
}

fn refused<R: StateReader>(
    view: &View<'_, R>,
    epoch: &EpochInForce,
    tally: pb::Tally,
    why: String,
) -> Result<Preview, StoreFault> {
    let quorum_arithmetic = Arithmetic::of(quorum::measure(view, epoch)?).to_string();
    Ok(Preview { possible: false, refusal: Some(why), tally, effects: Vec::new(), quorum_arithmetic })
}
