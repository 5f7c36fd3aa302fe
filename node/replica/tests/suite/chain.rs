//! Blocks of a peer, before they are believed.

use bytes::Bytes;
use consilium_kit::chain::{Chain, certificate, fetched, validators};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, LedgerId};
use consilium_proto::pb;
use consilium_replica::catch_up::{ChainCheck, ChainError};

fn check(chain: &Chain, nodes: &[u64]) -> ChainCheck {
    ChainCheck::new(chain.0.ledger_id, validators(nodes), (chain.0.height, chain.0.hash()))
}

fn certified(header: &Header, nodes: &[u64]) -> pb::FetchBlocksResponse {
    fetched(header, Some(&certificate(header, nodes)))
}

/// The heights that came out.
fn push(check: &mut ChainCheck, block: pb::FetchBlocksResponse) -> Result<Vec<u64>, ChainError> {
    let out = check.push(block)?;
    Ok(out.map(|(blocks, _)| blocks.iter().map(|block| block.header.height.0).collect()).unwrap_or_default())
}

#[test]
fn a_certificate_covers_all_blocks_before_it() {
    let mut chain = Chain::new(&[1, 2, 3]);
    let mut check = check(&chain, &[1, 2, 3]);
    assert_eq!(push(&mut check, fetched(&chain.append(), None)), Ok(vec![]));
    assert_eq!(push(&mut check, fetched(&chain.append(), None)), Ok(vec![]));
    assert_eq!(push(&mut check, certified(&chain.append(), &[1, 2, 3])), Ok(vec![1, 2, 3]));
    assert_eq!(push(&mut check, certified(&chain.append(), &[1, 2, 3])), Ok(vec![4]));
}

#[test]
fn a_block_that_does_not_continue_the_chain_is_not_believed() {
    let chain = Chain::new(&[1]);
    let next = chain.clone().append();
    let wrong = [
        Header { height: Height(2), ..next.clone() },
        Header { previous_hash: next.hash(), ..next.clone() },
        Header { ledger_id: LedgerId::from_bytes([9; 32]), ..next.clone() },
    ];
    for header in wrong {
        let error = push(&mut check(&chain, &[1]), certified(&header, &[1])).unwrap_err();
        assert_eq!(error, ChainError { height: Height(1), problem: "does not continue the chain".into() });
    }
    assert!(push(&mut check(&chain, &[1]), pb::FetchBlocksResponse::default()).is_err());
}

#[test]
fn a_certificate_that_is_wrong_is_not_believed() {
    let chain = Chain::new(&[1, 2, 3]);
    let mut continued = chain.clone();
    let (first, second) = (continued.append(), continued.append());
    let blocks = [
        certified(&first, &[1]),
        certified(&first, &[1, 2, 3, 4]),
        fetched(&first, Some(&certificate(&second, &[1, 2, 3]))),
    ];
    for block in blocks {
        assert_eq!(push(&mut check(&chain, &[1, 2, 3]), block).unwrap_err().height, Height(1));
    }
    assert!(push(&mut check(&chain, &[1, 2, 4]), certified(&first, &[1, 2, 4])).is_err(), "other validators");
}

#[test]
fn the_next_epoch_is_certified_by_its_own_validators() {
    let mut chain = Chain::new(&[1]);
    let mut check = check(&chain, &[1]);
    assert_eq!(push(&mut check, certified(&chain.boundary(&[2]), &[1])), Ok(vec![1]));
    check.set_validators(validators(&[2]));
    assert_eq!(push(&mut check, certified(&chain.append(), &[2])), Ok(vec![2]));
}

#[test]
fn attachments_that_no_transaction_names_are_not_believed() {
    let mut chain = Chain::new(&[1]);
    let mut check = check(&chain, &[1]);
    let mut block = certified(&chain.append(), &[1]);
    block.attachments.push(Bytes::from_static(b"more"));
    assert!(push(&mut check, block).unwrap_err().problem.contains("more attachments"));
}
