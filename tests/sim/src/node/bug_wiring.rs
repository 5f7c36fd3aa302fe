//! Bugs that are about votes. Each does what a plausible mistake in certifying
//! would do, beside the real one, from what goes into the replica and what comes
//! out of it.

use std::collections::BTreeMap;

use consilium_consensus::{Candidacy, LogIndex, LogPosition, Mandate, Membership, RaftId, Term};
use consilium_kit::raft_wire::led_term;
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader, Vote};
use consilium_replica::peer::PeerMessage;

use super::Node;
use crate::bugs::Bug;
use crate::env::Env;
use crate::event::Packet;
use crate::host::Host;

fn counts(env: &Env) -> bool {
    env.has(Bug::CountHeads) || env.has(Bug::NewSetEarly)
}

/// The mandate of whoever speaks as a leader, as if all had granted it.
pub(super) fn mandate(node: &Node, env: &Env, from: NodeId, message: &[u8]) -> Option<PeerMessage> {
    let term = Term(led_term(message)?);
    let voting = node.replica.voting();
    let set = voting.schedule().set_at(voting.certified().next())?;
    let (candidate, membership) = (RaftId::new(from.0)?, Membership::default());
    let candidacy = Candidacy { term, candidate, last: LogPosition::default(), applied: LogIndex(0), membership };
    let signed = candidacy.signing_bytes(&env.fixture.genesis.ledger_id);
    let grant = |id: NodeId| Some((id, consilium_kit::keys::vote(id.0).sign(&signed).ok()?));
    let grants = set.seats().iter().filter_map(|seat| grant(seat.id)).collect();
    Some(PeerMessage::Mandate(Box::new(Mandate { candidacy, validators_hash: set.hash(), grants })))
}

/// A block was executed.
pub(super) fn executed(node: &mut Node, host: &mut Host, env: &mut Env, header: &Header, next: Option<&ValidatorSet>) {
    let voting = node.replica.voting();
    let limit = voting.schedule().boundary_above(voting.certified());
    if env.has(Bug::VotePastBoundary) && limit.is_some_and(|limit| header.height > limit) {
        // Signed at once, as if no boundary were there.
        let Ok(vote) = Vote::sign(host.node, header, &host.key) else { return };
        let mut guard = host.disk.guard.read().unwrap_or_default();
        guard.vote.voted_height = header.height;
        guard.vote.voted_header = vote.header_hash;
        host.disk.guard.write(guard);
        host.disk.guard.sync();
        env.oracle.vote_sent(&vote, guard);
        node.broadcast(host, env, &Packet::Messages(vec![PeerMessage::Vote(vote)]));
    }
    if counts(env) {
        node.bugs.recent.insert(header.height, (header.clone(), next.cloned()));
        count(node, host, env, header.height);
    }
}

/// A vote was heard.
pub(super) fn heard(node: &mut Node, host: &Host, env: &mut Env, vote: &Vote) {
    if counts(env) {
        node.bugs.heard.entry(vote.height).or_default().insert(vote.validator, vote.clone());
        count(node, host, env, vote.height);
    }
}

/// A vote of its own was sent.
pub(super) fn sent(node: &mut Node, env: &Env, vote: &Vote) {
    if counts(env) {
        node.bugs.heard.entry(vote.height).or_default().insert(vote.validator, vote.clone());
    }
}

/// Certifies by the wrong rule.
fn count(node: &mut Node, host: &Host, env: &mut Env, height: Height) {
    if height <= node.certified() || !host.honest() {
        return;
    }
    let Some((header, next)) = node.bugs.recent.get(&height).cloned() else { return };
    let set = match env.bug {
        Some(Bug::NewSetEarly) => next.clone(),
        Some(Bug::CountHeads) => node.replica.voting().schedule().set_at(height).cloned(),
        Some(_) | None => None,
    };
    let Some(set) = set else { return };
    let hash = header.hash();
    let votes = node.bugs.heard.get(&height).into_iter().flatten();
    let good = votes.filter(|(id, vote)| vote.header_hash == hash && set.seat(**id).is_some());
    let signatures: BTreeMap<NodeId, [u8; 64]> = good.map(|(id, vote)| (*id, vote.signature)).collect();
    let power: u128 = signatures.keys().filter_map(|id| set.seat(*id)).map(|seat| u128::from(seat.power.0)).sum();
    let enough = match env.bug {
        Some(Bug::NewSetEarly) => set.is_quorum(power),
        Some(_) | None => signatures.len() * 3 > set.seats().len() * 2,
    };
    if enough {
        let certificate = BlockCertificate::new(height, hash, signatures);
        let now = env.true_time();
        env.oracle.certified(&CertifiedHeader { header, certificate }, next.as_ref(), now);
    }
}
