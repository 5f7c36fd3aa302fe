//! Ledgers on which nothing is wrong.

use super::*;

#[test]
fn a_good_ledger_verifies_with_exact_counts() {
    let ledger = Ledger::usual();
    let report = ledger.report();
    assert_eq!(report.failure, None);
    assert!(report.is_good());
    let expected = Counts {
        blocks: 4,
        transactions: 3,
        applied: 2,
        signatures: 3,
        signatures_immaterial: 0,
        certificates: 3,
        set_changes: 0,
        enrolments: 1,
        attachments: 2,
        attachments_erased: 0,
        blocks_without_attachments: 0,
        state_rows: 3,
        versions: 2,
        log_entries: 0,
    };
    assert_eq!(report.counts, expected);
    assert_eq!(report.certified_height, Some(Height(3)));
    assert!(report.state_checked);
    assert_eq!(report.head.map(|(height, hash, ..)| (height, hash)), Some((Height(3), ledger.headers[3].hash())));
    assert!(report.is_good());
}

#[test]
fn archives_from_the_network_have_no_rows_or_attachments() {
    let mut ledger = Ledger::usual();
    ledger.rows.clear();
    ledger.blocks[2].attachments.clear();
    let report = ledger.report();
    assert!(report.is_good() && !report.state_checked);
    assert_eq!(report.counts.blocks_without_attachments, 1);
    let strict = verify_archive(&ledger.bytes()[..], &ledger.genesis, Options { require_state: true }, |_| ()).unwrap();
    assert_eq!(strict.failure, Some(VerifyFailure::Structure("does not hold the state")));
}

#[test]
fn erased_attachments_are_counted_and_changed_ones_found() {
    let mut ledger = Ledger::usual();
    ledger.blocks[2].attachments[0] = Bytes::new();
    let report = ledger.report();
    assert!(report.is_good());
    assert_eq!((report.counts.attachments, report.counts.attachments_erased), (1, 1));
    ledger.blocks[2].attachments[1] = Bytes::from_static(b"wrAp");
    assert!(matches!(ledger.failure(), VerifyFailure::Attachment { height: Height(2), index: 1, .. }));
    ledger.blocks[2].attachments.pop();
    assert_eq!(ledger.failure(), VerifyFailure::AttachmentCount { height: Height(2), expected: 2, found: 1 });
}

#[test]
fn what_is_above_the_last_certificate_is_said_so() {
    let mut ledger = Ledger::usual();
    ledger.blocks[3].certificate = None;
    let report = ledger.report();
    assert!(report.is_good());
    assert_eq!((report.certified_height, report.uncertified_blocks()), (Some(Height(2)), 1));
    assert_eq!(report.uncertified_blocks(), 1);
    ledger.blocks[3].block.as_mut().unwrap().observed_certificate = None;
    ledger.blocks[2].certificate = None;
    let report = ledger.report();
    assert_eq!((report.failure.clone(), report.certified_height), (None, None));
    assert!(!report.is_good(), "nothing is final");
}

#[test]
fn the_writer_writes_what_the_reader_reads() {
    let ledger = Ledger::usual();
    let mut writer = ArchiveWriter::new(Vec::new(), ledger.document.clone()).unwrap();
    ledger.blocks.iter().cloned().for_each(|b| writer.block(b).unwrap());
    ledger.rows.iter().cloned().for_each(|r| writer.row(r).unwrap());
    assert_eq!(writer.finish().unwrap(), ledger.bytes());
    assert_eq!(decode(&ledger.bytes()).unwrap(), ledger.entries());
}
