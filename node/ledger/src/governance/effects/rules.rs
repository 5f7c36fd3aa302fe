//! What holds for everyone: parameters, the access policy, the version of the
//! rules.

use consilium_proto::ids::Height;
use consilium_proto::pb::{self, AccessPolicyState, Outcome};

use super::{Change, Unfit, fits};
use crate::governance::protocol;
use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// In force from the next block on; the parts that make a set of validators,
/// from the next election on. They were checked when the proposal was parsed.
pub(super) fn change_parameters<R: StateReader>(
    view: &mut View<'_, R>,
    parameters: &pb::Parameters,
) -> Result<(), Unfit> {
    let present: Option<pb::Parameters> = view.message(Table::State, &keys::parameters())?;
    let changes = present.as_ref() != Some(parameters);
    fits(changes, Outcome::ProposalRefused, || "these parameters are in force".to_owned())?;
    view.put_parameters(parameters);
    Ok(())
}

/// A version above the last one, in force from the next block on. A text that is no policy is
/// refused when it is proposed, and again here: what the engine makes of it belongs to the version
/// of the rules.
pub(super) fn set_access_policy<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    text: &str,
) -> Result<(), Unfit> {
    let why = || "the text is no access policy: `consilium policy check FILE` says why".to_owned();
    fits(change.policy.is_policy(text), Outcome::ProposalRefused, why)?;
    let mut roster = view.roster()?;
    roster.last_policy = roster.last_policy.checked_add(1).ok_or_else(|| corrupt("policy versions are used up"))?;
    let policy = AccessPolicyState {
        version: roster.last_policy,
        text: text.to_owned(),
        height: change.height.next().0,
        proposal: change.proposal,
    };
    view.put_roster(&roster);
    view.put_message(Table::State, keys::access_policy(policy.version), &policy);
    Ok(())
}

/// One version at a time, and only in the future. A later proposal for the same
/// version moves its height, until it is reached.
pub(super) fn activate_protocol<R: StateReader>(
    view: &mut View<'_, R>,
    change: &Change<'_>,
    version: u32,
    height: Height,
) -> Result<(), Unfit> {
    let mut protocol = protocol(view)?;
    let present = protocol.version;
    let follows = present.checked_add(1) == Some(version);
    fits(follows, Outcome::ProposalRefused, || format!("version {version} does not follow version {present}"))?;
    let ahead = height > change.height;
    fits(ahead, Outcome::ProposalRefused, || format!("height {height} is not above height {}", change.height))?;
    protocol.next_version = version;
    protocol.next_height = height.0;
    view.put_message(Table::State, keys::protocol(), &protocol);
    Ok(())
}

/// At the start of a block: brings a version into force whose height has come.
/// Gives the version that the block runs under.
pub(crate) fn advance_protocol<R: StateReader>(view: &mut View<'_, R>, height: Height) -> Result<u32, StoreFault> {
    let mut protocol = protocol(view)?;
    if protocol.next_version != 0 && height.0 >= protocol.next_height {
        protocol.version = protocol.next_version;
        protocol.next_version = 0;
        protocol.next_height = 0;
        view.put_message(Table::State, keys::protocol(), &protocol);
    }
    Ok(protocol.version)
}
