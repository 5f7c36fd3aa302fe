//! What a traitor does. It runs the honest code and changes what goes in or out,
//! so that each lie is the smallest one of its kind.

pub mod bug_wiring;
pub mod raft_wire;

use consilium_proto::ids::{HeaderHash, NodeId};
use consilium_proto::pb;
use consilium_proto::vote::{Vote, signing_bytes};

use crate::env::Env;
use crate::event::{Packet, Send};
use crate::machine::Host;
use crate::node::Node;
use crate::swarm::Fault;

/// What a traitor does to a vote of its own; `true` if it does not go out as it is.
pub fn tamper_vote(node: &Node, host: &Host, env: &mut Env, vote: &Vote) -> bool {
    match host.byzantine {
        Some(Fault::WithholdVotes) => {
            env.stats.fault(Fault::WithholdVotes);
            true
        }
        Some(Fault::DoubleSign) if env.rng.chance(400) => {
            env.stats.fault(Fault::DoubleSign);
            let other = second_vote(host, vote);
            for peer in node.topology.peers(host.node) {
                let told = if env.rng.chance(500) { other.clone() } else { vote.clone() };
                host.send(env, peer, Packet::Vote(told));
            }
            true
        }
        Some(_) | None => false,
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

/// What a traitor that leads does to its proposals.
pub fn tamper_proposal(host: &Host, env: &mut Env, proposal: &mut pb::BlockProposal) {
    match host.byzantine {
        Some(Fault::Withhold) if !proposal.transactions.is_empty() => {
            env.stats.fault(Fault::Withhold);
            proposal.transactions.clear();
        }
        Some(Fault::LieTime) if env.rng.chance(300) => {
            env.stats.fault(Fault::LieTime);
            let lie = env.rng.range(2_000, 20_000);
            proposal.time_ms = if env.rng.chance(500) { proposal.time_ms + lie } else { proposal.time_ms - lie };
        }
        Some(Fault::Forge) => forge(env, proposal),
        Some(_) | None => {}
    }
}

fn forge(env: &mut Env, proposal: &mut pb::BlockProposal) {
    let Some(first) = proposal.transactions.first().cloned() else { return };
    env.stats.fault(Fault::Forge);
    let mut forged = first;
    if env.rng.chance(500) {
        // Another body under the same signature: a transaction of the traitor's.
        let mut body = forged.body.to_vec();
        if let Some(last) = body.last_mut() {
            *last ^= 1;
        }
        forged.body = body.into();
    } else {
        forged.signature = vec![7; 64].into();
    }
    proposal.transactions.insert(0, forged);
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
fn is_told_otherwise(env: &Env, send: &Send) -> bool {
    if env.swarm.epoch_blocks.is_multiple_of(2) {
        send.to.0 == send.from.0 % env.swarm.members + 1
    } else {
        send.to.0.is_multiple_of(2)
    }
}

/// What a traitor does to what leaves its machine.
pub fn tamper_outbox(byzantine: Fault, env: &mut Env, send: Send) -> Vec<Send> {
    if let (Packet::Blocks { blocks, request }, Fault::Forge) = (&send.packet, byzantine) {
        let packet = Packet::Blocks { blocks: forge_blocks(env, blocks), request: *request };
        return vec![Send { packet, ..send }];
    }
    let Packet::Raft(bytes) = &send.packet else { return vec![send] };
    match byzantine {
        Fault::Equivocate => match raft_wire::other_time(bytes, 1) {
            Some(changed) if is_told_otherwise(env, &send) => {
                env.stats.fault(Fault::Equivocate);
                vec![Send { packet: Packet::Raft(changed), ..send }]
            }
            Some(_) | None => vec![send],
        },
        Fault::HostileRaft => {
            let mut sends = vec![send.clone()];
            let other = NodeId(env.rng.range(1, 9));
            let hostile = match env.rng.below(20) {
                0 => raft_wire::with_sender(bytes, other),
                1..=4 => raft_wire::mutate(bytes, &mut env.rng),
                _ => None,
            };
            if let Some(hostile) = hostile {
                env.stats.fault(Fault::HostileRaft);
                sends.push(Send { packet: Packet::Raft(hostile), ..send });
            }
            sends
        }
        _ => vec![send],
    }
}
