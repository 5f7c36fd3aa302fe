//! Rows of the state and what it commits to.

use super::*;

#[test]
fn record_histories_are_what_the_state_commits_to() {
    let version = |ledger: &Ledger, what: &str| match ledger.failure() {
        VerifyFailure::Version { what: found, .. } => assert!(found.contains(what), "{found}"),
        other => panic!("{other}"),
    };
    let mut ledger = Ledger::usual();
    let mut first = pb::RecordVersion::decode(ledger.version(1).value.clone()).unwrap();
    first.kind = "Condition".into();
    ledger.version(1).value = first.encode_to_vec().into();
    version(&ledger, "names another hash for the version before it");

    let mut ledger = Ledger::usual();
    let mut second = pb::RecordVersion::decode(ledger.version(2).value.clone()).unwrap();
    second.retraction = false;
    ledger.version(2).value = second.encode_to_vec().into();
    version(&ledger, "does not have the hash");

    let mut ledger = Ledger::usual();
    ledger.rows.pop();
    version(&ledger, "not the newest");
    ledger.rows.pop();
    version(&ledger, "is missing");

    let mut ledger = Ledger::usual();
    ledger.rows.remove(3);
    version(&ledger, "does not follow");

    let mut ledger = Ledger::usual();
    let mut stray = ledger.version(1).clone();
    stray.key = [&[9u8; 16][..], &1u32.to_be_bytes()].concat().into();
    stray.value =
        pb::RecordVersion { record_id: vec![9; 16].into(), version: 1, ..Default::default() }.encode_to_vec().into();
    ledger.rows.push(stray);
    version(&ledger, "not in the state");
}
