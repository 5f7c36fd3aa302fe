//! A node that is alone: the exact outputs of a transaction's way.

use std::collections::BTreeSet;
use std::sync::Arc;

use consilium_consensus::{EntryKind, HardState, LogEntry, LogHash, LogIndex, Persist, RaftId, SealedPosition, Term};
use consilium_kit::replica::Replicas;
use consilium_kit::{Identity, keys};
use consilium_ledger::CheckedTransaction;
use consilium_proto::header::Leaf;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::observed::Observed;
use consilium_proto::pb::Outcome;
use consilium_proto::transaction::signature_hash;
use consilium_replica::block::CheckedBlock;
use consilium_replica::disk::{LogWrite, VoteWrite};
use consilium_replica::notice::Notice;
use consilium_replica::ports::Ledger;
use consilium_replica::submission::{Located, Refused, Verdict, WaitFor};
use consilium_replica::{Applied, ExecutedBlock, Input, Output};

/// The round of a write, to compare with: its number is Raft's own.
fn round(output: &Output) -> &Persist {
    match output {
        Output::WriteLog(LogWrite::Round(round)) => round,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_transaction_is_proposed_written_executed_guarded_and_certified_in_this_order() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.said(1);
    let transaction = solo.enrollment(&Identity::new("a.example", "admin", "root"));
    let input = solo.submit(1, transaction.clone(), WaitFor::Certified);
    let Input::Submit { request, .. } = input else { panic!("{input:?}") };
    let (time, proposer) = (solo.now.wall, NodeId(1));
    solo.give(1, [input]);
    let said = solo.said(1);

    let checked = CheckedTransaction { transaction: transaction.clone(), verified_under: None };
    let block = CheckedBlock { time, proposer, transactions: vec![checked], observed: Observed::default() };
    // An empty entry opens the term.
    let (term, first) = (Term(1), LogEntry::new(&LogHash::NONE, Term(1), LogIndex(1), EntryKind::Empty));
    let entry = LogEntry::new(&first.hash, term, LogIndex(2), EntryKind::Normal(block.encode()));
    let seal = round(&said[1]).entries[0].seal.unwrap();
    let sealed = SealedPosition { position: entry.position(), seal };
    assert!(sealed.verifies(&solo.genesis.ledger_id, &keys::vote(1).verifying_key()));
    let entry = LogEntry { seal: Some(seal), ..entry };
    let position = entry.position();
    let write = |round: &Persist, entries, hard_state, must_sync| {
        let (seq, snapshot, messages_after) = (round.seq, None, Vec::new());
        let round = Persist { seq, snapshot, entries, hard_state, must_sync, messages_after };
        Output::WriteLog(LogWrite::Round(round))
    };
    // What promises nothing was not written by itself.
    let before = HardState { term, vote: RaftId::new(1), commit: LogIndex(1) };
    let header = solo.node(1).disk.ledger.header(Height(1)).unwrap().unwrap();
    let (transaction_id, signature_hash) = (transaction.id, signature_hash(&transaction.signature));
    let leaf = Leaf { transaction_id, height: Height(1), outcome: Outcome::Applied, signature_hash };
    let vote = solo.node(1).disk.guard.read().vote;
    let certified = Arc::clone(solo.node(1).replica.newest_certified().unwrap());
    assert_eq!((vote.voted_height, vote.voted_header), (Height(1), header.hash()));
    assert_eq!(certified.header, header);
    let expected = [
        Output::Notice(Notice::Proposed { index: position.index, transactions: 1 }),
        write(round(&said[1]), vec![entry], Some(before), true),
        Output::Executed(Box::new(ExecutedBlock {
            header: header.clone(),
            position,
            votable: true,
            leaves: vec![(2, leaf)],
            events: consilium_ledger::Events::default(),
        })),
        Output::WriteVote(VoteWrite::Guard { vote, commit: position.index, doubted: Height(0) }),
        // One block is a turn.
        Output::Continue,
        Output::Applied(Applied { index: position.index, height: Height(1), time, header_hash: header.hash() }),
        // The vote is on its way; what it certifies has the next turn.
        Output::Continue,
        Output::Certified(certified),
        Output::Answer { request, result: Ok(Located { height: Height(1), outcome: Outcome::Applied }) },
    ];
    assert_eq!(said, expected);
}

#[test]
fn the_same_transaction_again_is_answered_at_once() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    let transaction = solo.enrollment(&Identity::new("a.example", "admin", "root"));
    solo.order(1, transaction.clone());
    solo.said(1);
    let again = solo.submit(1, transaction, WaitFor::Certified);
    let Input::Submit { request, .. } = again else { panic!("{again:?}") };
    solo.give(1, [again]);
    let located = Located { height: Height(1), outcome: Outcome::Applied };
    assert_eq!(solo.said(1), [Output::Answer { request, result: Ok(located) }]);
}

/// Of a request for access a node hands out contents for the outcome: whoever has read its body
/// somewhere, and holds the reader's connection, must not get it without the reader's key.
#[test]
fn what_is_executed_is_told_to_nobody_who_cannot_sign_it() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    let transaction = solo.enrollment(&Identity::new("a.example", "admin", "root"));
    solo.order(1, transaction.clone());
    solo.said(1);
    for (wait_for, verdict, why) in [
        (WaitFor::Ordered, Verdict::BadSignature, Refused::BadSignature),
        (WaitFor::Certified, Verdict::BadSignature, Refused::BadSignature),
        // The verifiers have not seen the block in which it enrolled: to be sent again.
        (WaitFor::Certified, Verdict::UnknownAuthor, Refused::Overloaded),
    ] {
        let mut input = solo.submit(1, transaction.clone(), wait_for);
        let Input::Submit { request, submission, .. } = &mut input else { panic!("{input:?}") };
        let request = *request;
        submission.verdict = verdict;
        solo.give(1, [input]);
        assert_eq!(solo.said(1), [Output::Answer { request, result: Err(why) }]);
    }
}

#[test]
fn what_nobody_signed_is_not_ordered() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    let transaction = solo.enrollment(&Identity::new("a.example", "admin", "root"));
    solo.said(1);
    for (verdict, why) in
        [(Verdict::BadSignature, Refused::BadSignature), (Verdict::UnknownAuthor, Refused::UnknownAuthor)]
    {
        let mut input = solo.submit(1, transaction.clone(), WaitFor::Ordered);
        let Input::Submit { request, submission, .. } = &mut input else { panic!("{input:?}") };
        let request = *request;
        submission.verdict = verdict;
        solo.give(1, [input]);
        assert_eq!(solo.said(1), [Output::Answer { request, result: Err(why) }]);
    }
}

#[test]
fn a_restart_goes_on_where_the_node_stopped() {
    let mut solo = Replicas::solo(|p| p.epoch_blocks = 4, |_| {});
    solo.time_blocks(1, 6);
    let before = solo.node(1).replica.applied();
    solo.restart(1);
    assert_eq!(solo.node(1).replica.applied(), before);
    let certified = solo.node(1).replica.newest_certified().unwrap();
    assert_eq!(certified.header.height, before.height);
    solo.elect(1);
    solo.time_blocks(1, 1);
    let heights: BTreeSet<Height> = [before.height.next(), solo.node(1).replica.applied().height].into();
    assert_eq!(heights.len(), 1);
}
