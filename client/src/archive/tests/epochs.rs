//! Epochs: validators that hand over, and every way in which they do not.

use consilium_proto::light_client::TrustError;
use consilium_proto::vote::CertificateError;

use super::*;

#[test]
fn validators_are_followed_through_the_epochs() {
    let mut ledger = Ledger::across_epochs();
    // Certificates of earlier epochs, seen by later blocks.
    for (seen_by, height) in [(5, 4), (7, 4), (9, 8)] {
        let observed = ledger.blocks[height].certificate.clone();
        ledger.blocks[seen_by].block.as_mut().unwrap().observed_certificate = observed;
    }
    let report = ledger.report();
    assert_eq!(report.failure, None);
    assert_eq!((report.counts.blocks, report.counts.set_changes), (10, 2));
    assert_eq!(report.counts.certificates, 3 + 3 + 3);
    assert_eq!((report.certified_height, report.state_checked), (Some(Height(9)), true));
    assert_eq!(report.counts.set_changes, 2);
    ledger.rows.clear();
    assert!(ledger.report().is_good(), "from the network");
}

#[test]
fn the_last_block_may_end_an_epoch() {
    for seats in [FIRST, SECOND] {
        let mut ledger = Ledger::across_epochs();
        ledger.elect(seats);
        ledger.certify(10);
        let report = ledger.report();
        assert_eq!(report.failure, None);
        assert_eq!(report.certified_height, Some(Height(10)));
    }
}

#[test]
fn a_change_above_all_that_is_certified_is_no_failure() {
    let mut ledger = Ledger::across_epochs();
    ledger.elect(FIRST);
    ledger.blocks[10].certificate = None;
    for uncertified in 1..=2 {
        let report = ledger.report();
        assert_eq!(report.failure, None);
        assert_eq!((report.certified_height, report.uncertified_blocks()), (Some(Height(9)), uncertified));
        assert_eq!(report.counts.set_changes, 2);
        ledger.push(Vec::new());
    }
    ledger.certify(12);
    let missing = "the validators change here, but the certificate of those before is missing";
    assert_eq!(ledger.failure(), set_change(10, missing));
    ledger.blocks[12].certificate = None;
    ledger.blocks[10].next_validators = Some((&ledger.set_of(SECOND)).into());
    let error = TrustError::OtherNextSet(Height(10));
    assert_eq!(ledger.failure(), VerifyFailure::Untrusted { height: Height(10), error });
}

fn set_change(height: u64, what: &'static str) -> VerifyFailure {
    VerifyFailure::SetChange { height: Height(height), what }
}

#[test]
fn a_change_needs_its_validators_and_the_certificate_of_those_before() {
    let mut ledger = Ledger::across_epochs();
    ledger.blocks[4].next_validators = None;
    let missing = set_change(4, "the validators change here, but those that follow are missing");
    assert_eq!(ledger.failure(), missing);

    let mut ledger = Ledger::across_epochs();
    ledger.blocks[4].certificate = None;
    let missing = set_change(4, "the validators change here, but the certificate of those before is missing");
    assert_eq!(ledger.failure(), missing);

    let mut ledger = Ledger::across_epochs();
    ledger.blocks[6].next_validators = ledger.blocks[4].next_validators.clone();
    let idle = set_change(6, "names validators that follow, but they do not change here");
    assert_eq!(ledger.failure(), idle);

    let mut ledger = Ledger::across_epochs();
    ledger.blocks[8].next_validators.as_mut().unwrap().seats.clear();
    assert!(matches!(ledger.failure(), VerifyFailure::Malformed { height: Height(8), .. }));
}

#[test]
fn another_set_than_the_one_committed_to_is_found() {
    for seats in [&[(4, 70), (5, 71)][..], &[(4, 140)], &[(1, 70), (5, 70)], FIRST] {
        let mut ledger = Ledger::across_epochs();
        ledger.blocks[8].next_validators = Some((&ledger.set_of(seats)).into());
        let error = TrustError::OtherNextSet(Height(8));
        assert_eq!(ledger.failure(), VerifyFailure::Untrusted { height: Height(8), error });
    }
}

#[test]
fn each_set_certifies_its_own_heights_only() {
    let certificate = |height: usize, signers: &[u64], error: CertificateError| {
        let mut ledger = Ledger::across_epochs();
        ledger.blocks[height].certificate = Some(ledger.certificate(height, signers));
        assert_eq!(ledger.failure(), VerifyFailure::Certificate { height: Height(height as u64), error });
    };
    // The set that follows does not make its own boundary final, nor does the
    // one before go on above it.
    certificate(4, &[1, 2, 4], CertificateError::NoSeat(NodeId(4)));
    certificate(5, &[1, 2, 3], CertificateError::NoSeat(NodeId(3)));
    certificate(8, &[4, 5], CertificateError::NoSeat(NodeId(5)));
    certificate(9, &[1, 2, 4], CertificateError::NoSeat(NodeId(1)));
    certificate(8, &[1, 2], CertificateError::NoQuorum { power: 200, total: 300 });

    // A certificate over another header of the same height and validators.
    let mut ledger = Ledger::across_epochs();
    ledger.blocks[8].certificate = Some(ledger.certificate(7, &[1, 2, 4]));
    assert!(matches!(ledger.failure(), VerifyFailure::Certificate { height: Height(8), .. }));
}

#[test]
fn epoch_numbers_count_up_by_one_and_after_a_boundary() {
    let epoch = |changed: bool, found: u64| {
        let mut ledger = Ledger::usual();
        if changed {
            ledger.elect(FIRST);
        }
        let height = ledger.blocks.len() as u64;
        ledger.append(height, Vec::new(), |header| header.epoch = Epoch(found));
        (height, ledger)
    };
    for (changed, found) in [(true, 0), (true, 2), (true, u64::MAX), (false, 2)] {
        let (height, ledger) = epoch(changed, found);
        assert_eq!(ledger.failure(), VerifyFailure::Epoch { height: Height(height), parent: 0, found });
    }
    // Without a change of the validators only the state tells that none was due.
    let (_, mut ledger) = epoch(false, 1);
    let missing = VerifyFailure::Election { epoch: 1, what: "is missing" };
    assert_eq!(ledger.failure(), missing);
    ledger.rows.clear();
    assert_eq!(ledger.report().failure, None);
}

#[test]
fn an_epoch_does_not_end_twice_or_late() {
    // The header after the boundary still names the set that ended.
    let mut ledger = Ledger::usual();
    let before = ledger.sets[0].hash();
    ledger.elect(FIRST);
    ledger.append(5, Vec::new(), |header| {
        (header.validators_hash, header.next_validators_hash) = (before, before);
    });
    assert_eq!(ledger.failure(), VerifyFailure::Validators { height: Height(5) });
}

#[test]
fn the_state_tells_the_same_history_of_elections() {
    type Falsify = fn(&mut Ledger);
    let cases: [(Falsify, u64, &str); 7] = [
        (|l| l.rows.retain(|row| row.key != epoch_key(1)), 1, "is missing"),
        (|l| l.rows.retain(|row| row.key != epoch_key(0)), 0, "is missing"),
        (|l| l.put_epoch(1, 5, time_of(4), l.sets[0].clone()), 1, "names other validators than the headers"),
        (|l| l.put_epoch(2, 8, time_of(6), l.sets[2].clone()), 2, "names another first height than the headers"),
        (|l| l.put_epoch(3, 9, time_of(7), l.sets[3].clone()), 3, "names another start than the headers"),
        (|l| l.put_epoch(5, 12, time_of(11), l.sets[3].clone()), 5, "is of the future"),
        (|l| l.put_epoch(4, 11, time_of(10), l.sets[0].clone()), 4, "names other validators than the headers"),
    ];
    for (i, (falsify, epoch, what)) in cases.into_iter().enumerate() {
        let mut ledger = Ledger::across_epochs();
        falsify(&mut ledger);
        // The validators certify the root of the false state.
        ledger.push(Vec::new());
        ledger.certify(10);
        assert_eq!(ledger.failure(), VerifyFailure::Election { epoch, what }, "case {i}");
    }
}

#[test]
fn malformed_elections_in_the_state_are_found() {
    let state = |ledger: &Ledger, epoch| pb::EpochState {
        epoch,
        validators: Some((&ledger.sets[0]).into()),
        ..Default::default()
    };
    let mut ledger = Ledger::usual();
    ledger.put_row("state", epoch_key(1), state(&ledger, 2).encode_to_vec());
    assert_eq!(ledger.failure(), VerifyFailure::Election { epoch: 1, what: "is of another epoch" });
    let malformed = VerifyFailure::Structure("has a malformed election in the state");
    for (key, value) in [
        (b"\x0c\x01".to_vec(), state(&ledger, 1).encode_to_vec()),
        (epoch_key(1), vec![0xff]),
        (epoch_key(1), pb::EpochState { epoch: 1, ..Default::default() }.encode_to_vec()),
    ] {
        let mut ledger = Ledger::usual();
        ledger.put_row("state", key, value);
        assert_eq!(ledger.failure(), malformed);
    }
}

/// Everything that the block entries say about a change, wrong one bit at a time.
#[test]
fn no_flipped_bit_of_a_boundary_goes_unnoticed() {
    let ledger = Ledger::across_epochs();
    for height in [4, 8] {
        let set = ledger.blocks[height].next_validators.clone().unwrap();
        let bytes = set.encode_to_vec();
        for (i, bit) in (0..bytes.len()).flat_map(|i| (0..8).map(move |bit| (i, bit))) {
            let mut changed = bytes.clone();
            changed[i] ^= 1 << bit;
            let Ok(other) = pb::ValidatorSet::decode(&changed[..]) else { continue };
            if other == set {
                continue;
            }
            // Verified up to the boundary only: that is where it must be found.
            let mut verifier = Verifier::new(&ledger.genesis, Options::default()).unwrap();
            for mut entry in ledger.entries().into_iter().take(height + 2) {
                if let Entry::Block(block) = &mut entry
                    && block.next_validators.as_ref() == Some(&set)
                {
                    block.next_validators = Some(other.clone());
                }
                verifier.entry(&entry);
            }
            let failure = verifier.finish().failure;
            let found = matches!(
                failure,
                Some(VerifyFailure::Untrusted { height: h, .. } | VerifyFailure::Malformed { height: h, .. })
                    if h == Height(height as u64)
            );
            assert!(found, "height {height}, byte {i}, bit {bit}: {failure:?}");
        }
    }
}
