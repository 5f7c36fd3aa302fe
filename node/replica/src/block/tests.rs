use prost::Message;

use super::*;

fn proposal() -> pb::BlockProposal {
    pb::BlockProposal { time_ms: 1_000, proposer: 1, ..pb::BlockProposal::default() }
}

fn verdict(proposal: &pb::BlockProposal) -> Result<(), &'static str> {
    judge(&proposal.encode_to_vec(), &(TimeMs(0)..=TimeMs(1_000)), None)
}

#[test]
fn a_time_is_compared_with_the_clock() {
    assert_eq!(verdict(&proposal()), Ok(()));
    for time_ms in [1_001, u64::MAX] {
        let ahead = pb::BlockProposal { time_ms, ..proposal() };
        assert_eq!(verdict(&ahead), Err("its time is ahead of this node's clock"));
        assert_eq!(judge(&ahead.encode_to_vec(), &(TimeMs(0)..=TimeMs(u64::MAX)), None), Ok(()));
    }
    let from = |earliest| judge(&proposal().encode_to_vec(), &(TimeMs(earliest)..=TimeMs(9_000)), None);
    assert_eq!((from(1_000), from(1_001)), (Ok(()), Err("its time is behind this node's clock")));
    // The last one counts, as for whoever decodes it.
    let twice = [proposal().encode_to_vec(), pb::BlockProposal { time_ms: 2_000, ..proposal() }.encode_to_vec()];
    assert!(judge(&twice.concat(), &(TimeMs(0)..=TimeMs(1_000)), None).is_err());
}

#[test]
fn counts_are_bounded_before_anything_is_decoded() {
    // Two bytes each.
    let many =
        |field: u8, count: usize| judge(&[field << 3 | 2, 0].repeat(count), &(TimeMs(0)..=TimeMs(u64::MAX)), None);
    assert_eq!(many(3, BLOCK_TRANSACTIONS_MAX), Ok(()));
    assert!(many(3, BLOCK_TRANSACTIONS_MAX + 1).is_err());
    assert_eq!(many(5, VALIDATORS_MAX), Ok(()));
    assert!(many(5, VALIDATORS_MAX + 1).is_err());
    assert_eq!(many(6, EVIDENCE_PER_BLOCK_MAX), Ok(()));
    assert!(many(6, EVIDENCE_PER_BLOCK_MAX + 1).is_err());
    let with = |count| {
        let body = Some(pb::TransactionBody { actions: vec![vec![0; 64].into()], ..Default::default() });
        let transaction = pb::SignedTransaction { body, attachments: vec![Bytes::new(); count], ..Default::default() };
        verdict(&pb::BlockProposal { transactions: vec![transaction], ..proposal() })
    };
    assert_eq!(with(2), Ok(()));
    assert!(with(3).is_err());
}

/// At every depth: those of a certificate, and the actions of a transaction.
#[test]
fn parts_within_parts_are_bounded_before_anything_is_decoded() {
    let signatures = vec![pb::CertificateSignature::default(); 100_000];
    let certificate = pb::BlockCertificate { signatures, ..Default::default() };
    let observed = pb::BlockProposal { observed_certificate: Some(certificate), ..proposal() };
    assert_eq!(verdict(&observed), Err("has too many parts for its size"));
    let body = Some(pb::TransactionBody { actions: vec![Bytes::new(); 1_000_000], ..Default::default() });
    let transaction = pb::SignedTransaction { body, ..Default::default() };
    let many = pb::BlockProposal { transactions: vec![transaction], ..proposal() };
    assert_eq!(verdict(&many), Err("has too many parts for its size"));
    let votes = pb::BlockProposal { observed_votes: vec![pb::Vote::default(); VALIDATORS_MAX], ..proposal() };
    assert_eq!(verdict(&votes), Ok(()));
}

#[test]
fn what_is_no_message_is_no_proposal() {
    assert_eq!(judge(&[0xff; 20], &(TimeMs(0)..=TimeMs(u64::MAX)), None), Err("is no proposal"));
    assert_eq!(judge(&[0x1a, 1, 0xff], &(TimeMs(0)..=TimeMs(u64::MAX)), None), Err("has a transaction that is none"));
}

#[test]
fn a_block_names_the_leader_that_proposed_it() {
    let proposal = pb::BlockProposal { proposer: 3, ..Default::default() }.encode_to_vec();
    let judged = |proposer: Option<u64>| judge(&proposal, &(TimeMs(0)..=TimeMs(1_000)), proposer.map(NodeId));
    assert_eq!((judged(None), judged(Some(3))), (Ok(()), Ok(())));
    assert_eq!(judged(Some(2)), Err("names another proposer than the leader"));
    assert!(judge(&[], &(TimeMs(0)..=TimeMs(1_000)), Some(NodeId(3))).is_err());
}
