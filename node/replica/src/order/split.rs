//! Two entries of one term at one index of the log: who has noticed, and who is to blame. A
//! node that meets another entry than its own tells the others its own one, as the leader
//! sealed it; whoever has two of one leader has proven that it lied.
//!
//! It never takes a peer's word for it: a peer may name any hash, and no other leader's seal.

use consilium_consensus::{LogIndex, SealedPosition, Term};
use consilium_proto::ids::{LedgerId, NodeId};
use consilium_proto::signing::VerifyingKey;

use crate::alarm::{Alarm, AlarmName, Split};
use crate::io::Output;
use crate::notice::Notice;
use crate::peer::PeerMessage;

/// What was not seen for so long is over.
const SEEN_MS: u64 = 10_000;
/// How often the others are told.
const TELL_MS: u64 = 500;

/// A peer has another entry than this node.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Where.
    pub(crate) index: LogIndex,
    /// The term of both entries.
    pub(crate) term: Term,
    /// Who has the other one.
    pub(crate) peer: NodeId,
    /// Who leads that term, if it is the present one.
    pub(crate) leader: Option<NodeId>,
    /// This node's, if its seal is here.
    pub(crate) own: Option<SealedPosition>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Splits {
    seen_ms: Option<u64>,
    told_ms: Option<u64>,
    /// Two entries that one leader has sealed for one place.
    proof: Option<Box<[SealedPosition; 2]>>,
}

impl Splits {
    /// A peer has another entry than this node. Whoever leads that term has shown that it
    /// lies, if it is the peer: returns whether that is so.
    pub(crate) fn note(
        &mut self,
        seen: Seen,
        others: impl Iterator<Item = NodeId>,
        now_ms: u64,
        out: &mut Vec<Output>,
    ) -> bool {
        let Seen { index, term, peer, leader, own } = seen;
        self.seen_ms = Some(now_ms);
        self.raise(Split { index, term, peer, leader, proof: None }, out);
        let due = self.told_ms.is_none_or(|told_ms| now_ms.saturating_sub(told_ms) >= TELL_MS);
        if due && let Some(own) = own {
            self.told_ms = Some(now_ms);
            let message = PeerMessage::Sealed(Box::new(own));
            out.extend(others.map(|to| Output::Send { to, message: message.clone() }));
        }
        leader == Some(peer)
    }

    /// A peer tells what it has where this node has `own`. Returns the leader, if that has
    /// given out both.
    pub(crate) fn compare(
        &mut self,
        own: Option<SealedPosition>,
        (peer, told): (NodeId, SealedPosition),
        (ledger_id, key): (&LedgerId, Option<&VerifyingKey>),
        now_ms: u64,
        out: &mut Vec<Output>,
    ) -> Option<NodeId> {
        let own = own.filter(|own| own.contradicts(&told))?;
        let (leader, proof) = (NodeId(told.seal.leader.get()), Box::new([own, told]));
        // A leader can seal the same entry again and again: one proof for a place is enough.
        if self.proof.as_ref().is_none_or(|known| known[0].position != own.position) {
            let key = key?;
            if !proof.iter().all(|sealed| sealed.verifies(ledger_id, key)) {
                return None;
            }
            out.push(Output::Notice(Notice::SplitProven(proof.clone())));
            // Whoever has the other one is to have the proof, too.
            out.push(Output::Send { to: peer, message: PeerMessage::Sealed(Box::new(own)) });
            self.proof = Some(proof);
        }
        self.seen_ms = Some(now_ms);
        let (index, term) = (own.position.index, own.position.term);
        self.raise(Split { index, term, peer, leader: Some(leader), proof: None }, out);
        Some(leader)
    }

    fn raise(&self, split: Split, out: &mut Vec<Output>) {
        let of_split = |proof: &[SealedPosition; 2]| {
            let position = proof[0].position;
            (position.index, position.term) == (split.index, split.term)
        };
        let proof = self.proof.clone().filter(|proof| of_split(proof));
        let leader = proof.as_ref().map(|proof| NodeId(proof[0].seal.leader.get())).or(split.leader);
        out.push(Output::Raise(Alarm::LogSplit(Split { proof, leader, ..split })));
    }

    /// What was not seen for a while is over.
    pub(crate) fn look(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        if self.seen_ms.is_none_or(|seen_ms| now_ms.saturating_sub(seen_ms) > SEEN_MS) {
            *self = Self::default();
            out.push(Output::Clear(AlarmName::LogSplit));
        }
    }
}

#[cfg(test)]
mod tests;
