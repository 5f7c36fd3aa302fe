//! Paths of the model that are followed by hand, and on real cores.

use consilium_model::log::Log;
use consilium_model::moves::{Leader, Move};

/// The honest nodes.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const C: usize = 2;

fn elect(leader: Leader, term: u8, granters: &[usize]) -> Move {
    Move::Elect { leader, term, granters: granters.iter().fold(0, |all, at| all | 1 << at) }
}

fn append(to: usize, leader: Leader, term: u8, log: Log) -> Move {
    Move::Append { to, leader, term, log }
}

fn one(term: u8) -> Log {
    Log::EMPTY.push(term, false)
}

fn other(term: u8) -> Log {
    Log::EMPTY.push(term, true)
}

/// The liar leads, and gives one entry to two nodes, another one to the third. It acknowledges
/// the one to A alone, which counts it.
pub(crate) fn two_entries() -> Vec<Move> {
    vec![
        elect(Leader::Liar, 1, &[A, B]),
        append(A, Leader::Liar, 1, one(1)),
        append(B, Leader::Liar, 1, one(1)),
        append(C, Leader::Liar, 1, other(1)),
        Move::Count { node: A, len: 1 },
    ]
}

/// Then it helps C into the lead. B has counted nothing, and takes what C has.
pub(crate) fn led_by_the_other() -> Vec<Move> {
    vec![elect(Leader::Honest(C), 2, &[B]), append(B, Leader::Honest(C), 2, other(1).push(2, false))]
}

/// And acknowledges that, too.
pub(crate) fn counted_by_the_other() -> Vec<Move> {
    vec![Move::Count { node: C, len: 2 }, Move::Count { node: B, len: 2 }]
}

/// An honest leader gives its entry to C. Before it hears of that, the liar is elected, by all
/// but C, and replaces the entry, which it had acknowledged itself.
pub(crate) fn replaced() -> Vec<Move> {
    vec![
        elect(Leader::Honest(A), 1, &[B]),
        append(C, Leader::Honest(A), 1, one(1)),
        elect(Leader::Liar, 2, &[A, B]),
        append(A, Leader::Liar, 2, one(2)),
        append(B, Leader::Liar, 2, one(2)),
        Move::Count { node: B, len: 1 },
        Move::Count { node: C, len: 1 },
    ]
}

/// A and B have counted an entry, which is certified with the liar's vote. Then the liar leads,
/// gives another one to C, and lets it lead.
pub(crate) fn lacks_what_is_certified() -> Vec<Move> {
    vec![
        elect(Leader::Honest(A), 1, &[B]),
        append(B, Leader::Honest(A), 1, one(1)),
        Move::Count { node: A, len: 1 },
        Move::Count { node: B, len: 1 },
        elect(Leader::Liar, 2, &[B, C]),
        append(C, Leader::Liar, 2, one(2)),
        elect(Leader::Honest(C), 3, &[B]),
    ]
}
