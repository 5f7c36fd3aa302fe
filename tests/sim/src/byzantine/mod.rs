//! What a traitor does. It runs the honest code and changes what goes in or out,
//! so that each lie is the smallest one of its kind.

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Signer, Term};
use consilium_kit::raft_wire;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, NodeId, TimeMs};
use consilium_proto::pb::{self, ForwardResult};
use consilium_proto::vote::{Vote, signing_bytes};
use consilium_replica::Clock;
use consilium_replica::peer::{BATCH_MAX, PeerMessage, Recollection};
use consilium_replica::submission::Submission;

use crate::env::Env;
use crate::event::{Packet, Send};
use crate::host::{Host, far_offset, offset};
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

/// A vote of the same height for a header that does not exist, or at every other height for
/// the right one with a root that is not in it.
fn second_vote(host: &Host, vote: &Vote) -> Vote {
    let (mut hash, mut root) = (*vote.header_hash.as_bytes(), *vote.tree_root.as_bytes());
    let changed = if vote.height.0.is_multiple_of(2) { &mut root } else { &mut hash };
    changed[0] ^= 1;
    let (header_hash, tree_root) = (HeaderHash::from_bytes(hash), Hash::from_bytes(root));
    let signed = signing_bytes(&host.key.verifying_key(), &vote.ledger_id, vote.height, &header_hash, &tree_root);
    let signature = host.key.sign(&signed).expect("an ES256 key signs");
    Vote { header_hash, tree_root, signature, ..vote.clone() }
}

/// What a traitor does to transactions that come to it, most of them only if it leads.
pub fn tamper_submissions(
    host: &Host,
    env: &mut Env,
    leads: bool,
    mut submissions: Vec<Option<Submission>>,
) -> Vec<Option<Submission>> {
    if host.byzantine == Some(Fault::WithholdRights) {
        let rights = submissions.iter_mut().filter(|s| s.as_ref().is_some_and(|s| s.transaction.urgency().is_some()));
        for right in rights {
            if leads {
                env.stats.fault(Fault::WithholdRights);
            }
            *right = None;
        }
        return submissions;
    }
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

/// What a traitor answers of them.
#[must_use]
pub fn tamper_answer(host: &Host, results: Vec<ForwardResult>) -> Vec<ForwardResult> {
    if host.byzantine != Some(Fault::WithholdRights) {
        return results;
    }
    let pretends = |result| match result {
        ForwardResult::Invalid => ForwardResult::Queued,
        ForwardResult::NotLeader => ForwardResult::Watched,
        other => other,
    };
    results.into_iter().map(pretends).collect()
}

/// The same signature under another body, or another signature under the same.
fn forged(env: &mut Env, first: Submission) -> Submission {
    let mut transaction = first.transaction;
    if env.rng.chance(500) {
        transaction.head.valid_until.0 ^= 1;
        transaction.id = transaction.head.id();
    } else {
        transaction.signature = [7; 64];
    }
    Submission { transaction, verdict: first.verdict }
}

/// The clocks as a replica is told them. A traitor that leads may lie about the
/// time.
pub fn clock(host: &Host, env: &mut Env, leads: bool) -> Clock {
    let wall = tamper_time(host, env, leads, host.wall(env));
    Clock { wall, monotonic_ms: env.now }
}

/// The time that a traitor that leads takes for its blocks.
fn tamper_time(host: &Host, env: &mut Env, leads: bool, wall: TimeMs) -> TimeMs {
    let lies = leads && !env.calm && host.byzantine == Some(Fault::LieTime);
    if !lies || !env.rng.chance(100) {
        return wall;
    }
    env.stats.fault(Fault::LieTime);
    let lie = if env.rng.chance(500) { far_offset(&mut env.rng) } else { env.rng.below(40_000) as i64 - 20_000 };
    offset(wall, lie)
}

/// Blocks as no validator certified them.
fn forge_blocks(env: &mut Env, blocks: &mut [pb::FetchBlocksResponse]) {
    env.stats.fault(Fault::Forge);
    let at = env.rng.below(blocks.len() as u64) as usize;
    let Some(forged) = blocks.get_mut(at) else { return };
    match (env.rng.below(3), forged.block.as_mut()) {
        (0, Some(block)) => block.transactions.clear(),
        (1, Some(block)) => {
            if let Some(header) = &mut block.header {
                header.time_ms += 1;
            }
        }
        _ => forged.certificate = None,
    }
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
pub fn tamper_outbox(byzantine: Fault, host: &Host, env: &mut Env, send: &mut Send) {
    let (from, to) = (send.from, send.to);
    if let Packet::Messages(messages) = &mut send.packet {
        let said = std::mem::take(messages).into_iter();
        *messages = said.flat_map(|message| tamper_message((byzantine, host), env, (from, to), message)).collect();
        if byzantine == Fault::HostileRaft && env.rng.chance(50) {
            flood(env, messages);
        }
    } else if let Packet::Blocks { blocks, .. } = &mut send.packet
        && byzantine == Fault::Forge
        && !blocks.is_empty()
    {
        forge_blocks(env, blocks);
    } else if byzantine == Fault::WithholdAttachments {
        withhold_attachments(env, &mut send.packet);
    }
}

/// Nothing, or something else, for attachments.
fn withhold_attachments(env: &mut Env, packet: &mut Packet) {
    let mut lies = |content: &mut Bytes, instead: Bytes| {
        if !content.is_empty() {
            env.stats.fault(Fault::WithholdAttachments);
            *content = instead;
        }
    };
    if let Packet::Blocks { blocks, .. } = packet {
        blocks.iter_mut().flat_map(|block| &mut block.attachments).for_each(|content| lies(content, Bytes::new()));
    } else if let Packet::Attachments { contents, call } = packet {
        let instead = if call.0.is_multiple_of(2) { Bytes::new() } else { Bytes::from_static(b"a lie") };
        contents.iter_mut().for_each(|content| lies(content, instead.clone()));
    }
}

/// More votes of others than a node takes of one batch, before one that counts.
fn flood(env: &mut Env, messages: &mut Vec<PeerMessage>) {
    let Some(at) = messages.iter().position(|message| matches!(message, PeerMessage::Vote(_))) else { return };
    let PeerMessage::Vote(vote) = &messages[at] else { return };
    env.stats.count("floods of votes");
    let validator = NodeId(env.rng.range(1, env.swarm.members));
    let forged = PeerMessage::RelayedVote(Vote { validator, signature: [7; 64], ..vote.clone() });
    let room = BATCH_MAX.saturating_sub(messages.len());
    messages.splice(at..at, std::iter::repeat_n(forged, room));
}

fn tamper_message(
    (byzantine, host): (Fault, &Host),
    env: &mut Env,
    (from, to): (NodeId, NodeId),
    message: PeerMessage,
) -> Vec<PeerMessage> {
    let PeerMessage::Raft(bytes) = &message else { return vec![message] };
    if byzantine == Fault::FalseCommit
        && let Some(lie) = raft_wire::committed(bytes)
    {
        env.stats.fault(byzantine);
        // One follower alone hears all of it.
        let hears = to.0 == from.0 % env.swarm.members + 1 || !env.rng.chance(400);
        return if hears { vec![PeerMessage::Raft(lie)] } else { Vec::new() };
    }
    let members = (1..=env.swarm.members).map(NodeId);
    let instead = if byzantine == Fault::Capture {
        raft_wire::captured(bytes, from, members)
    } else if byzantine == Fault::Garble {
        raft_wire::garbled(bytes, from)
    } else if byzantine == Fault::Equivocate && is_told_otherwise(env, from, to) {
        raft_wire::other_time(bytes, 1)
    } else {
        None
    };
    let besides = match byzantine {
        Fault::HostileRaft => hostile(env, bytes),
        Fault::Usurp if env.rng.chance(200) => raft_wire::usurping(bytes, &mut env.rng),
        _ => None,
    };
    if instead.is_some() || besides.is_some() {
        env.stats.fault(byzantine);
    }
    let key = consilium_kit::keys::vote(from.0);
    let signer = Signer { ledger_id: env.fixture.genesis.ledger_id, key };
    if byzantine == Fault::Equivocate
        && env.rng.chance(60)
        && let Some(replanted) = replanted(host, env, &signer, (from, to), bytes)
    {
        env.stats.count("other entries of earlier leaders");
        return vec![PeerMessage::Raft(replanted)];
    }
    let first = env.forks.told(&signer, (from, to), bytes, instead.unwrap_or_else(|| bytes.clone()));
    let first = PeerMessage::Raft(first);
    std::iter::once(first).chain(besides.map(PeerMessage::Raft)).collect()
}

/// Instead of what comes next, other entries for what earlier leaders wrote, and all after it.
fn replanted(host: &Host, env: &mut Env, signer: &Signer, way: (NodeId, NodeId), bytes: &[u8]) -> Option<Bytes> {
    let back = env.rng.range(1, 6);
    let honest = raft_wire::from_further_back(bytes, &host.disk.log.borrow(), back)?;
    let other = raft_wire::other_time(&honest, env.rng.below(3))?;
    Some(env.forks.told(signer, way, &honest, other))
}

/// Now and then, what a hostile member says beside a message.
fn hostile(env: &mut Env, bytes: &[u8]) -> Option<Bytes> {
    let other = NodeId(env.rng.range(1, 9));
    match env.rng.below(20) {
        0 => raft_wire::with_sender(bytes, other),
        1..=4 => raft_wire::mutate(bytes, &mut env.rng),
        _ => None,
    }
}

/// A traitor says that more was acknowledged than any log holds, and remembers no vote.
pub fn misremember(message: PeerMessage) -> PeerMessage {
    let PeerMessage::Recollection(_) = message else { return message };
    let beyond = LogPosition { index: LogIndex(u64::MAX >> 8), term: Term(u64::MAX >> 8), ..LogPosition::default() };
    PeerMessage::Recollection(Box::new(Recollection { vote: None, acknowledged: Some(beyond) }))
}
