#![allow(clippy::unwrap_used)]

use consilium_kit::chain::{Chain, certificate, fetched, validators};
use consilium_proto::header::Header;

use super::*;
use consilium_proto::transaction::encode_actions;

fn feed(chain: &Chain, nodes: &[u64]) -> Feed {
    let tip = (chain.0.height, chain.0.hash());
    Feed::new(CallId(1), ChainCheck::new(chain.0.ledger_id, validators(nodes), tip))
}

fn certified(header: &Header, nodes: &[u64]) -> pb::FetchBlocksResponse {
    fetched(header, Some(&certificate(header, nodes)))
}

/// What a feed gives, in words.
fn next(feed: &mut Feed) -> String {
    match feed.next() {
        Fed::Nothing => "nothing".into(),
        Fed::Execute(block) => format!("execute {}", block.header.height),
        Fed::Certified(certified) => format!("certified {}", certified.header.height),
        Fed::Ended(None) => "ended".into(),
        Fed::Ended(Some(problem)) => problem,
    }
}

#[test]
fn blocks_come_out_when_a_certificate_covers_them() {
    let mut chain = Chain::new(&[1]);
    let mut feed = feed(&chain, &[1]);
    feed.push(fetched(&chain.append(), None));
    assert_eq!((next(&mut feed), feed.is_waiting(), feed.is_ready()), ("nothing".into(), true, false));
    feed.push(certified(&chain.append(), &[1]));
    feed.end(None);
    assert_eq!(next(&mut feed), "execute 1");
    assert!(feed.is_ready() && !feed.is_waiting());
    assert_eq!((next(&mut feed), next(&mut feed)), ("execute 2".into(), "certified 2".into()));
    assert_eq!((next(&mut feed), next(&mut feed)), ("ended".into(), "ended".into()));
}

#[test]
fn blocks_of_the_next_epoch_wait_until_their_validators_are_known() {
    let mut chain = Chain::new(&[1]);
    let mut feed = feed(&chain, &[1]);
    feed.push(certified(&chain.boundary(&[2]), &[1]));
    feed.push(certified(&chain.append(), &[2]));
    assert_eq!((next(&mut feed), next(&mut feed)), ("execute 1".into(), "certified 1".into()));
    feed.set_validators(validators(&[2]));
    assert_eq!((next(&mut feed), next(&mut feed)), ("execute 2".into(), "certified 2".into()));
}

#[test]
fn a_block_that_is_not_believed_ends_the_feed_and_what_is_behind_it() {
    let mut chain = Chain::new(&[1]);
    let mut feed = feed(&chain, &[1]);
    feed.push(certified(&chain.append(), &[2]));
    feed.push(certified(&chain.append(), &[1]));
    assert!(next(&mut feed).starts_with("block 1 of the peer "), "{:?}", next(&mut feed));
    feed.end(None);
    assert_eq!(next(&mut feed), "ended");
}

#[test]
fn the_first_end_counts_and_nothing_is_taken_after_it() {
    let mut chain = Chain::new(&[1]);
    let mut feed = feed(&chain, &[1]);
    feed.end(Some("gone".into()));
    feed.end(None);
    feed.push(certified(&chain.append(), &[1]));
    assert_eq!((next(&mut feed), feed.is_waiting()), ("gone".into(), false));
}

#[test]
fn a_peer_that_sends_more_than_may_wait_gets_no_further() {
    let mut chain = Chain::new(&[1]);
    let mut feed = feed(&chain, &[1]);
    feed.push(certified(&chain.append(), &[1]));
    assert_eq!(next(&mut feed), "execute 1");
    let block = fetched(&chain.append(), None);
    (0..=UNCERTIFIED_MAX).for_each(|_| feed.push(block.clone()));
    assert!(feed.incoming.is_empty());
    assert_eq!(next(&mut feed), "certified 1");
    assert_eq!(next(&mut feed), "the peer sends more at once than any node serves");
}

/// Sixteen MiB on the wire, none of it under a certificate.
fn large(header: &Header) -> pb::FetchBlocksResponse {
    pb::FetchBlocksResponse { raft_membership: LARGE.clone(), ..fetched(header, None) }
}

static LARGE: std::sync::LazyLock<bytes::Bytes> = std::sync::LazyLock::new(|| vec![0; 16 << 20].into());

#[test]
fn a_peer_that_sends_more_bytes_than_may_wait_gets_no_further() {
    let mut chain = Chain::new(&[1]);
    let mut feed = feed(&chain, &[1]);
    let block = large(&chain.append());
    let fit = UNCERTIFIED_BYTES_MAX / block.encoded_len();
    (0..fit).for_each(|_| feed.push(block.clone()));
    assert_eq!((feed.incoming.len(), &feed.ended), (fit, &None));
    feed.push(block.clone());
    assert_eq!((feed.incoming.len(), feed.incoming_bytes), (0, 0));
    feed.push(block);
    assert_eq!(feed.incoming.len(), 0);
    assert_eq!(next(&mut feed), "the peer sends more at once than any node serves");
}

/// A transaction that is well formed, of so many actions of a few bytes each.
fn transaction(chain: &Chain, actions: usize) -> pb::ExecutedTransaction {
    let action = pb::action::Action::AnnounceMaintenance(pb::AnnounceMaintenance { node: 1, from_ms: 0, until_ms: 1 });
    let body = pb::TransactionBody {
        ledger_id: chain.0.ledger_id.to_bytes(),
        nonce: vec![1; 16].into(),
        valid_until_ms: 1,
        actions: encode_actions(&vec![pb::Action { action: Some(action) }; actions]),
        author: vec![2; 32].into(),
    };
    let transaction =
        pb::SignedTransaction { body: Some(body), signature: vec![3; 64].into(), attachments: Vec::new() };
    pb::ExecutedTransaction { transaction: Some(transaction), outcome: 1, withheld: None }
}

/// What was looked at counts, too, with what it takes in memory.
#[test]
fn a_peer_whose_blocks_take_more_memory_than_may_wait_is_not_believed() {
    let mut chain = Chain::new(&[1]);
    let mut feed = feed(&chain, &[1]);
    let mut block = fetched(&chain.append(), None);
    block.block.as_mut().unwrap().transactions = vec![transaction(&chain, 1_000); 10_000];
    let bytes = block.encoded_len();
    assert!(bytes < UNCERTIFIED_BYTES_MAX / 2, "{bytes}");
    feed.push(block);
    let problem = next(&mut feed);
    assert!(problem.ends_with("too much memory without a certificate"), "{problem}");
    let most = UNCERTIFIED_BYTES_MAX + UNCERTIFIED_BYTES_MAX / 100;
    assert!(feed.check.waiting_bytes() < most, "it was not taken apart to its end");
}
