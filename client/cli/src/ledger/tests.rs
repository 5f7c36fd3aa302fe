use consilium_client::archive::Counts;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, LedgerId, TimeMs};

use super::*;
use crate::json::snapshot;

fn header() -> HeaderView {
    let hash = |byte: &str| byte.repeat(32);
    HeaderView {
        ledger_id: hash("01"),
        height: 7,
        hash: hash("02"),
        previous_hash: hash("03"),
        time_ms: 1_000,
        epoch: 2,
        tree_size: 9,
        tree_root: hash("04"),
        state_root: hash("05"),
        validators_hash: hash("06"),
        next_validators_hash: hash("06"),
        proposer: 1,
        log_hash: hash("07"),
    }
}

#[test]
fn scripts_get_heads_blocks_and_verifications() {
    snapshot::check("head", &HeadView { header: header(), signed_by: vec![1, 2, 3] });
    let outcome = "OUTCOME_APPLIED";
    let shown = TransactionView {
        transaction_id: "ab".repeat(32),
        author: Some("cd".repeat(32)),
        outcome,
        actions: Some(1),
        body_bytes: Some(200),
        withheld: false,
    };
    let transaction_id = "ef".repeat(32);
    let withheld =
        TransactionView { transaction_id, author: None, outcome, actions: None, body_bytes: None, withheld: true };
    let transactions = vec![shown, withheld];
    snapshot::check("block", &BlockView { header: header(), first_leaf: 7, transactions });
}

#[test]
fn a_verification_says_what_was_checked() {
    let report = |certified_height| Report {
        ledger_id: LedgerId::from_bytes([1; 32]),
        counts: Counts { blocks: 9, transactions: 5, applied: 4, set_changes: 2, ..Counts::default() },
        head: Some((Height(8), HeaderHash::from_bytes([2; 32]), Hash::from_bytes([3; 32]), TimeMs(1_000))),
        certified_height,
        state_checked: true,
        failure: None,
    };
    let good = ReportView::new(&report(Some(Height(7))));
    snapshot::check("verification", &good);
    let text = good.text();
    assert!(text.contains("5 (4 applied, 1 refused)") && text.contains("changed 2 times"), "{text}");
    assert!(text.contains("1 blocks above are not yet certified"), "{text}");
    assert!(text.ends_with("everything that was checked is right"), "{text}");
    let text = ReportView::new(&report(None)).text();
    assert!(text.ends_with("no certificate makes any of it final"), "{text}");
}

#[test]
fn a_dump_that_failed_is_never_taken_for_a_whole_ledger() {
    use std::os::unix::process::ExitStatusExt;
    let (program, failed) = (OsStr::new("consilium-node"), ExitStatus::from_raw(256));
    let rot = "reading\nerror: block 8: the checksum differs\n\n";
    let told = "consilium-node dump failed (exit status: 1) after 7 blocks: error: block 8: the checksum differs";
    assert_eq!(dump_failed(program, failed, rot, 7), CliError::failed(told));
    let held = dump_failed(program, failed, "error: While lock file: /d/ledger/LOCK: unavailable", 0);
    assert_ne!(held, CliError::failed(held.to_string()), "it has a hint");
    assert!(dump_failed(program, failed, "", 0).to_string().ends_with("after 0 blocks: it does not say why"));
}

#[test]
fn people_read_when_a_block_was_made() {
    assert!(header().text().contains("\ntime       1970-01-01T00:00:01Z\n"), "{}", header().text());
}
