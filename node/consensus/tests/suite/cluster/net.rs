//! The network: latency (and so reordering), loss, duplicates, one-way cuts.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use consilium_consensus::{Outbound, RaftId};

use super::rng::Rng;

#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from: RaftId,
    pub(crate) to: RaftId,
    pub(crate) bytes: Bytes,
}

pub(crate) struct Network {
    /// By arrival step, then order of sending.
    queue: BTreeMap<(u64, u64), Packet>,
    sent: u64,
    pub(crate) loss_per_mille: u64,
    pub(crate) duplicate_per_mille: u64,
    /// Steps that a message takes, `1..=latency_max`.
    pub(crate) latency_max: u64,
    /// Links (from, to) that carry nothing.
    cuts: BTreeSet<(RaftId, RaftId)>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            queue: BTreeMap::new(),
            sent: 0,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            latency_max: 5,
            cuts: BTreeSet::new(),
        }
    }
}

impl Network {
    pub(crate) fn send(&mut self, now: u64, rng: &mut Rng, from: RaftId, message: Outbound) {
        let Outbound { to, bytes } = message;
        if self.cuts.contains(&(from, to)) || rng.chance(self.loss_per_mille) {
            return;
        }
        let copies = 1 + u64::from(rng.chance(self.duplicate_per_mille));
        for _ in 0..copies {
            let at = now + 1 + rng.below(self.latency_max);
            self.sent += 1;
            self.queue.insert((at, self.sent), Packet { from, to, bytes: bytes.clone() });
        }
    }

    /// Takes what has arrived; a link cut meanwhile loses what it carried.
    pub(crate) fn due(&mut self, now: u64) -> Vec<Packet> {
        let later = self.queue.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut self.queue, later);
        due.into_values().filter(|packet| !self.cuts.contains(&(packet.from, packet.to))).collect()
    }

    pub(crate) fn cut(&mut self, from: RaftId, to: RaftId) {
        self.cuts.insert((from, to));
    }

    /// Cuts `node` off from all of `others`, both ways.
    pub(crate) fn isolate(&mut self, node: RaftId, others: &[RaftId]) {
        for other in others.iter().filter(|other| **other != node) {
            self.cut(node, *other);
            self.cut(*other, node);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }
}
