//! What an accepted topic does to the state, one file per group of topics.
//! Each function refuses what does not fit the state, with a reason for people.

mod bundle;
mod members;
pub(crate) mod nodes;
pub(crate) mod rules;
mod stake;

use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, MemberState, MemberStatus, Outcome};
use consilium_proto::transaction::{NodeAction, Topic};

use super::{Change, Unfit, fits};
use crate::view::{StateReader, View};

/// Makes the change of a topic.
pub(super) fn run<R: StateReader>(view: &mut View<'_, R>, change: &Change<'_>, topic: &Topic) -> Result<(), Unfit> {
    match topic {
        Topic::Admit(member) => members::admit(view, change, member),
        Topic::Suspend(member) => members::suspend(view, change, member.as_str()),
        Topic::Reinstate(member) => members::reinstate(view, member.as_str()),
        Topic::Remove { member, successor } => {
            members::remove(view, change, member.as_str(), successor.as_ref().map(MemberId::as_str))
        }
        Topic::RotateCaBundle { member, ca_bundle, without_overlap } => {
            bundle::rotate(view, change, member, ca_bundle, *without_overlap)
        }
        Topic::Node(NodeAction::Register { member, node }) => nodes::register(view, member.as_str(), node).map(|_| ()),
        Topic::Node(NodeAction::Replace { lost, node }) => nodes::replace(view, change, *lost, node).map(|_| ()),
        Topic::Node(NodeAction::Retire(node)) => nodes::retire(view, change, *node),
        Topic::AllotStake { member, stake } => stake::allot(view, member.as_str(), *stake),
        Topic::Parameters(parameters) => rules::change_parameters(view, &pb::Parameters::from(&**parameters)),
        Topic::AccessPolicy(text) => rules::set_access_policy(view, change, text),
        Topic::LiftPenalty(number) => stake::lift_penalty(view, change, *number),
        Topic::ActivateProtocol { version, height } => rules::activate_protocol(view, change, *version, *height),
    }
}

/// A member that was not removed.
fn present_member<R: StateReader>(view: &View<'_, R>, id: &str) -> Result<MemberState, Unfit> {
    let member = view.member(id)?.filter(|m| m.status != MemberStatus::Removed as i32);
    member.ok_or_else(|| Unfit::refused(Outcome::ProposalRefused, format!("{id} is not a member")))
}

/// A member with full rights.
fn active_member<R: StateReader>(view: &View<'_, R>, id: &str) -> Result<MemberState, Unfit> {
    let member = present_member(view, id)?;
    let active = member.status == MemberStatus::Active as i32;
    fits(active, Outcome::MemberNotActive, || format!("{id} is suspended"))?;
    Ok(member)
}
