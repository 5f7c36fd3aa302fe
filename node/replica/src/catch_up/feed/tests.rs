#![allow(clippy::unwrap_used)]

use consilium_kit::chain::{Chain, certificate, fetched, validators};
use consilium_proto::header::Header;

use super::*;

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
