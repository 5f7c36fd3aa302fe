//! The network: latency (and so reordering), loss, duplicates, late messages,
//! cuts in one direction or both. It carries and loses; what arrives is for
//! others to judge.

use std::collections::{BTreeMap, BTreeSet};

use crate::Rng;

/// What happened to a message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFault {
    Cut,
    Loss,
    Delay,
    Duplicate,
}

/// When a message arrives: never, once, or twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    pub arrivals: Vec<u64>,
    pub faults: Vec<LinkFault>,
}

/// The links between addresses. Time is counted in whatever unit the user counts.
#[derive(Clone, Debug)]
pub struct Links<A> {
    rng: Rng,
    /// Links (from, to) that carry nothing.
    cuts: BTreeSet<(A, A)>,
    /// A message takes `1..=latency_max`.
    pub latency_max: u64,
    pub loss_per_mille: u64,
    pub duplicate_per_mille: u64,
    pub delay_per_mille: u64,
    /// What a delay adds.
    pub delay: (u64, u64),
    /// No loss, no duplicates, no delays.
    pub calm: bool,
}

impl<A: Copy + Ord> Links<A> {
    /// Links without faults.
    #[must_use]
    pub fn new(rng: Rng, latency_max: u64) -> Self {
        Self {
            rng,
            cuts: BTreeSet::new(),
            latency_max,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            delay_per_mille: 0,
            delay: (0, 0),
            calm: false,
        }
    }

    pub fn passage(&mut self, now: u64, from: A, to: A) -> Passage {
        let mut passage = Passage::default();
        if self.is_cut(from, to) {
            passage.faults.push(LinkFault::Cut);
            return passage;
        }
        let usual = now + 1 + self.rng.below(self.latency_max);
        if self.calm {
            passage.arrivals.push(usual);
            return passage;
        }
        if self.rng.chance(self.loss_per_mille) {
            passage.faults.push(LinkFault::Loss);
            return passage;
        }
        if self.rng.chance(self.delay_per_mille) {
            passage.faults.push(LinkFault::Delay);
            passage.arrivals.push(usual + self.rng.range(self.delay.0, self.delay.1));
        } else {
            passage.arrivals.push(usual);
        }
        if self.rng.chance(self.duplicate_per_mille) {
            passage.faults.push(LinkFault::Duplicate);
            passage.arrivals.push(now + 1 + self.rng.below(self.latency_max * 4));
        }
        passage
    }

    #[must_use]
    pub fn is_cut(&self, from: A, to: A) -> bool {
        self.cuts.contains(&(from, to))
    }

    /// Cuts a link in one direction.
    pub fn cut(&mut self, from: A, to: A) {
        self.cuts.insert((from, to));
    }

    /// Cuts `one` off from all of `others`, both ways.
    pub fn isolate(&mut self, one: A, others: &[A]) {
        for other in others.iter().filter(|other| **other != one) {
            self.cut(one, *other);
            self.cut(*other, one);
        }
    }

    /// Restores all links.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<A, M> {
    pub from: A,
    pub to: A,
    pub message: M,
}

/// Links, and what is under way on them.
#[derive(Clone, Debug)]
pub struct Network<A, M> {
    pub links: Links<A>,
    /// By arrival, then order of sending.
    queue: BTreeMap<(u64, u64), Packet<A, M>>,
    sent: u64,
}

impl<A: Copy + Ord, M: Clone> Network<A, M> {
    #[must_use]
    pub fn new(links: Links<A>) -> Self {
        Self { links, queue: BTreeMap::new(), sent: 0 }
    }

    pub fn send(&mut self, now: u64, from: A, to: A, message: M) {
        for at in self.links.passage(now, from, to).arrivals {
            self.sent += 1;
            self.queue.insert((at, self.sent), Packet { from, to, message: message.clone() });
        }
    }

    /// Takes what has arrived; a link cut meanwhile loses what it carried.
    pub fn due(&mut self, now: u64) -> Vec<Packet<A, M>> {
        let later = self.queue.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut self.queue, later);
        due.into_values().filter(|packet| !self.links.is_cut(packet.from, packet.to)).collect()
    }
}

#[cfg(test)]
mod tests;
