//! What a traitor does. It runs the honest code and changes what goes in or out,
//! so that each lie is the smallest one of its kind.

pub mod bug_wiring;
pub mod raft_wire;

use consilium_proto::ids::{HeaderHash, NodeId, TimeMs};
use consilium_proto::pb;
use consilium_proto::vote::{Vote, signing_bytes};
use consilium_replica::peer::PeerMessage;
use consilium_replica::submission::Submission;

use crate::env::Env;
use crate::event::{Packet, Send};
use crate::machine::Host;
use crate::swarm::Fault;

/// What a traitor says instead of a vote of its own; `None` if it goes out as it
/// is, `Some(None)` if it does not go out.
pub fn tamper_vote(host: &Host, env: &mut Env, vote: &Vote) -> Option<Option<Vote>> {
    if vote.validator != host.node {
        return None;
    }
    match host.byzantine {
        Some(Fault::WithholdVotes) => {
            env.stats.fault(Fault::WithholdVotes);
            Some(None)
        }
        Some(Fault::DoubleSign) if env.rng.chance(200) => {
            env.stats.fault(Fault::DoubleSign);
            Some(Some(second_vote(host, vote)))
        }
        Some(_) | None => None,
    }
}

/// A vote of the same height for a header that does not exist.
fn second_vote(host: &Host, vote: &Vote) -> Vote {
    let mut hash = *vote.header_hash.as_bytes();
    hash[0] ^= 1;
    let header_hash = HeaderHash::from_bytes(hash);
    let signed = signing_bytes(&vote.ledger_id, vote.height, &header_hash, &vote.tree_root);
    let signature = host.key.sign(&signed).expect("an ES256 key signs");
    Vote { header_hash, signature, ..vote.clone() }
}

/// What a traitor that leads does to transactions that come to it.
pub fn tamper_submissions(
    host: &Host,
    env: &mut Env,
    leads: bool,
    mut submissions: Vec<Option<Submission>>,
) -> Vec<Option<Submission>> {
    match host.byzantine.filter(|_| leads && !env.calm) {
        Some(Fault::Withhold) => {
            env.stats.fault(Fault::Withhold);
            submissions.clear();
        }
        Some(Fault::Forge) => {
            if let Some(first) = submissions.first().cloned().flatten() {
                env.stats.fault(Fault::Forge);
                submissions.push(Some(forged(env, first)));
            }
        }
        Some(_) | None => {}
    }
    submissions
}

/// The same signature under another body, or another signature under the same.
fn forged(env: &mut Env, first: Submission) -> Submission {
    let mut transaction = first.transaction;
    if env.rng.chance(500) {
        let mut body = transaction.body.to_vec();
        if let Some(last) = body.last_mut() {
            *last ^= 1;
        }
        transaction.id = consilium_proto::transaction::transaction_id(&body);
        transaction.body = body.into();
    } else {
        transaction.signature = [7; 64];
    }
    Submission { transaction, verdict: first.verdict }
}

/// The time that a traitor that leads takes for its blocks.
pub fn tamper_time(host: &Host, env: &mut Env, leads: bool, wall: TimeMs) -> TimeMs {
    let lies = leads && !env.calm && host.byzantine == Some(Fault::LieTime);
    if !lies || !env.rng.chance(100) {
        return wall;
    }
    env.stats.fault(Fault::LieTime);
    let lie = env.rng.range(2_000, 20_000);
    TimeMs(if env.rng.chance(500) { wall.0 + lie } else { wall.0 - lie })
}

/// Blocks as no validator certified them.
fn forge_blocks(env: &mut Env, blocks: &[pb::FetchBlocksResponse]) -> Vec<pb::FetchBlocksResponse> {
    env.stats.fault(Fault::Forge);
    let mut blocks = blocks.to_vec();
    let at = env.rng.below(blocks.len() as u64) as usize;
    let Some(forged) = blocks.get_mut(at) else { return blocks };
    match (env.rng.below(3), forged.block.as_mut()) {
        (0, Some(block)) => block.transactions.clear(),
        (1, Some(block)) => {
            if let Some(header) = &mut block.header {
                header.time_ms += 1;
            }
        }
        _ => forged.certificate = None,
    }
    blocks
}

/// Whom an equivocating leader tells something else: one follower, who is then
/// found to be wrong, or half of them, so that nobody is right.
fn is_told_otherwise(env: &Env, from: NodeId, to: NodeId) -> bool {
    if env.swarm.epoch_blocks.is_multiple_of(2) {
        to.0 == from.0 % env.swarm.members + 1
    } else {
        to.0.is_multiple_of(2)
    }
}

/// What a traitor does to what leaves its machine.
pub fn tamper_outbox(byzantine: Fault, env: &mut Env, send: Send) -> Vec<Send> {
    match send.packet {
        Packet::Blocks { blocks, call } if byzantine == Fault::Forge && !blocks.is_empty() => {
            let packet = Packet::Blocks { blocks: forge_blocks(env, &blocks), call };
            vec![Send { packet, ..send }]
        }
        Packet::Messages(messages) => {
            let (from, to) = (send.from, send.to);
            let messages = messages.into_iter().flat_map(|m| tamper_message(byzantine, env, (from, to), m)).collect();
            vec![Send { packet: Packet::Messages(messages), ..send }]
        }
        packet => vec![Send { packet, ..send }],
    }
}

fn tamper_message(
    byzantine: Fault,
    env: &mut Env,
    (from, to): (NodeId, NodeId),
    message: PeerMessage,
) -> Vec<PeerMessage> {
    let PeerMessage::Raft(bytes) = &message else { return vec![message] };
    match byzantine {
        Fault::Equivocate => match raft_wire::other_time(bytes, 1) {
            Some(changed) if is_told_otherwise(env, from, to) => {
                env.stats.fault(Fault::Equivocate);
                vec![PeerMessage::Raft(changed)]
            }
            Some(_) | None => vec![message],
        },
        Fault::Garble => match raft_wire::garbled(bytes, from) {
            Some(changed) => {
                env.stats.fault(Fault::Garble);
                vec![PeerMessage::Raft(changed)]
            }
            None => vec![message],
        },
        Fault::HostileRaft => {
            let other = NodeId(env.rng.range(1, 9));
            let hostile = match env.rng.below(20) {
                0 => raft_wire::with_sender(bytes, other),
                1..=4 => raft_wire::mutate(bytes, &mut env.rng),
                _ => None,
            };
            let mut messages = vec![message];
            if let Some(hostile) = hostile {
                env.stats.fault(Fault::HostileRaft);
                messages.push(PeerMessage::Raft(hostile));
            }
            messages
        }
        _ => vec![message],
    }
}
