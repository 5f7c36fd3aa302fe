#![allow(clippy::unwrap_used)]
use super::*;

const LEDGER: LedgerId = LedgerId::from_bytes([1; 32]);

fn signed(n: u8) -> (pb::SignedTransaction, PendingEntry) {
    let body = pb::TransactionBody {
        ledger_id: vec![1; 32].into(),
        nonce: vec![n; 16].into(),
        valid_until_ms: 5,
        actions: vec![vec![n; 40].into()],
        author: vec![2; 32].into(),
    };
    let body = Some(body);
    let signed = pb::SignedTransaction { body, ..Default::default() };
    let transaction = consilium_proto::transaction::transaction_id(&signed).unwrap();
    let entry = PendingEntry { transaction, valid_until_ms: 5, items: vec![format!("item{n}"), "twin".into()] };
    (signed, entry)
}

#[test]
fn survives_being_cut_off_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = Journal::open(&path, LEDGER).unwrap();
    let [(a, a_entry), (b, b_entry), (c, c_entry)] = [1, 2, 3].map(signed);
    for (tx, entry) in [(&a, &a_entry), (&b, &b_entry), (&c, &c_entry)] {
        journal.note_pending(entry.clone(), &[RecordId([7; 16])], tx).unwrap();
    }
    journal.note_certified(&a_entry.transaction, Height(9)).unwrap();
    journal.note_never(&c_entry.transaction).unwrap();
    drop(journal);

    let journal = Journal::open(&path, LEDGER).unwrap();
    assert_eq!(journal.open_transactions().unwrap(), [(b_entry.clone(), Some(b.clone()))]);
    let expected: BTreeMap<String, u64> = [("item1".into(), 1), ("twin".into(), 1)].into();
    assert_eq!(*journal.certified(), expected);
    drop(journal);

    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        let copy = folder.path().join("copy");
        std::fs::write(&copy, &whole[..cut]).unwrap();
        let journal = Journal::open(&copy, LEDGER).unwrap();
        // Never more certified than what was noted, and never forgotten
        // once its line was complete.
        let complete = whole[..cut].iter().filter(|b| **b == b'\n').count();
        assert_eq!(journal.certified().len(), if complete >= 5 { 2 } else { 0 }, "{cut}");
    }
}

#[test]
fn strays_are_removed_and_lost_bytes_are_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j");
    let (tx, entry) = signed(1);
    let mut journal = Journal::open(&path, LEDGER).unwrap();
    journal.note_pending(entry.clone(), &[], &tx).unwrap();
    drop(journal);
    let stray = folder.path().join(format!("j.pending/{}.tx", signed(2).1.transaction));
    std::fs::write(&stray, b"x").unwrap();
    std::fs::remove_file(folder.path().join(format!("j.pending/{}.tx", entry.transaction))).unwrap();
    let journal = Journal::open(&path, LEDGER).unwrap();
    assert!(!stray.exists());
    assert_eq!(journal.open_transactions().unwrap(), [(entry, None)]);
}

#[test]
fn other_files_and_ledgers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j");
    let first = Journal::open(&path, LEDGER).unwrap();
    assert_eq!(Journal::open(&path, LEDGER).unwrap_err(), JournalError::InUse);
    drop(first);
    assert_eq!(Journal::open(&path, LedgerId::from_bytes([2; 32])).unwrap_err(), JournalError::OtherLedger);
    let other = folder.path().join("notes.txt");
    for text in ["my notes\n", "my notes"] {
        std::fs::write(&other, text).unwrap();
        assert_eq!(Journal::open(&other, LEDGER).unwrap_err(), JournalError::Malformed { line: 1 });
        assert_eq!(std::fs::read_to_string(&other).unwrap(), text);
    }
}

#[test]
fn items_are_keyed() {
    let key = |n| SearchKey::from_bytes(&[n; 32]);
    assert_eq!(item(&key(1), b"x"), item(&key(1), b"x"));
    assert_ne!(item(&key(1), b"x"), item(&key(2), b"x"));
    assert_ne!(item(&key(1), b"x"), item(&key(1), b"y"));
}
