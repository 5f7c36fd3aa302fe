#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;

use consilium_consensus::{Config, ElectionTicks, Electorate, HardState, Initial, Membership, RaftId, Signer};
use consilium_kit::{LogHandle, MemoryLog};
use consilium_proto::ids::{LedgerId, NodeId, VotingPower};
use consilium_proto::validators::{Quorum, Validator, ValidatorSet};

use super::*;

const FIRST: ReadContext = ReadContext([1; 16]);
const SECOND: ReadContext = ReadContext([2; 16]);

/// A core that is alone, and leads.
fn leader() -> Core<LogHandle> {
    let (id, log) = (RaftId::new(1).unwrap(), Rc::new(RefCell::new(MemoryLog::default())));
    let mut config = Config::new(id);
    config.election_ticks = ElectionTicks { min: 5, max: 6 };
    let membership = Membership::new([id], []);
    let initial = Initial { hard_state: HardState::default(), membership, applied: LogIndex(0) };
    let key = consilium_kit::keys::vote(1);
    let seat = Validator { id: NodeId(1), power: VotingPower(1), key: key.verifying_key() };
    let set = ValidatorSet::new(vec![seat], Quorum::new(2, 3).unwrap()).unwrap();
    let signer = Signer { ledger_id: LedgerId::from_bytes([1; 32]), key };
    let mut core = Core::new(config, signer, initial, LogHandle::new(&log)).unwrap();
    core.set_electorate(Electorate::new(vec![set], vec![]));
    for _ in 0..10 {
        core.tick();
        while let Some(output) = core.take_output().unwrap() {
            let Some(round) = output.persist else { continue };
            log.borrow_mut().write(&round);
            core.persisted(round.seq).unwrap();
        }
    }
    core
}

fn answers(ready: bool, requests: &[u64]) -> Vec<Output> {
    requests.iter().map(|request| Output::ReadAnswer { request: RequestId(*request), ready }).collect()
}

fn asked(core: &mut Core<LogHandle>) -> Reads {
    let (mut reads, mut out) = (Reads::default(), Vec::new());
    reads.wait(RequestId(1), FIRST, &mut out);
    reads.wait(RequestId(2), SECOND, &mut out);
    reads.ask(core, &mut out);
    assert_eq!(out, []);
    reads
}

#[test]
fn all_that_wait_share_one_question() {
    let (mut core, mut out) = (leader(), Vec::new());
    let mut reads = asked(&mut core);
    reads.wait(RequestId(3), ReadContext([3; 16]), &mut out);
    reads.ask(&mut core, &mut out);
    let index = LogIndex(1);
    reads.outcome(ReadOutcome::Ready { context: FIRST, index }, index, &mut out);
    assert_eq!(out, [], "the question bore another name");
    reads.outcome(ReadOutcome::Ready { context: SECOND, index }, index, &mut out);
    assert_eq!(out, answers(true, &[1, 2]), "who came later is not answered by an earlier question");
    out.clear();
    reads.ask(&mut core, &mut out);
    reads.outcome(ReadOutcome::Ready { context: ReadContext([3; 16]), index }, index, &mut out);
    assert_eq!(out, answers(true, &[3]));
}

#[test]
fn a_question_that_was_dropped_turns_all_away() {
    let mut out = Vec::new();
    let mut reads = asked(&mut leader());
    reads.outcome(ReadOutcome::Dropped { context: SECOND }, LogIndex(9), &mut out);
    assert_eq!(out, answers(false, &[1, 2]));
}

#[test]
fn a_read_is_answered_when_what_was_committed_is_applied() {
    let mut out = Vec::new();
    let mut reads = asked(&mut leader());
    reads.outcome(ReadOutcome::Ready { context: SECOND, index: LogIndex(7) }, LogIndex(5), &mut out);
    reads.applied(LogIndex(6), &mut out);
    assert_eq!(out, []);
    reads.applied(LogIndex(8), &mut out);
    assert_eq!(out, answers(true, &[1, 2]));
    reads.applied(LogIndex(9), &mut out);
    assert_eq!(out.len(), 2, "once");
}

#[test]
fn a_question_that_cannot_be_asked_turns_all_away() {
    let (mut reads, mut out) = (Reads::default(), Vec::new());
    let mut core = leader();
    core.read_index(FIRST).unwrap();
    reads.wait(RequestId(1), FIRST, &mut out);
    reads.ask(&mut core, &mut out);
    assert_eq!(out, answers(false, &[1]));
}

#[test]
fn more_reads_than_may_wait_are_turned_away() {
    let (mut reads, mut out) = (Reads::default(), Vec::new());
    (0..READS_MAX as u64).for_each(|request| reads.wait(RequestId(request), FIRST, &mut out));
    assert_eq!(out, []);
    reads.wait(RequestId(99_999), FIRST, &mut out);
    assert_eq!(out, answers(false, &[99_999]));
}
