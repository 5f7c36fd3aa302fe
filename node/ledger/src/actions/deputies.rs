//! Who acts in a custodian's place: a deputy, in emergencies, and the member that has accepted
//! what another one keeps, once that one has left. By administrators.
//!
//! What the members vote on must hold when they have voted: while a proposal to remove a member
//! is open that names who has accepted its custody, that cannot be taken back, nor can more be
//! asked for.

use consilium_proto::names::MemberId;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{CustodyState, MemberStatus, Outcome, ProposalState};
use consilium_proto::transaction::CustodyAction;

use super::{Author, Context, active_member};
use crate::custody::{begin_all, change, join, leave, load};
use crate::keys;
use crate::rules::{Refusal, ensure};
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

pub(super) fn run<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    author: &Author,
    action: &CustodyAction,
) -> Result<(), Refusal> {
    author.ensure_admin()?;
    match action {
        CustodyAction::NameDeputy(deputy) => name_deputy(view, cx, author.member(), deputy.as_ref()),
        CustodyAction::Accept { member, missing_max } => accept(view, cx, author.member(), member, *missing_max),
        CustodyAction::TakeBack(member) => take_back(view, cx, author.member(), member.as_str()),
    }
}

fn must_have<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<CustodyState, Refusal> {
    load(view, member)?.ok_or(Refusal::Rejected(Outcome::CustodianRefused))
}

fn name_deputy<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    own: &str,
    deputy: Option<&MemberId>,
) -> Result<(), Refusal> {
    let mut custody = must_have(view, own)?;
    let deputy = deputy.map(MemberId::as_str).unwrap_or_default();
    if custody.deputy == deputy {
        return Ok(());
    }
    if !deputy.is_empty() {
        ensure(deputy != own, Outcome::CustodianRefused)?;
        active_member(view, deputy)?;
        must_have(view, deputy)?;
    }
    let before = std::mem::replace(&mut custody.deputy, deputy.to_owned());
    view.put_message(Table::State, keys::custody(own), &custody);
    if !before.is_empty() {
        change(view, &before, |duties| leave(&mut duties.deputy_of, own))?;
    }
    if !deputy.is_empty() {
        change(view, deputy, |duties| join(&mut duties.deputy_of, own))?;
        begin_all(view, deputy, cx.height)?;
    }
    Ok(())
}

/// Another member's acceptance stands until it takes it back or is not active any more; only
/// whom the member itself has named as deputy takes its place.
fn accept<R: StateReader>(
    view: &mut View<'_, R>,
    cx: &Context<'_>,
    own: &str,
    member: &MemberId,
    missing_max: u64,
) -> Result<(), Refusal> {
    let member = member.as_str();
    let mut custody = must_have(view, member)?;
    must_have(view, own)?;
    let left = view.member(member)?.is_none_or(|state| state.status == MemberStatus::Removed as i32);
    ensure(member != own && !left, Outcome::CustodianRefused)?;
    let eased = custody.successor == own && missing_max >= custody.missing_max;
    ensure(eased || !is_voted_on(view, cx, member, &custody.successor)?, Outcome::CustodianRefused)?;
    let before = std::mem::replace(&mut custody.successor, own.to_owned());
    if !before.is_empty() && before != own {
        let stands = view.member(&before)?.is_some_and(|state| state.status == MemberStatus::Active as i32);
        ensure(!stands || custody.deputy == own, Outcome::CustodianRefused)?;
        change(view, &before, |duties| leave(&mut duties.successor_of, member))?;
    }
    custody.missing_max = missing_max;
    view.put_message(Table::State, keys::custody(member), &custody);
    change(view, own, |duties| join(&mut duties.successor_of, member))?;
    Ok(begin_all(view, own, cx.height)?)
}

fn take_back<R: StateReader>(view: &mut View<'_, R>, cx: &Context<'_>, own: &str, member: &str) -> Result<(), Refusal> {
    let mut custody = must_have(view, member)?;
    ensure(custody.successor == own && !is_voted_on(view, cx, member, own)?, Outcome::CustodianRefused)?;
    (custody.successor, custody.missing_max) = (String::new(), 0);
    view.put_message(Table::State, keys::custody(member), &custody);
    Ok(change(view, own, |duties| leave(&mut duties.successor_of, member))?)
}

/// Whether the members vote on a removal of a member that names who keeps its records then.
fn is_voted_on<R: StateReader>(
    view: &View<'_, R>,
    cx: &Context<'_>,
    member: &str,
    successor: &str,
) -> Result<bool, StoreFault> {
    for number in view.roster()?.open_proposals {
        let proposal: Option<ProposalState> = view.message(Table::State, &keys::proposal(number))?;
        let Some(proposal) = proposal.filter(|proposal| cx.time.0 <= proposal.expires_ms) else { continue };
        if let Some(Topic::RemoveMember(topic)) = proposal.topic.and_then(|topic| topic.topic)
            && (topic.member.as_str(), topic.successor.as_str()) == (member, successor)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
