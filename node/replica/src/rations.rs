//! How much checking of signatures each peer may cause. A registered node is no friend: what it
//! says is signed, and each signature costs the receiver a tenth of a millisecond on the one
//! thread that everything runs on.
//!
//! Beyond its ration a peer's signed messages are dropped unlooked at, and what is proven to be
//! forged costs far more than what is true. Honest peers repeat what they said until it is no
//! longer needed, so a dropped message delays and never stops anything. Raft's own messages are
//! not counted here: a peer that is out of rations still takes part in the log.

use std::collections::BTreeMap;

use consilium_proto::ids::NodeId;

use crate::peer::PeerMessage;
use crate::rate::{Rate, Used};

/// Votes of a peer, own ones and those passed on: several times as many as there are blocks.
const VOTES: Rate = Rate::new(1_000, 1_024);
/// Signatures of certificates, mandates, changes and seals: eight changes of the largest set of
/// validators at once, which an answer to a node that was away holds.
const PROOFS: Rate = Rate::new(4_000, 8 * 2 * 128);
/// Forgeries. An honest node sends none.
const FORGERIES: Rate = Rate::new(2_000_000, 16);
/// Time between two words about one peer, in milliseconds.
const TOLD_EACH_MS: u64 = 60_000;

/// What a peer has used.
#[derive(Debug, Default)]
struct Ration {
    votes: Used,
    proofs: Used,
    forgeries: Used,
    told_at_ms: Option<u64>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is looked at.
    Taken,
    /// It is dropped; whether that is to be told.
    Dropped {
        /// For the first time in a while.
        tell: bool,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rations(BTreeMap<NodeId, Ration>);

impl Rations {
    /// Counts a message of a peer.
    pub(crate) fn take(&mut self, peer: NodeId, message: &PeerMessage, now_ms: u64) -> Verdict {
        let Some((rate, cost)) = cost(message) else { return Verdict::Taken };
        let ration = self.0.entry(peer).or_default();
        let used = match rate {
            Kind::Vote => VOTES.take(&mut ration.votes, cost, now_ms),
            Kind::Proof => PROOFS.take(&mut ration.proofs, cost, now_ms),
        };
        if used.is_ok() && FORGERIES.is_left(ration.forgeries, now_ms) {
            return Verdict::Taken;
        }
        let tell = ration.told_at_ms.is_none_or(|told_at_ms| now_ms >= told_at_ms.saturating_add(TOLD_EACH_MS));
        if tell {
            ration.told_at_ms = Some(now_ms);
        }
        Verdict::Dropped { tell }
    }

    /// A signature that a peer sent was false.
    pub(crate) fn forged(&mut self, peer: NodeId, now_ms: u64) {
        let ration = self.0.entry(peer).or_default();
        // One that is counted already as far as can be is not counted more.
        let _ = FORGERIES.take(&mut ration.forgeries, 1, now_ms);
    }

    /// Forgets nodes that are none any more.
    pub(crate) fn retain(&mut self, known: impl Fn(NodeId) -> bool) {
        self.0.retain(|peer, _| known(*peer));
    }
}

/// What a message is counted as.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Vote,
    Proof,
}

/// The signatures that a message can have checked; `None` if it has none.
fn cost(message: &PeerMessage) -> Option<(Kind, u64)> {
    let (kind, signatures) = match message {
        PeerMessage::Raft(_)
        | PeerMessage::WallClock(_)
        | PeerMessage::MandateWanted { .. }
        | PeerMessage::Recall(_) => return None,
        // A question for certificates has one looked up.
        PeerMessage::Vote(_) | PeerMessage::RelayedVote(_) | PeerMessage::UncertifiedFrom(_) => (Kind::Vote, 1),
        PeerMessage::Certified(certified) => (Kind::Proof, certified.certificate.signatures().count()),
        // Under each set that is known.
        PeerMessage::Mandate(mandate) => (Kind::Proof, 2 * mandate.grants.len()),
        PeerMessage::SetChange(change) => (Kind::Proof, change.boundary.certificate.signatures().count()),
        PeerMessage::Recollection(_) | PeerMessage::Sealed(_) => (Kind::Proof, 2),
    };
    Some((kind, u64::try_from(signatures.max(1)).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
