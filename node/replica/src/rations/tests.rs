use consilium_proto::ids::{HeaderHash, Height, LedgerId};
use consilium_proto::vote::Vote;

use super::*;

const LIAR: NodeId = NodeId(3);

fn vote() -> PeerMessage {
    PeerMessage::Vote(Vote {
        validator: LIAR,
        ledger_id: LedgerId::from_bytes([1; 32]),
        height: Height(9),
        header_hash: HeaderHash::from_bytes([2; 32]),
        tree_root: consilium_proto::hash::Hash::from_bytes([3; 32]),
        signature: [4; 64],
    })
}

fn taken(rations: &mut Rations, peer: NodeId, message: &PeerMessage, times: usize, now_ms: u64) -> usize {
    (0..times).filter(|_| rations.take(peer, message, now_ms) == Verdict::Taken).count()
}

#[test]
fn a_flood_of_one_peer_is_cut_to_its_ration_and_nobody_else_has_less() {
    let mut rations = Rations::default();
    assert_eq!(taken(&mut rations, LIAR, &vote(), 100_000, 5_000), 1_024);
    assert_eq!(taken(&mut rations, NodeId(4), &vote(), 1_000, 5_000), 1_000);
    // A thousand a second, for as long as it lasts.
    let later: usize = (1..=10).map(|second| taken(&mut rations, LIAR, &vote(), 5_000, 5_000 + second * 1_000)).sum();
    assert_eq!(later, 10_000);
    // The log goes on.
    assert_eq!(rations.take(LIAR, &PeerMessage::Raft(bytes::Bytes::new()), 5_000), Verdict::Taken);
}

#[test]
fn forgeries_cost_all_that_is_signed() {
    let mut rations = Rations::default();
    (0..15).for_each(|_| rations.forged(LIAR, 1_000));
    assert_eq!(rations.take(LIAR, &vote(), 1_000), Verdict::Taken);
    rations.forged(LIAR, 1_000);
    assert_eq!(rations.take(LIAR, &vote(), 1_000), Verdict::Dropped { tell: true });
    assert_eq!(rations.take(LIAR, &vote(), 1_000), Verdict::Dropped { tell: false });
    let question = PeerMessage::UncertifiedFrom(Height(1));
    assert_eq!(rations.take(LIAR, &question, 60_999 - 59_000), Verdict::Dropped { tell: false });
    // One is forgiven every two seconds.
    assert_eq!(rations.take(LIAR, &vote(), 3_000), Verdict::Taken);
    rations.forged(LIAR, 3_000);
    assert_eq!(rations.take(LIAR, &vote(), 3_000), Verdict::Dropped { tell: false });
    assert_eq!(rations.take(NodeId(4), &vote(), 3_000), Verdict::Taken);
}

#[test]
fn who_is_dropped_is_told_once_a_minute() {
    let mut rations = Rations::default();
    let mut told = 0;
    for now_ms in 0..180_000 {
        for _ in 0..20 {
            told += usize::from(rations.take(LIAR, &vote(), now_ms) == Verdict::Dropped { tell: true });
        }
    }
    assert_eq!(told, 3);
}

#[test]
fn nodes_that_are_gone_are_forgotten() {
    let mut rations = Rations::default();
    assert_eq!(taken(&mut rations, LIAR, &vote(), 2_000, 0), 1_024);
    rations.retain(|peer| peer != LIAR);
    assert_eq!(taken(&mut rations, LIAR, &vote(), 2_000, 0), 1_024);
}
