//! The effects of a topic in plain sentences, from the state before it. Says
//! nothing that the effects do not do; called only for a topic that fits.

use bytes::Bytes;
use consilium_proto::genesis::Member;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::parameters::{Parameters, differences};
use consilium_proto::pb::{self, MemberState};
use consilium_proto::transaction::{NodeAction, NodeDescription, Topic};

use super::effects::{bundle, members, nodes, stake};
use super::quorum::Arithmetic;
use super::{Change, protocol};
use crate::roster::corrupt;
use crate::stake::free;
use crate::view::{StateReader, StoreFault, View};

type Lines = Result<Vec<String>, StoreFault>;

const ELECTED_LATER: &str = "may be elected once caught up, from the end of an epoch on";

/// What a topic changes, one sentence each.
pub(super) fn effects<R: StateReader>(view: &View<'_, R>, change: &Change<'_>, topic: &Topic) -> Lines {
    match topic {
        Topic::Admit(member) => admit(view, member),
        Topic::Suspend(member) => suspend(view, change, member.as_str()),
        Topic::Reinstate(member) => reinstate(view, member.as_str()),
        Topic::Remove(member) => remove(view, change, member.as_str()),
        Topic::RotateCaBundle { member, ca_bundle, without_overlap: _ } => rotate(view, member.as_str(), ca_bundle),
        Topic::Node(NodeAction::Register { member, node }) => add_node(view, member.as_str(), node),
        Topic::Node(NodeAction::Replace { lost, node }) => replace_node(view, change, *lost, node),
        Topic::Node(NodeAction::Retire(node)) => retire_node(view, change, *node),
        Topic::AllotStake { member, stake } => allot(view, member.as_str(), *stake),
        Topic::Parameters(new) => parameters(view, new),
        Topic::AccessPolicy(text) => access_policy(view, text),
        Topic::LiftPenalty(number) => lift_penalty(view, *number),
        Topic::ActivateProtocol { version, height } => activate_protocol(view, *version, *height),
    }
}

/// What a change does to the next election; `view` holds the change.
pub(super) fn seats<R: StateReader>(view: &View<'_, R>, arithmetic: &Arithmetic) -> Lines {
    let mut lines = Vec::new();
    for id in &arithmetic.unseated {
        lines.push(format!("The next election would seat {} without this, and does not with it.", name(view, *id)?));
    }
    for id in &arithmetic.newly_seated {
        lines.push(format!("The next election seats {} because of this.", name(view, *id)?));
    }
    Ok(lines)
}

fn parameters<R: StateReader>(view: &View<'_, R>, new: &Parameters) -> Lines {
    let differences = differences(&pb::Parameters::from(&view.parameters()?), &pb::Parameters::from(new));
    Ok(differences.iter().map(|(name, old, new)| format!("Sets {name} from {old} to {new}.")).collect())
}

fn admit<R: StateReader>(view: &View<'_, R>, member: &Member) -> Lines {
    let Member { id, display_name, ca_bundle, stake, nodes } = member;
    let first = view.roster()?.last_raft_id.saturating_add(1);
    let joining: Vec<String> = (first..).zip(nodes).map(|(id, node)| format!("{} as {id}", node.name)).collect();
    Ok(vec![
        format!("Admits {id} ({display_name}) with {} and a stake of {stake}.", count(ca_bundle.len(), "CA")),
        format!("Its nodes join as learners under new raft ids ({}); each {ELECTED_LATER}.", joining.join(", ")),
        format!("Its stake of {stake} is delegated to its own nodes evenly."),
    ])
}

fn suspend<R: StateReader>(view: &View<'_, R>, change: &Change<'_>, id: &str) -> Lines {
    let MemberState { stake, .. } = member(view, id)?;
    let mut lines = vec![format!(
        "Suspends {id}: with the block that accepts this its identities can no longer connect, write or vote."
    )];
    lines.extend(lost_seats(view, change, id)?);
    lines.push(format!("Its stake of {stake}, and what it delegates, does not count until it is reinstated."));
    Ok(lines)
}

fn reinstate<R: StateReader>(view: &View<'_, R>, id: &str) -> Lines {
    let MemberState { stake, .. } = member(view, id)?;
    let mut lines = vec![format!(
        "Reinstates {id}: its identities can connect, write and vote again, its stake of {stake} counts."
    )];
    for node in nodes::of_member(view, id)? {
        lines.push(format!("{} {ELECTED_LATER}.", capital(&name(view, NodeId(node.raft_id))?)));
    }
    Ok(lines)
}

fn remove<R: StateReader>(view: &View<'_, R>, change: &Change<'_>, id: &str) -> Lines {
    let MemberState { stake, .. } = member(view, id)?;
    let mut lines = vec![
        format!(
            "Removes {id} for good: its identities can no longer connect, write or vote, and its id is never used again."
        ),
        format!("Its stake of {stake} is gone."),
    ];
    lines.extend(lost_seats(view, change, id)?);
    for node in nodes::of_member(view, id)? {
        let node = NodeId(node.raft_id);
        lines.push(format!("Retires {}; {}", name(view, node)?, unbonds(foreign_stake(view, id, node)?)));
    }
    Ok(lines)
}

fn rotate<R: StateReader>(view: &View<'_, R>, id: &str, new: &[Bytes]) -> Lines {
    let present = member(view, id)?.ca_bundle;
    let stay = present.iter().filter(|ca| new.contains(ca)).count();
    let (join, leave) = (new.len() - stay.min(new.len()), present.len() - stay);
    let mut lines =
        vec![format!("Replaces the CA bundle of {id}: {} stay, {join} join, {leave} leave.", count(stay, "CA"))];
    if leave > 0 {
        lines.push(
            "Identities under a CA that leaves can no longer connect; its revocation list is dropped.".to_owned(),
        );
    }
    if !bundle::overlaps(&present, new) {
        lines.push(format!("No CA stays: every identity of {id} must enrol again before it can write or vote."));
    }
    Ok(lines)
}

fn add_node<R: StateReader>(view: &View<'_, R>, id: &str, node: &NodeDescription) -> Lines {
    let raft_id = view.roster()?.last_raft_id.saturating_add(1);
    Ok(vec![format!("Adds node {raft_id} ({} of {id}) as a learner; it {ELECTED_LATER}.", node.name)])
}

fn replace_node<R: StateReader>(
    view: &View<'_, R>,
    change: &Change<'_>,
    lost: NodeId,
    node: &NodeDescription,
) -> Lines {
    let raft_id = view.roster()?.last_raft_id.saturating_add(1);
    Ok(vec![
        format!("Puts node {raft_id} ({}) in the place of {}; it {ELECTED_LATER}.", node.name, name(view, lost)?),
        format!("The stake of {} on the old node moves to the new one.", stake_on(view, lost)?),
        leaves(view, change, lost)?,
    ])
}

fn retire_node<R: StateReader>(view: &View<'_, R>, change: &Change<'_>, id: NodeId) -> Lines {
    Ok(vec![leaves(view, change, id)?, capital(&unbonds(stake_on(view, id)?))])
}

fn allot<R: StateReader>(view: &View<'_, R>, id: &str, stake: u64) -> Lines {
    let member = member(view, id)?;
    let present = member.stake;
    let mut lines = vec![format!("Sets the stake of {id} from {present} to {stake}.")];
    let free = free(&member, &view.stake(id)?);
    let less = present.saturating_sub(stake);
    if stake > present {
        lines.push(format!("The additional {} is free, to be delegated.", stake - present));
    } else if less > free {
        let bound = less - free;
        lines.push(format!(
            "{free} of it is free; {bound} is taken from what waits, unbonds or is delegated, in this order."
        ));
    }
    Ok(lines)
}

fn access_policy<R: StateReader>(view: &View<'_, R>, text: &str) -> Lines {
    let version = view.roster()?.last_policy.saturating_add(1);
    let size = text.len();
    Ok(vec![format!("Sets version {version} of the access policy ({size} bytes), in force from the next block on.")])
}

fn lift_penalty<R: StateReader>(view: &View<'_, R>, number: u64) -> Lines {
    let penalty = stake::find_penalty(view, number)?.ok_or_else(|| corrupt(format!("penalty {number} is absent")))?;
    let node = nodes::successor(view, NodeId(penalty.node))?;
    Ok(vec![
        format!("Lifts penalty {number}: {} gets back {} of stake.", penalty.member, penalty.cut),
        format!("{} is no longer jailed and {ELECTED_LATER}.", capital(&name(view, node)?)),
    ])
}

fn activate_protocol<R: StateReader>(view: &View<'_, R>, version: u32, height: Height) -> Lines {
    let present = protocol(view)?;
    let mut lines = vec![format!(
        "Version {version} of the rules follows version {} at height {height}; every node must run software that knows it by then.",
        present.version
    )];
    if present.next_version != 0 {
        lines.push(format!("Until now it was to follow at height {}.", present.next_height));
    }
    Ok(lines)
}

/// How a node that leaves leaves.
fn leaves<R: StateReader>(view: &View<'_, R>, change: &Change<'_>, id: NodeId) -> Result<String, StoreFault> {
    let name = name(view, id)?;
    Ok(match change.epoch.is_seated(id) {
        true => {
            format!("Retires {name} with the end of the epoch: until then it keeps its seat and must keep running.")
        }
        false => format!("Retires {name} at once."),
    })
}

fn lost_seats<R: StateReader>(view: &View<'_, R>, change: &Change<'_>, member: &str) -> Lines {
    let mut lines = Vec::new();
    for id in members::seats_of(view, change.epoch, member)? {
        let name = capital(&name(view, id)?);
        lines.push(format!("{name} loses its seat: the epoch ends with that block, which the others must certify."));
    }
    Ok(lines)
}

fn unbonds(amount: u64) -> String {
    format!("the stake of {amount} on it unbonds.")
}

fn stake_on<R: StateReader>(view: &View<'_, R>, node: NodeId) -> Result<u64, StoreFault> {
    foreign_stake(view, "", node)
}

/// Stake that members other than `owner` delegate to a node.
fn foreign_stake<R: StateReader>(view: &View<'_, R>, owner: &str, node: NodeId) -> Result<u64, StoreFault> {
    let mut sum = 0_u64;
    for member in view.roster()?.members.iter().filter(|m| *m != owner) {
        let delegations = view.stake(member)?.delegations;
        let on_node = delegations.iter().filter(|d| d.node == node.0).map(|d| d.amount);
        sum = on_node.fold(sum, u64::saturating_add);
    }
    Ok(sum)
}

fn member<R: StateReader>(view: &View<'_, R>, id: &str) -> Result<MemberState, StoreFault> {
    view.member(id)?.ok_or_else(|| corrupt(format!("member {id} is absent")))
}

/// A node as people know it.
fn name<R: StateReader>(view: &View<'_, R>, id: NodeId) -> Result<String, StoreFault> {
    let node = view.node(id)?.ok_or_else(|| corrupt(format!("node {id} is absent")))?;
    Ok(format!("node {id} ({} of {})", node.name, node.member))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A sentence's beginning.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
