//! The wiring of bugs that are about votes. Each does what a plausible mistake in
//! the certifier would do, beside the real one.

use std::collections::BTreeMap;

use consilium_proto::header::Header;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader, Vote};

use crate::bugs::Bug;
use crate::env::{Env, Halt};
use crate::event::Packet;
use crate::machine::Host;
use crate::node::Node;

/// A block was executed.
///
/// # Errors
/// Never yet; the wiring of a bug may fail like that of a node.
pub fn executed(
    node: &mut Node,
    host: &mut Host,
    env: &mut Env,
    header: &Header,
    next: Option<&ValidatorSet>,
) -> Result<(), Halt> {
    let limit = node.voting.schedule().boundary_above(node.voting.certified());
    if env.has(Bug::VotePastBoundary) && limit.is_some_and(|limit| header.height > limit) {
        // Signed at once, as if no boundary were there.
        let vote = Vote::sign(host.node, header, &host.key).map_err(|e| Halt::Fault(e.to_string()))?;
        let mut guard = host.disk.guard.read().unwrap_or_default();
        guard.vote.voted_height = header.height;
        guard.vote.voted_header = vote.header_hash;
        host.disk.guard.write(guard);
        host.disk.guard.sync();
        env.oracle.vote_sent(&vote, guard);
        node.broadcast(host, env, &Packet::Vote(vote));
    }
    if env.has(Bug::CountHeads) || env.has(Bug::NewSetEarly) {
        node.certifier.recent.insert(header.height, (header.clone(), next.cloned()));
        count(node, host, env, header.height)?;
    }
    Ok(())
}

/// A vote was heard.
///
/// # Errors
/// Never yet, as above.
pub fn heard(node: &mut Node, host: &mut Host, env: &mut Env, vote: &Vote) -> Result<(), Halt> {
    if env.has(Bug::CountHeads) || env.has(Bug::NewSetEarly) {
        let height = vote.height;
        node.certifier.heard.entry(height).or_default().insert(vote.validator, vote.clone());
        count(node, host, env, height)?;
    }
    Ok(())
}

/// Certifies by the wrong rule.
fn count(node: &mut Node, host: &mut Host, env: &mut Env, height: Height) -> Result<(), Halt> {
    if height <= node.voting.certified() || !host.honest() {
        return Ok(());
    }
    let Some((header, next)) = node.certifier.recent.get(&height).cloned() else { return Ok(()) };
    let set = match env.bug {
        Some(Bug::NewSetEarly) => next.clone(),
        Some(Bug::CountHeads) => node.voting.schedule().set_at(height).cloned(),
        Some(_) | None => None,
    };
    let Some(set) = set else { return Ok(()) };
    let hash = header.hash();
    let votes = node.certifier.heard.get(&height).into_iter().flatten();
    let good = votes.filter(|(id, vote)| vote.header_hash == hash && set.seat(**id).is_some());
    let signatures: BTreeMap<NodeId, [u8; 64]> = good.map(|(id, vote)| (*id, vote.signature)).collect();
    let power: u128 = signatures.keys().filter_map(|id| set.seat(*id)).map(|seat| u128::from(seat.power.0)).sum();
    let enough = match env.bug {
        Some(Bug::NewSetEarly) => set.is_quorum(power),
        Some(_) | None => signatures.len() * 3 > set.seats().len() * 2,
    };
    if enough {
        let certificate = BlockCertificate::new(height, hash, signatures);
        env.oracle.certified(&CertifiedHeader { header, certificate }, next.as_ref(), env.now);
        node.waiters.certified(height, env);
    }
    Ok(())
}
