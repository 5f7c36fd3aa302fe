#![allow(clippy::unwrap_used)]

use consilium_consensus::{IncomingSnapshot, LogHash, LogIndex, Membership, RaftId, SnapshotMeta, Term};
use consilium_kit::chain::{Chain, certificate, fetched, validators};
use consilium_proto::header::Header;
use consilium_proto::ids::NodeId;

use super::*;

const CALL: CallId = CallId(1);
const PATIENCE_MS: u64 = 100;

fn offer(index: u64) -> Goal {
    let id = RaftId::new(1).unwrap();
    let (membership, hash) = (Membership::new([id], []), LogHash::NONE);
    let meta = SnapshotMeta { index: LogIndex(index), term: Term(1), hash, membership };
    Goal::Offer(IncomingSnapshot { from: id, meta })
}

fn applied(header: &Header) -> Applied {
    let Header { height, time, .. } = *header;
    Applied { index: LogIndex(height.0), height, time, header_hash: header.hash() }
}

/// Follows an offer of a state at an index, from the genesis of a chain.
fn following(index: u64) -> (CatchUp, Chain) {
    let (mut catch_up, chain, mut out) = (CatchUp::default(), Chain::new(&[1]), Vec::new());
    let ledger = (chain.0.ledger_id, validators(&[1]));
    catch_up.follow(offer(index), applied(&chain.0), ledger, (CALL, 0), &mut out);
    assert_eq!(out, [Output::Fetch { call: CALL, from: NodeId(1), first: Height(1) }]);
    (catch_up, chain)
}

fn certified(header: &Header) -> pb::FetchBlocksResponse {
    fetched(header, Some(&certificate(header, &[1])))
}

/// The next step, in words, with what it asks for besides.
fn next(catch_up: &mut CatchUp, header: &Header) -> (String, Vec<Output>) {
    let mut out = Vec::new();
    let step = match catch_up.next(applied(header), &mut out) {
        Step::Idle => "idle".into(),
        Step::Execute(block) => format!("execute {}", block.header.height),
        Step::Certify(certified) => format!("certify {}", certified.header.height),
        Step::Reached(goal) => format!("reached {}", name(&goal)),
        Step::Again(goal) => format!("again {}", name(&goal)),
        Step::Failed(problem) => problem,
    };
    (step, out)
}

fn name(goal: &Goal) -> String {
    match goal {
        Goal::Offer(offer) => offer.meta.index.to_string(),
        Goal::Certified { height, .. } => format!("height {height}"),
    }
}

fn stopped(step: &str) -> (String, Vec<Output>) {
    (step.into(), vec![Output::StopFetch(CALL)])
}

fn goes_on(step: &str) -> (String, Vec<Output>) {
    (step.into(), Vec::new())
}

#[test]
fn the_offered_state_is_reached_by_blocks() {
    let (mut catch_up, mut chain) = following(1);
    let genesis = chain.0.clone();
    assert_eq!(next(&mut catch_up, &genesis), goes_on("idle"));
    let header = chain.append();
    catch_up.fetched(CALL, certified(&header), 10);
    catch_up.fetched(CallId(9), certified(&header), 10);
    assert_eq!(next(&mut catch_up, &genesis), goes_on("execute 1"));
    assert_eq!(next(&mut catch_up, &header), goes_on("certify 1"));
    assert_eq!(next(&mut catch_up, &header), stopped("reached 1"));
    assert_eq!(next(&mut catch_up, &header), goes_on("idle"));
}

#[test]
fn a_block_beyond_the_offer_fails() {
    let (mut catch_up, mut chain) = following(1);
    let genesis = chain.0.clone();
    let (first, second) = (chain.append(), chain.append());
    catch_up.fetched(CALL, fetched(&first, None), 0);
    catch_up.fetched(CALL, certified(&second), 0);
    assert_eq!(next(&mut catch_up, &genesis), goes_on("execute 1"));
    assert_eq!(next(&mut catch_up, &first), stopped("the peer's block 2 is beyond the offered state"));
}

#[test]
fn an_answer_that_brought_this_node_further_is_followed_by_another_call() {
    let (mut catch_up, mut chain) = following(5);
    let genesis = chain.0.clone();
    let header = chain.append();
    catch_up.fetched(CALL, certified(&header), 0);
    catch_up.ended(CALL, None);
    assert_eq!(next(&mut catch_up, &genesis), goes_on("execute 1"));
    assert_eq!(next(&mut catch_up, &header), goes_on("certify 1"));
    assert_eq!(next(&mut catch_up, &header), stopped("again 5"));
}

#[test]
fn an_answer_without_blocks_fails() {
    let (mut catch_up, chain) = following(5);
    catch_up.ended(CALL, None);
    assert_eq!(next(&mut catch_up, &chain.0), stopped("the peer's certified blocks end at height 0"));
}

#[test]
fn a_certificate_that_is_wrong_fails() {
    let (mut catch_up, mut chain) = following(5);
    let genesis = chain.0.clone();
    let header = chain.append();
    catch_up.fetched(CALL, fetched(&header, Some(&certificate(&header, &[2]))), 0);
    let (step, out) = next(&mut catch_up, &genesis);
    assert!(step.starts_with("block 1 of the peer"), "{step}");
    assert_eq!(out, [Output::StopFetch(CALL)]);
}

#[test]
fn a_peer_that_does_not_answer_is_given_up() {
    let (mut catch_up, mut chain) = following(5);
    let genesis = chain.0.clone();
    let mut out = Vec::new();
    catch_up.fetched(CALL, fetched(&chain.append(), None), 50);
    assert_eq!(next(&mut catch_up, &genesis), goes_on("idle"));
    catch_up.tick(50 + PATIENCE_MS, PATIENCE_MS, &mut out);
    assert_eq!((&out[..], next(&mut catch_up, &genesis)), (&[][..], goes_on("idle")));
    catch_up.tick(51 + PATIENCE_MS, PATIENCE_MS, &mut out);
    assert_eq!(out, [Output::StopFetch(CALL)]);
    assert_eq!(next(&mut catch_up, &genesis), stopped("the peer does not answer"));
}

/// Whatever stands in the own log: the block is certified.
#[test]
fn a_certified_height_is_reached_by_blocks_wherever_they_stand() {
    let (mut catch_up, mut chain, mut out) = (CatchUp::default(), Chain::new(&[1]), Vec::new());
    let genesis = chain.0.clone();
    let goal = Goal::Certified { from: NodeId(3), height: Height(2) };
    let ledger = (genesis.ledger_id, validators(&[1]));
    catch_up.follow(goal, applied(&genesis), ledger, (CALL, 0), &mut out);
    assert_eq!(out, [Output::Fetch { call: CALL, from: NodeId(3), first: Height(1) }]);
    let blocks = [chain.append(), chain.append()];
    blocks.iter().for_each(|header| catch_up.fetched(CALL, certified(header), 0));
    let mut at = &genesis;
    for (step, header) in [("execute 1", &blocks[0]), ("certify 1", &blocks[0]), ("execute 2", &blocks[1])] {
        assert_eq!(next(&mut catch_up, at), goes_on(step));
        at = header;
    }
    assert_eq!(next(&mut catch_up, at), goes_on("certify 2"));
    assert_eq!(next(&mut catch_up, at), stopped("reached height 2"));
    assert!(!catch_up.is_following());
}
