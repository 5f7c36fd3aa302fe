use super::*;
use crate::json::snapshot;

#[test]
fn scripts_get_the_fate_and_the_proof() {
    let receipt = CertifiedView { height: 7, outcome: "OUTCOME_APPLIED" };
    let view = StatusView { transaction_id: "ab".repeat(32), status: "certified", receipt: Some(receipt) };
    snapshot::check("transaction", &view);
    let report = ReceiptReport {
        ledger_id: "cd".repeat(32),
        transaction_id: "ab".repeat(32),
        author: Some("ef".repeat(32)),
        height: 7,
        outcome: "OUTCOME_APPLIED",
        by_time_ms: 1_000,
        certified_height: 8,
        signers: vec![receipts::Signer { raft_id: 1, spiffe_id: None, power: 10 }],
        signed_power: 10,
        total_power: 10,
    };
    snapshot::check("receipt", &report);
}
