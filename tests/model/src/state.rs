//! What the model remembers: of each honest node what it has on its disk and what it has ever
//! said, and of the liar which terms it led. Whatever was said once may be heard by anybody at
//! any later time, or never: so there is no network in the state.

use crate::log::{INDEX_MAX, Log};
use crate::rules::{Liar, Rules};

/// Nodes that keep to the rules.
pub const HONEST: usize = 3;
/// Terms that fit, and one more: term zero is before the first election.
pub const TERMS: usize = 5;

/// An honest node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// The newest term that it granted in, led, or took something in.
    pub term: u8,
    /// The terms that it led, a bit each.
    pub led: u8,
    /// Its log.
    pub log: Log,
    /// What of it is counted, and executed.
    pub counted: Log,
    /// The term in which it counted last.
    pub counted_in: u8,
    /// Up to where it acknowledged, in each term.
    pub acked: [Log; TERMS],
    /// What it voted for at each height; the height is the index.
    pub voted: [Log; INDEX_MAX],
    /// What else it voted for: only where nothing forbids it.
    pub revoted: [Log; INDEX_MAX],
}

impl Node {
    /// Whether it was elected in a term.
    #[must_use]
    pub fn leads(&self, term: u8) -> bool {
        self.led >> term & 1 == 1
    }

    /// Its vote at the greatest height; empty if there is none.
    #[must_use]
    pub fn newest_vote(&self) -> Log {
        self.voted.iter().rev().find(|vote| !vote.is_empty()).copied().unwrap_or_default()
    }

    fn votes_for(&self, log: Log) -> bool {
        log.len().checked_sub(1).is_some_and(|at| self.voted[at] == log || self.revoted[at] == log)
    }

    /// What does not depend on which of two entries it is about.
    fn shape(&self) -> (u8, u8, u8, Log, Log, [Log; TERMS]) {
        let Self { term, led, log, counted, counted_in, acked, .. } = self;
        (*term, *led, *counted_in, log.shape(), counted.shape(), acked.map(Log::shape))
    }

    fn logs(&mut self) -> impl Iterator<Item = &mut Log> {
        let Self { log, counted, acked, voted, revoted, .. } = self;
        [log, counted].into_iter().chain(acked).chain(voted).chain(revoted)
    }
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    /// The honest.
    pub nodes: [Node; HONEST],
    /// Terms that the liar led, a bit each.
    pub liar_led: u8,
    /// What it acknowledged in each term, where it does so once.
    pub liar_acked: [Log; TERMS],
    /// Two honest nodes counted different entries at one index by the heads of one term.
    pub two_in_a_term: bool,
    /// An honest node was elected whose log lacks something certified.
    pub elected_without: bool,
}

impl State {
    /// Whether the liar was elected in a term.
    #[must_use]
    pub fn is_liars(&self, term: u8) -> bool {
        self.liar_led >> term & 1 == 1
    }

    /// Whether an honest node was.
    #[must_use]
    pub fn is_honest(&self, term: u8) -> bool {
        self.nodes.iter().any(|node| node.leads(term))
    }

    /// Whether anybody was.
    #[must_use]
    pub fn has_leader(&self, term: u8) -> bool {
        self.is_liars(term) || self.is_honest(term)
    }

    /// Whether a log, or one that begins with it, is known to an honest node.
    #[must_use]
    pub fn knows(&self, log: Log) -> bool {
        self.nodes.iter().any(|node| node.log.starts_with(log) || node.acked.iter().any(|acked| acked.starts_with(log)))
    }

    /// What is certified, or is so as soon as the liar says so.
    #[must_use]
    pub fn certified(&self, rules: &Rules, liar: &Liar) -> Vec<Log> {
        let mut certified = Vec::new();
        let votes = self.nodes.iter().flat_map(|node| node.voted.iter().chain(&node.revoted));
        for vote in votes.copied().filter(|vote| !vote.is_empty()) {
            let signers = self.nodes.iter().filter(|node| node.votes_for(vote)).count() as u32;
            if signers + u32::from(liar.speaks) >= rules.vote_quorum && !certified.contains(&vote) {
                certified.push(vote);
            }
        }
        certified
    }

    /// Without what nobody can hear any more: an acknowledgement concerns whoever is not in a
    /// later term yet.
    #[must_use]
    pub fn forgetting(mut self) -> Self {
        let terms = self.nodes.map(|node| usize::from(node.term));
        let earliest = terms.into_iter().min().unwrap_or_default();
        self.liar_acked[..earliest].fill(Log::EMPTY);
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if usize::from(node.counted_in) < earliest {
                node.counted_in = 0;
            }
            for term in 0..TERMS {
                let heard = (0..HONEST).any(|other| other != at && terms[other] <= term);
                if !heard && terms[at] != term {
                    node.acked[term] = Log::EMPTY;
                }
            }
        }
        self
    }

    /// One of all states that differ from it by the names of nodes and of the liar's entries.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        const ORDERS: [[usize; HONEST]; 5] = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        self.nodes.sort_unstable_by_key(Node::shape);
        let shapes = self.nodes.map(|node| node.shape());
        let mut least = self.relabelled();
        if shapes[0] == shapes[1] || shapes[1] == shapes[2] {
            let alike = |order: &[usize; HONEST]| (0..HONEST).all(|at| shapes[order[at]] == shapes[at]);
            for order in ORDERS.into_iter().filter(alike) {
                let other = Self { nodes: order.map(|at| self.nodes[at]), ..self };
                least = least.min(other.relabelled());
            }
        }
        least
    }

    /// With the entries that the liar may have made named by where they are seen first: the
    /// first one of two has no more to it than the second one.
    fn relabelled(mut self) -> Self {
        if self.liar_led == 0 {
            return self;
        }
        let honest = self.nodes.iter().fold(0, |led, node| led | node.led);
        let mut firsts = Vec::with_capacity(16);
        let Self { nodes, liar_acked, .. } = &mut self;
        for log in nodes.iter_mut().flat_map(Node::logs).chain(liar_acked) {
            *log = relabelled(*log, honest, &mut firsts);
        }
        self
    }
}

/// A log with its entries named anew; `firsts` are those that were seen, with what is before
/// them, their term, and which of two they were.
fn relabelled(log: Log, honest: u8, firsts: &mut Vec<(Log, u8, bool)>) -> Log {
    let mut new = Log::EMPTY;
    for index in 1..=log.len() {
        let (term, variant) = (log.term_at(index), log.variant_at(index));
        if honest >> term & 1 == 1 {
            new = new.push(term, variant);
            continue;
        }
        let known = firsts.iter().find(|(before, of, _)| (*before, *of) == (new, term));
        let first = known.map_or(variant, |(_, _, first)| *first);
        if known.is_none() {
            firsts.push((new, term, variant));
        }
        new = new.push(term, variant != first);
    }
    new
}
