#![allow(clippy::unwrap_used)]

use consilium_consensus::{LogHash, LogPosition, RaftId, Seal, Signer};
use consilium_kit::keys;

use super::*;

const LEDGER: LedgerId = LedgerId::from_bytes([1; 32]);
const LEADER: NodeId = NodeId(1);
const PEER: NodeId = NodeId(3);

fn sealed(signer: u64, hash: u8) -> SealedPosition {
    let position = LogPosition { index: LogIndex(5), term: Term(2), hash: LogHash::from_bytes([hash; 32]) };
    let signer = Signer { ledger_id: LEDGER, key: keys::vote(signer) };
    let seal = Seal::sign(&signer, RaftId::new(LEADER.0).unwrap(), &position).unwrap();
    SealedPosition { position, seal }
}

fn seen(peer: NodeId, own: Option<SealedPosition>) -> Seen {
    Seen { index: LogIndex(5), term: Term(2), peer, leader: Some(LEADER), own }
}

fn alarm(out: &[Output]) -> Option<&Split> {
    out.iter().rev().find_map(|output| match output {
        Output::Raise(Alarm::LogSplit(split)) => Some(split),
        _ => None,
    })
}

fn told(out: &[Output]) -> Vec<NodeId> {
    let to = |output: &Output| match output {
        Output::Send { to, message: PeerMessage::Sealed(_) } => Some(*to),
        _ => None,
    };
    out.iter().filter_map(to).collect()
}

fn compare(splits: &mut Splits, own: SealedPosition, other: SealedPosition, out: &mut Vec<Output>) -> Option<NodeId> {
    let key = keys::vote(LEADER.0).verifying_key();
    splits.compare(Some(own), (PEER, other), (&LEDGER, Some(&key)), 1_000, out)
}

/// The others hear what this node has, now and then; nobody is blamed for what a peer says.
#[test]
fn whoever_meets_another_entry_tells_the_others_its_own() {
    let (mut splits, mut out) = (Splits::default(), Vec::new());
    let others = [LEADER, PEER, NodeId(4)];
    assert!(!splits.note(seen(PEER, Some(sealed(1, 7))), others.into_iter(), 1_000, &mut out));
    assert_eq!(told(&out), others);
    assert_eq!(alarm(&out).unwrap().proof, None);
    out.clear();
    assert!(!splits.note(seen(PEER, Some(sealed(1, 7))), others.into_iter(), 1_000 + TELL_MS - 1, &mut out));
    assert_eq!(told(&out), [], "not again at once");
    assert!(!splits.note(seen(PEER, None), others.into_iter(), 1_000 + TELL_MS, &mut out));
    assert_eq!(told(&out), [], "nothing to tell");
    // The leader of the term itself has another one.
    assert!(splits.note(seen(LEADER, None), others.into_iter(), 2_000, &mut out));
}

#[test]
fn two_seals_of_a_leader_prove_that_it_lied_once_for_each_place() {
    let (mut splits, mut out) = (Splits::default(), Vec::new());
    let (own, other) = (sealed(1, 7), sealed(1, 8));
    assert_eq!(compare(&mut splits, own, other, &mut out), Some(LEADER));
    assert_eq!(alarm(&out).unwrap().proof.as_deref(), Some(&[own, other]));
    let proofs = |out: &[Output]| out.iter().filter(|o| matches!(o, Output::Notice(Notice::SplitProven(_)))).count();
    assert_eq!((proofs(&out), told(&out)), (1, vec![PEER]), "whoever has the other one is told");
    out.clear();
    assert_eq!(compare(&mut splits, own, sealed(1, 9), &mut out), Some(LEADER));
    assert_eq!(proofs(&out), 0, "one proof is enough");
    assert_eq!(alarm(&out).unwrap().proof.as_deref(), Some(&[own, other]));
}

/// A peer may name any hash, and has no seal for it.
#[test]
fn a_seal_of_somebody_else_proves_nothing() {
    let (mut splits, mut out) = (Splits::default(), Vec::new());
    assert_eq!(compare(&mut splits, sealed(1, 7), sealed(3, 8), &mut out), None);
    assert_eq!(compare(&mut splits, sealed(1, 7), sealed(1, 7), &mut out), None, "the same entry");
    assert_eq!(splits.compare(None, (PEER, sealed(1, 8)), (&LEDGER, None), 1_000, &mut out), None, "none here");
    assert_eq!((alarm(&out), told(&out)), (None, vec![]));
}

#[test]
fn what_is_not_seen_any_more_is_over() {
    let (mut splits, mut out) = (Splits::default(), Vec::new());
    let cleared = |out: &[Output]| out.iter().any(|o| matches!(o, Output::Clear(AlarmName::LogSplit)));
    compare(&mut splits, sealed(1, 7), sealed(1, 8), &mut out);
    splits.look(1_000 + SEEN_MS, &mut out);
    assert!(!cleared(&out));
    splits.look(1_001 + SEEN_MS, &mut out);
    assert!(cleared(&out));
}
