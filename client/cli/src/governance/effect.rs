//! What a proposal does, in plain words, made here from the very content that
//! is signed or that was proven. What a node says about it stands beside these
//! lines and never in their place.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_certs::CaBundle;
use consilium_proto::genesis::Member;
use consilium_proto::hash::sha256;
use consilium_proto::parameters::{differences, values};
use consilium_proto::pb;
use consilium_proto::transaction::{NodeAction, NodeDescription, Topic};

use crate::text::time_s;
use consilium_client::Client;
use consilium_client::ClientError;

/// What effects are told against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Present {
    /// Members and their nodes; a row that the topic changes is proven.
    pub(crate) members: Vec<pb::MemberEntry>,
    /// The parameters in force, proven; for topics that change them.
    pub(crate) parameters: Option<pb::Parameters>,
    /// The penalty that a topic is about.
    pub(crate) penalty: Option<pb::PenaltyState>,
    /// The rules in force as a node tells them; for topics that number them.
    pub(crate) rules: Option<pb::GetRulesResponse>,
}

impl Present {
    /// Reads what the effects of a topic are told against.
    pub(crate) async fn read(client: &Client, topic: &Topic) -> Result<Self, ClientError> {
        let mut present = Self { members: client.list_members(None).await?.into_claimed(), ..Self::default() };
        match topic {
            Topic::Parameters(_) => present.parameters = Some(client.proven_parameters().await?),
            Topic::LiftPenalty(number) => {
                present.penalty = client.penalties().await?.into_claimed().into_iter().find(|p| p.number == *number);
            }
            Topic::AccessPolicy(_) | Topic::ActivateProtocol { .. } => {
                present.rules = Some(client.rules().await?.into_claimed())
            }
            // Which CA stays is what this topic turns on.
            Topic::RotateCaBundle { member, .. } => {
                let proven = client.proven_member(member.as_str()).await?;
                present.members.retain(|entry| id_of(entry) != member.as_str());
                present.members.extend(proven.map(|m| pb::MemberEntry { member: Some(m), nodes: Vec::new() }));
            }
            Topic::Admit(_)
            | Topic::Suspend(_)
            | Topic::Reinstate(_)
            | Topic::Remove { .. }
            | Topic::Node(_)
            | Topic::AllotStake { .. } => {}
        }
        Ok(present)
    }
}

/// A topic in a few words, for lists.
pub(crate) fn summary(topic: &Topic) -> String {
    match topic {
        Topic::Admit(member) => format!("admit {}", member.id),
        Topic::Suspend(member) => format!("suspend {member}"),
        Topic::Reinstate(member) => format!("reinstate {member}"),
        Topic::Remove { member, successor: None } => format!("remove {member}"),
        Topic::Remove { member, successor: Some(successor) } => {
            format!("remove {member}, whose records {successor} keeps")
        }
        Topic::RotateCaBundle { member, without_overlap: false, .. } => format!("rotate the CA of {member}"),
        Topic::RotateCaBundle { member, .. } => format!("rotate the CA of {member} without overlap"),
        Topic::Node(NodeAction::Register { member, node }) => format!("add node {}/{}", member, node.name),
        Topic::Node(NodeAction::Replace { lost, node }) => format!("replace node {lost} by {}", node.name),
        Topic::Node(NodeAction::Retire(node)) => format!("retire node {node}"),
        Topic::AllotStake { member, stake } => format!("allot {stake} stake to {member}"),
        Topic::Parameters(_) => "change parameters".into(),
        Topic::AccessPolicy(_) => "set the access policy".into(),
        Topic::LiftPenalty(number) => format!("lift penalty {number}"),
        Topic::ActivateProtocol { version, height } => format!("activate protocol {version} at height {height}"),
    }
}

/// What a topic does, one line each. Texts of members are not escaped.
pub(crate) fn effects(topic: &Topic, present: &Present) -> Vec<String> {
    match topic {
        Topic::Admit(member) => admit(member, present),
        Topic::Suspend(member) => vec![
            format!("{member} is cut off in the very block that accepts this: its connections and streams end."),
            "Its transactions are refused, and it can read nothing any more.".into(),
            format!("Its nodes lose their seats: {}.", nodes_of(present, member.as_str())),
            format!("Its stake of {} counts in no tally until it is reinstated.", stake_of(present, member.as_str())),
        ],
        Topic::Reinstate(member) => vec![
            format!("{member} has all its rights back, from the next block on."),
            format!("Its stake of {} counts again.", stake_of(present, member.as_str())),
            format!("Its nodes are candidates again: {}.", nodes_of(present, member.as_str())),
        ],
        Topic::Remove { member, successor } => vec![
            format!("The membership of {member} ends for good; it is cut off in the block that accepts this."),
            format!("Its nodes retire: {}.", nodes_of(present, member.as_str())),
            format!("Its stake of {} is gone.", stake_of(present, member.as_str())),
            "Records that it wrote stay on the ledger.".into(),
            match successor {
                Some(successor) => format!("{successor} keeps them from then on: its custodian wraps their keys."),
                None => "No other member keeps them: it must have none in custody.".into(),
            },
        ],
        Topic::RotateCaBundle { member, ca_bundle, without_overlap } => {
            rotate(member.as_str(), ca_bundle, *without_overlap, present)
        }
        Topic::Node(action) => node_effects(action, present),
        Topic::AllotStake { member, stake } => allot(member.as_str(), *stake, present),
        Topic::Parameters(new) => parameter_effects(&pb::Parameters::from(&**new), present.parameters.as_ref()),
        Topic::AccessPolicy(text) => vec![
            format!("The access policy becomes a text of {} bytes in {} lines.", text.len(), text.lines().count()),
            format!("Its SHA-256 is {}.", hex::encode(sha256(&[text.as_bytes()]))),
        ],
        Topic::LiftPenalty(number) => lift(*number, present),
        Topic::ActivateProtocol { version, height } => vec![
            format!("From height {height} on, the rules of version {version} hold."),
            "A node whose software does not know them stops there: upgrade all nodes before.".into(),
        ],
    }
}

fn admit(member: &Member, present: &Present) -> Vec<String> {
    let total = stake_of_others(present, member.id.as_str()) + u128::from(member.stake);
    let mut lines = vec![
        format!("{} ({}) becomes a member.", member.id, member.display_name),
        format!("It gets a stake of {}, {} of the {total} then active.", member.stake, percent(member.stake, total)),
    ];
    lines.push("Its stake is delegated to its own nodes evenly.".into());
    lines.extend(ca_lines("It vouches for its identities with", &member.ca_bundle));
    lines.extend(member.nodes.iter().map(|node| {
        format!(
            "Its node {} joins as a learner: peers {}, clients {}.",
            node.name, node.peer_address, node.client_address
        )
    }));
    lines
}

fn rotate(member: &str, bundle: &[Bytes], without_overlap: bool, present: &Present) -> Vec<String> {
    let before: BTreeSet<&[u8]> = entry(present, member)
        .and_then(|e| e.member.as_ref())
        .map(|m| m.ca_bundle.iter().map(AsRef::as_ref).collect())
        .unwrap_or_default();
    let after: BTreeSet<&[u8]> = bundle.iter().map(AsRef::as_ref).collect();
    let mut lines =
        vec![format!("{member} vouches for its identities with {} CA(s) from the next block on.", after.len())];
    lines.extend(ca_lines("Stays:", before.intersection(&after)));
    lines.extend(ca_lines("New:", after.difference(&before)));
    lines.extend(ca_lines("Goes:", before.difference(&after)));
    if before.is_disjoint(&after) {
        lines.push("No CA stays: every certificate of this member is refused at once, its nodes' too.".into());
        lines.push("All its identities need new certificates, and enrol again.".into());
        if !without_overlap {
            lines.push("This will be refused: give --without-overlap if that is meant.".into());
        }
    } else if before.difference(&after).next().is_some() {
        lines.push(
            "Certificates under a CA that goes are refused from then on; its revocation list goes with it.".into(),
        );
    }
    lines
}

/// One line for each CA certificate.
fn ca_lines<D: AsRef<[u8]>>(prefix: &str, ders: impl IntoIterator<Item = D>) -> Vec<String> {
    let line = |der: D| {
        let fingerprint = hex::encode(sha256(&[der.as_ref()]));
        match CaBundle::from_ders([der.as_ref()]) {
            Ok(ca) => format!(
                "{prefix} the CA of {}, valid until {}, SHA-256 {fingerprint}.",
                ca.member(),
                time_s(ca.not_after())
            ),
            Err(problem) => format!("{prefix} a certificate outside the profile ({problem}), SHA-256 {fingerprint}."),
        }
    };
    ders.into_iter().map(line).collect()
}

fn node_effects(action: &NodeAction, present: &Present) -> Vec<String> {
    match action {
        NodeAction::Register { member, node } => vec![
            format!("{} becomes a node of {member}: it gets a raft id and joins as a learner.", node.name),
            description(node),
            "It can be elected once stake is delegated to it and it has caught up.".into(),
        ],
        NodeAction::Replace { lost, node } => vec![
            format!("Node {} retires for good; its raft id is never used again.", node_name(present, lost.0)),
            format!("{} takes its place under a new raft id and gets its delegations.", node.name),
            description(node),
        ],
        NodeAction::Retire(node) => vec![
            format!("Node {} retires for good; its raft id is never used again.", node_name(present, node.0)),
            "A seat it keeps up to the end of the epoch; then stake left on it unbonds.".into(),
        ],
    }
}

fn description(node: &NodeDescription) -> String {
    let key = hex::encode(sha256(&[node.vote_key.raw()]));
    format!(
        "Peers reach it at {}, clients at {}; its vote key has SHA-256 {key}.",
        node.peer_address, node.client_address
    )
}

fn allot(member: &str, stake: u64, present: &Present) -> Vec<String> {
    let Some(entry) = entry(present, member) else { return vec![format!("{member} gets a stake of {stake}.")] };
    let before = stake_in(entry);
    let total = stake_of_others(present, member) + u128::from(stake);
    let share = percent(stake, total);
    let mut lines =
        vec![format!("The stake of {member} goes from {before} to {stake}, {share} of the {total} then active.")];
    if stake < before {
        lines.push("Free stake shrinks first, then what is unbonding, then delegations, the newest first.".into());
    }
    lines
}

fn parameter_effects(new: &pb::Parameters, before: Option<&pb::Parameters>) -> Vec<String> {
    let Some(before) = before else {
        return values(new).into_iter().map(|(name, value)| format!("{name} becomes {value}.")).collect();
    };
    let changes = differences(before, new);
    if changes.is_empty() {
        return vec!["Nothing changes: these parameters are in force.".into()];
    }
    changes.into_iter().map(|(name, old, new)| format!("{name} goes from {old} to {new}.")).collect()
}

fn lift(number: u64, present: &Present) -> Vec<String> {
    let about = present.penalty.as_ref().map(|p| {
        let node = node_name(present, p.node);
        let is_of_header = p.evidence.as_ref().is_some_and(|evidence| evidence.header.is_some());
        let what = if is_of_header { "with a tree root that its header does not have" } else { "twice" };
        format!(
            "It is about node {node}, which signed height {} {what}; {} gets {} stake back.",
            p.evidence_height, p.member, p.cut
        )
    });
    let head = format!("Penalty {number} is lifted: the node is no longer jailed for it.");
    std::iter::once(head).chain(about).collect()
}

fn entry<'a>(present: &'a Present, member: &str) -> Option<&'a pb::MemberEntry> {
    present.members.iter().find(|entry| id_of(entry) == member)
}

fn id_of(entry: &pb::MemberEntry) -> &str {
    entry.member.as_ref().map_or("", |m| &m.id)
}

fn stake_in(entry: &pb::MemberEntry) -> u64 {
    entry.member.as_ref().map_or(0, |m| m.stake)
}

fn is_active(entry: &pb::MemberEntry) -> bool {
    entry.member.as_ref().is_some_and(|m| m.status() == pb::MemberStatus::Active)
}

/// Active stake without a member's.
fn stake_of_others(present: &Present, member: &str) -> u128 {
    let others = present.members.iter().filter(|entry| is_active(entry) && id_of(entry) != member);
    others.map(|entry| u128::from(stake_in(entry))).sum()
}

fn stake_of(present: &Present, member: &str) -> u64 {
    entry(present, member).map_or(0, stake_in)
}

fn nodes_of(present: &Present, member: &str) -> String {
    let nodes = entry(present, member).map(|e| e.nodes.as_slice()).unwrap_or_default();
    let names: Vec<String> = nodes.iter().map(|n| format!("{} (raft id {})", n.name, n.raft_id)).collect();
    if names.is_empty() { "it has none".into() } else { names.join(", ") }
}

/// `member/name (raft id N)`, or the raft id alone.
pub(crate) fn node_name(present: &Present, raft_id: u64) -> String {
    let mut nodes = present.members.iter().flat_map(|e| &e.nodes);
    nodes
        .find(|n| n.raft_id == raft_id)
        .map_or_else(|| format!("with raft id {raft_id}"), |n| format!("{}/{} (raft id {raft_id})", n.member, n.name))
}

/// A share in percent with one digit, in integers.
fn percent(part: u64, total: u128) -> String {
    let permille = (u128::from(part) * 1_000).checked_div(total).unwrap_or(0);
    format!("{}.{} %", permille / 10, permille % 10)
}
