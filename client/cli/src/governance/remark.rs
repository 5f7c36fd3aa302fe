//! What a node says about the present state, in words made from its numbers.
//! It is its word only: shown below what is told from the signed content, and
//! never in its place.

use consilium_proto::pb;
use consilium_proto::transaction::{NodeAction, Topic};

use super::effect::{Present, node_name};

/// One line each. Texts of members are not escaped.
pub(crate) fn remarks(topic: &Topic, present: &Present, preview: &pb::PreviewProposalResponse) -> Vec<String> {
    let mut lines: Vec<String> = preview.joining.iter().map(|id| format!("A node joins under raft id {id}.")).collect();
    lines.extend(match topic {
        Topic::Suspend(_) | Topic::Remove { .. } => cut_off(present, preview),
        Topic::Node(NodeAction::Replace { .. }) => retirements(present, preview, "moves to the new one"),
        Topic::Node(NodeAction::Retire(_)) => retirements(present, preview, "unbonds"),
        Topic::AllotStake { .. } => bound_stake(preview),
        Topic::AccessPolicy(_) => present.rules.iter().map(policy_in_force).collect(),
        Topic::ActivateProtocol { .. } => present.rules.iter().flat_map(protocol_in_force).collect(),
        Topic::Admit(_)
        | Topic::Reinstate(_)
        | Topic::RotateCaBundle { .. }
        | Topic::Node(NodeAction::Register { .. })
        | Topic::Parameters(_)
        | Topic::LiftPenalty(_) => Vec::new(),
    });
    for id in &preview.seats_lost {
        lines.push(format!("The next election would seat node {} without this, not with it.", node_name(present, *id)));
    }
    for id in &preview.seats_won {
        lines.push(format!("The next election seats node {} because of this.", node_name(present, *id)));
    }
    lines.extend(preview.arithmetic.as_ref().map(|a| arithmetic(a, present)));
    lines
}

/// Why a topic does not fit.
pub(crate) fn refusal(preview: &pb::PreviewProposalResponse, present: &Present) -> Option<String> {
    let refusal = preview.refusal.as_ref()?;
    let stranded = refusal.outcome() == pb::Outcome::WouldStrandNetwork;
    Some(match preview.arithmetic.as_ref().filter(|_| stranded) {
        Some(numbers) => format!("the network could not go on: {}", arithmetic(numbers, present)),
        None => format!("it does not fit the present state: {}", refusal.fact),
    })
}

/// `certifies now: 4 of 4, needs more than 2; ...`
fn arithmetic(arithmetic: &pb::QuorumArithmetic, present: &Present) -> String {
    let mut text = format!("certifies now: {}", power(arithmetic.now.as_ref()));
    if !arithmetic.leaving.is_empty() {
        let names: Vec<String> = arithmetic.leaving.iter().map(|id| node_name(present, *id)).collect();
        text += &format!("; without {}: {}", names.join(", "), power(arithmetic.after.as_ref()));
    }
    match &arithmetic.next {
        Some(next) => text + &format!("; next epoch, with {} seats: {}", arithmetic.next_seats, power(Some(next))),
        None => text + "; next epoch: nobody could be seated",
    }
}

fn power(power: Option<&pb::CertifyingPower>) -> String {
    let Some(&pb::CertifyingPower { part, total, numerator, denominator }) = power else { return "unknown".into() };
    let line = u128::from(total) * u128::from(numerator) / u128::from(denominator.max(1));
    format!("{part} of {total}, needs more than {line}")
}

/// Seats that end with the block that accepts this, and nodes that retire with it.
fn cut_off(present: &Present, preview: &pb::PreviewProposalResponse) -> Vec<String> {
    let seat = |id: &u64| {
        let name = node_name(present, *id);
        format!("Node {name} loses its seat: the epoch ends with that block, which the others must certify.")
    };
    let node = |node: &pb::LeavingNode| {
        let (name, stake) = (node_name(present, node.raft_id), node.delegated);
        format!("Node {name} retires; the stake of {stake} that other members have on it unbonds.")
    };
    let seats = preview.arithmetic.iter().flat_map(|a| &a.leaving).map(seat);
    seats.chain(preview.leaving.iter().map(node)).collect()
}

fn retirements(present: &Present, preview: &pb::PreviewProposalResponse, stake_goes: &str) -> Vec<String> {
    let line = |node: &pb::LeavingNode| {
        let name = node_name(present, node.raft_id);
        let when = match node.seated {
            true => "with the end of the epoch: until then it keeps its seat and must keep running",
            false => "at once: it has no seat",
        };
        [format!("Node {name} retires {when}."), format!("The stake of {} on it {stake_goes}.", node.delegated)]
    };
    preview.leaving.iter().flat_map(line).collect()
}

fn bound_stake(preview: &pb::PreviewProposalResponse) -> Vec<String> {
    let taken = Some(preview.bound_stake_taken).filter(|taken| *taken > 0);
    let line = |taken| format!("{taken} of it is not free: it is taken from what waits, unbonds or is delegated.");
    taken.map(line).into_iter().collect()
}

fn policy_in_force(rules: &pb::GetRulesResponse) -> String {
    match &rules.access_policy {
        Some(policy) => {
            format!("It takes the place of access policy {}, set by proposal {}.", policy.version, policy.proposal)
        }
        None => "It is the first access policy.".into(),
    }
}

fn protocol_in_force(rules: &pb::GetRulesResponse) -> Vec<String> {
    let protocol = rules.protocol.unwrap_or_default();
    let mut lines = vec![format!("Version {} of the rules is in force.", protocol.version)];
    if protocol.next_version != 0 {
        let (version, height) = (protocol.next_version, protocol.next_height);
        lines.push(format!("Until now version {version} was to follow at height {height}."));
    }
    lines
}
