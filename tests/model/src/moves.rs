//! What happens, and what comes of it. Whether it can happen is for [`crate::choices`] to say,
//! but for what an honest node refuses by itself: that is here.

use crate::log::Log;
use crate::rules::{CandidateCheck, Liar, Rules};
use crate::state::{HONEST, Node, State};

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leader {
    /// An honest node.
    Honest(usize),
    /// The liar.
    Liar,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// Somebody is elected, by these honest nodes (a bit each), itself, and the liar if it
    /// speaks. An honest one appends the entry that opens its term.
    Elect {
        /// Who.
        leader: Leader,
        /// In which term.
        term: u8,
        /// Who else granted.
        granters: u8,
    },
    /// An honest leader appends one more entry.
    Propose {
        /// Who.
        leader: usize,
    },
    /// An honest node takes what a leader says, up to the end of this log, and acknowledges it.
    Append {
        /// Who takes it.
        to: usize,
        /// Whose word it is.
        leader: Leader,
        /// Of which term.
        term: u8,
        /// What it says.
        log: Log,
    },
    /// An honest node counts an entry, and all before it, executes them, and votes.
    Count {
        /// Who.
        node: usize,
        /// How many entries it has counted then.
        len: usize,
    },
    /// An honest node that executed something else takes what is certified.
    Adopt {
        /// Who.
        node: usize,
        /// What.
        log: Log,
    },
    /// An honest node loses its log and its ledger.
    Forget {
        /// Who.
        node: usize,
    },
}

/// Whether a node would grant a candidate, as far as logs go.
#[must_use]
pub fn would_grant(granter: &Node, candidate: &Node, rules: &Rules) -> bool {
    let (own, log) = (granter.log, candidate.log);
    let behind = (log.last_term(), log.len()) < (own.last_term(), own.len());
    let refused = rules.up_to_date && behind;
    !refused && !contradicts(granter, candidate, rules)
}

/// Whether a candidate is seen to have another entry than its granter counted.
fn contradicts(granter: &Node, candidate: &Node, rules: &Rules) -> bool {
    let (own, log) = (granter.log, candidate.log);
    let index = granter.counted.len().min(log.len());
    // A candidate shows the hashes of what it has not counted, and of its last entry.
    let shown = index > 0 && (index > candidate.counted.len() || index == log.len());
    let other = own.prefix(index) != log.prefix(index);
    let compared = match rules.candidates {
        CandidateCheck::Off => false,
        CandidateCheck::SameTerm => index < log.len() || log.last_term() == own.term_at(index),
        CandidateCheck::Strict => true,
    };
    shown && compared && other
}

/// The log of a node behind what a leader says; `None` if it refuses that.
#[must_use]
pub fn appended(node: &Node, term: u8, log: Log, rules: &Rules) -> Option<Log> {
    let same = |index: usize| {
        let (own, other) = (node.log.prefix(index), log.prefix(index));
        if rules.chained { own == other } else { own.last_term() == other.last_term() }
    };
    let most = node.log.len().min(log.len());
    let kept = (1..=most).take_while(|index| same(*index)).count();
    if kept == log.len() {
        return Some(node.log);
    }
    let replaces = kept < node.log.len();
    let was_counted = replaces && kept < node.counted.len();
    // A log that ends in the leader's term is the leader's to its end.
    let was_acknowledged = replaces && node.term == term && node.log.last_term() == term;
    if rules.keeps_counted && was_counted || rules.keeps_acknowledged && was_acknowledged {
        return None;
    }
    let add = |own: Log, index| own.push(log.term_at(index), log.variant_at(index));
    Some((kept + 1..=log.len()).fold(node.log.prefix(kept), add))
}

impl State {
    pub(crate) fn elect(&mut self, leader: Leader, term: u8, granters: u8, (rules, liar): (&Rules, &Liar)) {
        let second = self.has_leader(term);
        for at in (0..HONEST).filter(|at| granters >> at & 1 == 1) {
            self.nodes[at].term = term;
        }
        match leader {
            Leader::Liar => self.liar_led |= 1 << term,
            Leader::Honest(at) => {
                let certified = self.certified(rules, liar);
                let node = &mut self.nodes[at];
                self.elected_without |= certified.iter().any(|it| !node.log.starts_with(*it));
                node.term = term;
                node.led |= 1 << term;
                node.log = node.log.push(term, second);
                node.acked[usize::from(term)] = node.log;
            }
        }
    }

    pub(crate) fn propose(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.log = node.log.push(node.term, node.log.variant_at(node.log.len()));
        node.acked[usize::from(node.term)] = node.log;
    }

    /// Whether anything is different afterwards, but for the term.
    pub(crate) fn append(&mut self, to: usize, term: u8, log: Log, rules: &Rules) -> bool {
        let node = &mut self.nodes[to];
        let Some(new) = appended(node, term, log, rules) else { return false };
        let before = (node.log, node.acked);
        node.term = term;
        node.log = new;
        let acked = &mut node.acked[usize::from(term)];
        if new.last_term() == term {
            *acked = new;
        } else if !rules.heads_only && log.len() > acked.len() {
            *acked = new.prefix(log.len());
        }
        before != (node.log, node.acked)
    }

    /// Whether a node may count the entries up to an index.
    #[must_use]
    pub fn may_count(&self, at: usize, len: usize, rules: &Rules, liar: &Liar) -> bool {
        let node = &self.nodes[at];
        let own = node.acked[usize::from(node.term)];
        let is_head = !rules.heads_only || node.log.term_at(len) == node.term;
        if len > node.log.len() || len <= node.counted.len() || own.len() < len || !is_head {
            return false;
        }
        let told = !rules.counts_itself && liar.speaks && self.is_liars(node.term);
        told || self.holders(at, len, rules) + u32::from(self.liar_acks(at, len, liar)) >= rules.ack_quorum
    }

    /// Honest nodes that acknowledged, in the term of a node, its entry at an index.
    fn holders(&self, at: usize, len: usize, rules: &Rules) -> u32 {
        let (term, head) = (self.nodes[at].term, self.nodes[at].log.prefix(len));
        let holds = |acked: Log| match rules.chained {
            true => acked.starts_with(head),
            false => acked.len() >= len && acked.term_at(len) == head.last_term(),
        };
        self.nodes.iter().filter(|other| holds(other.acked[usize::from(term)])).count() as u32
    }

    fn liar_acks(&self, at: usize, len: usize, liar: &Liar) -> bool {
        let Node { term, log, .. } = self.nodes[at];
        liar.speaks && (!liar.acks_once || self.liar_acked[usize::from(term)].agrees_with(log.prefix(len)))
    }

    pub(crate) fn count(&mut self, at: usize, len: usize, rules: &Rules, liar: &Liar) {
        let certified = self.certified(rules, liar);
        if liar.acks_once && self.holders(at, len, rules) < rules.ack_quorum {
            let acked = &mut self.liar_acked[usize::from(self.nodes[at].term)];
            *acked = self.nodes[at].log.prefix(len.max(acked.len()));
        }
        let others = self.nodes;
        let node = &mut self.nodes[at];
        let before = node.counted.len();
        (node.counted, node.counted_in) = (node.log.prefix(len), node.term);
        let other = |other: &Node| other.counted_in == node.term && !other.counted.agrees_with(node.counted);
        self.two_in_a_term |= others.iter().any(other);
        (before + 1..=len).for_each(|height| vote(node, height, &certified, rules));
    }

    pub(crate) fn adopt(&mut self, at: usize, log: Log) {
        let node = &mut self.nodes[at];
        node.counted = log;
        if !node.log.starts_with(log) {
            node.log = log;
            node.term = node.term.max(log.last_term());
        }
    }

    pub(crate) fn forget(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        (node.log, node.counted, node.counted_in) = (Log::EMPTY, Log::EMPTY, 0);
    }
}

/// A node votes for what it executed at a height, if it may.
fn vote(node: &mut Node, height: usize, certified: &[Log], rules: &Rules) {
    let (executed, newest, at) = (node.counted.prefix(height), node.newest_vote(), height - 1);
    if !rules.votes_once {
        let again = !node.voted[at].is_empty() && node.voted[at] != executed;
        let vote = if again { &mut node.revoted[at] } else { &mut node.voted[at] };
        *vote = executed;
        return;
    }
    let covered = |it: &Log| it.len() >= newest.len() && executed.starts_with(*it);
    let holds = executed.starts_with(newest) || certified.iter().any(covered);
    if holds && height > newest.len() {
        node.voted[at] = executed;
    }
}
