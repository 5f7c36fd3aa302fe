//! What a peer that catches up is given.

use bytes::Bytes;
use consilium_kit::Identity;
use consilium_kit::people::write_record;
use consilium_kit::replica::Replicas;
use consilium_proto::ids::Height;
use consilium_proto::limits::PAYLOAD_BYTES_MAX;
use consilium_proto::pb;
use consilium_replica::catch_up::Serving;

fn heights(blocks: &[pb::FetchBlocksResponse]) -> Vec<u64> {
    let height = |block: &pb::FetchBlocksResponse| block.block.as_ref().unwrap().header.as_ref().unwrap().height;
    blocks.iter().map(height).collect()
}

#[test]
fn an_answer_ends_with_a_certificate_after_64_blocks() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.time_blocks(1, 70);
    assert_eq!(heights(&solo.blocks(1, Height(0))), (1..=64).collect::<Vec<_>>(), "the genesis is nobody's to give");
    assert_eq!(heights(&solo.blocks(1, Height(65))), (65..=70).collect::<Vec<_>>());
    assert_eq!(heights(&solo.blocks(1, Height(71))), [] as [u64; 0]);
    let ledger = &solo.node(1).disk.ledger;
    (64..=66).for_each(|height| ledger.lose_certificate(Height(height)));
    let blocks = solo.blocks(1, Height(1));
    assert_eq!(heights(&blocks), (1..=67).collect::<Vec<_>>(), "up to the next certificate");
    assert!(blocks.last().unwrap().certificate.is_some());
}

#[test]
fn nothing_is_given_above_what_is_certified() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.time_blocks(1, 5);
    let mut serving = Serving::new(solo.genesis.ledger_id, Height(1), Height(3));
    let ledger = &solo.node(1).disk.ledger;
    let blocks: Vec<_> = std::iter::from_fn(|| serving.next(ledger).unwrap()).collect();
    assert_eq!(heights(&blocks), [1, 2, 3]);
}

#[test]
fn an_answer_ends_with_a_certificate_after_32_mib() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    let service = Identity::new("a.example", "service", "ehr");
    solo.enroll(1, &service);
    let payload = vec![7; PAYLOAD_BYTES_MAX as usize];
    for number in 0..45 {
        let action = write_record([number; 16], 1, "Note", &payload);
        let transaction = solo.sign(&service, vec![action], vec![Bytes::from(payload.clone())]);
        solo.order(1, transaction);
    }
    let blocks = solo.blocks(1, Height(1));
    let bytes: usize = blocks.iter().flat_map(|block| &block.attachments).map(Bytes::len).sum();
    let most = 32 << 20;
    assert!((most - 2 * payload.len()..most + payload.len()).contains(&bytes), "{bytes} bytes");
    assert!(blocks.len() < 45 && blocks.last().unwrap().certificate.is_some());
}

#[test]
fn the_first_block_comes_with_the_membership_and_the_others_only_if_it_changed() {
    let mut solo = Replicas::solo(|_| {}, |_| {});
    solo.time_blocks(1, 4);
    let told: Vec<bool> = solo.blocks(1, Height(2)).iter().map(|block| !block.raft_membership.is_empty()).collect();
    assert_eq!(told, [true, false, false]);
}
