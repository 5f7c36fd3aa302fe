//! What is in front of the database and what is in it read as one ordered map, now and as of
//! every snapshot, whenever rows go from the one to the other.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use consilium_ledger::{Row, StateReader, Table};
use proptest::prelude::*;

use super::super::ledger_reader::{Ledger, Source};
use super::super::ledger_store::LedgerStore;
use super::super::snapshot::tests::{Chain, row};
use super::*;

/// A hashed family, and two ordered ones.
const TABLES: [Table; 3] = [Table::Versions, Table::Index, Table::State];

type Model = BTreeMap<(Table, Vec<u8>), Bytes>;

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(usize, u8, Option<u8>)>),
    WriteOut,
    Snapshot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..TABLES.len(), 0..24_u8, proptest::option::weighted(0.7, any::<u8>()));
    let step = prop_oneof![
        6 => proptest::collection::vec(change, 1..6).prop_map(Step::Write),
        2 => Just(Step::WriteOut),
        2 => Just(Step::Snapshot),
    ];
    proptest::collection::vec(step, 1..40)
}

fn key(number: u8) -> Vec<u8> {
    vec![b'k', number / 8, number % 8]
}

fn assert_reads<S: Source>(ledger: &Ledger<S>, model: &Model) {
    for table in TABLES {
        for number in 0..24 {
            let expected = model.get(&(table, key(number))).cloned();
            assert_eq!(ledger.get(table, &key(number)).unwrap(), expected, "{table:?} {number}");
        }
        for prefix in [b"k".to_vec(), vec![b'k', 1]] {
            let start = key(9);
            let rows = ledger.scan(table, &prefix, &start).map(|row| row.unwrap());
            let rows: Vec<_> = rows.map(|(key, value)| (key.into_vec(), value)).collect();
            let of_table = model.iter().filter(|((of, key), _)| *of == table && key.starts_with(&prefix));
            let expected = of_table.filter(|((_, key), _)| *key >= start);
            let expected: Vec<_> = expected.map(|((_, key), value)| (key.clone(), value.clone())).collect();
            assert_eq!(rows, expected, "{table:?} {prefix:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_read_alike_wherever_they_are(steps in steps()) {
        let mut chain = Chain::start();
        let store = Arc::clone(&chain.store);
        let mut model = Model::new();
        let mut snapshots = Vec::new();
        for step in steps {
            match step {
                Step::Write(changes) => {
                    let rows: BTreeMap<_, _> =
                        changes.into_iter().map(|(t, k, v)| ((TABLES[t], key(k)), v.map(|v| Bytes::from(vec![v])))).collect();
                    for (place, value) in &rows {
                        match value {
                            Some(value) => drop(model.insert(place.clone(), value.clone())),
                            None => drop(model.remove(place)),
                        }
                    }
                    chain.write(rows.into_iter().map(|((table, key), value)| row(table, key, value)).collect());
                }
                Step::WriteOut => store.flush().unwrap(),
                Step::Snapshot => snapshots.push((store.snapshot().unwrap(), model.clone())),
            }
            assert_reads(&store, &model);
        }
        for (snapshot, model) in &snapshots {
            assert_reads(snapshot, model);
        }
    }
}

#[test]
fn a_long_list_is_read_whole_while_its_rows_go_to_the_database() {
    let mut chain = Chain::start();
    let store = Arc::clone(&chain.store);
    let keys = |from: u32, to: u32| (from..to).map(|n| n.to_be_bytes().to_vec());
    let rows = |keys: Vec<Vec<u8>>| keys.into_iter().map(|key| row(Table::Index, key, Some(Bytes::from_static(b"v"))));
    chain.write(rows(keys(0, 1_000).step_by(2).collect()).collect::<Vec<Row>>());
    store.flush().unwrap();
    chain.write(rows(keys(0, 1_000).skip(1).step_by(2).collect()).collect());
    let mut listed = store.scan(Table::Index, &[], &[]);
    let mut seen: Vec<_> = listed.by_ref().take(300).collect();
    // Later rows belong to another moment.
    chain.write(rows(keys(1_000, 1_100).collect()).collect());
    store.flush().unwrap();
    seen.extend(listed);
    let seen: Vec<_> = seen.into_iter().map(|row| row.unwrap().0.into_vec()).collect();
    assert_eq!(seen, keys(0, 1_000).collect::<Vec<_>>());
    assert_eq!(store.scan(Table::Index, &[], &[]).count(), 1_100);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn what_was_made_durable_is_there_after_a_kill() {
    let mut chain = Chain::start();
    let store = Arc::clone(&chain.store);
    chain.write(vec![row(Table::State, key(1), Some(Bytes::from_static(b"1")))]);
    store.flush().unwrap();
    let durable = store.tip().unwrap();
    chain.write(vec![row(Table::State, key(2), Some(Bytes::from_static(b"2")))]);
    // As the files are when the process ends here.
    let killed = chain.folder().join("killed");
    copy(&chain.folder().join("ledger"), &killed);
    let found = LedgerStore::open(&killed, 1 << 20).unwrap();
    assert!(found.get(Table::State, &key(1)).unwrap().is_some());
    // What came later is there whole or not at all.
    let (tip, row) = (found.tip().unwrap(), found.get(Table::State, &key(2)).unwrap());
    assert_eq!(row.is_some(), tip != durable);
}

#[test]
fn who_closes_it_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let store = LedgerStore::open(&path, 1 << 20).unwrap();
    store.write_rows(vec![row(Table::Texts, key(3), Some(Bytes::from_static(b"3")))]).unwrap();
    drop(store);
    let found = LedgerStore::open_read_only(&path).unwrap();
    assert_eq!(found.get(Table::Texts, &key(3)).unwrap().as_deref(), Some(&b"3"[..]));
}

#[test]
fn a_write_that_fails_is_final_and_what_was_taken_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    drop(LedgerStore::open(&path, 1 << 20).unwrap());
    // This one takes rows, and RocksDB refuses them.
    let store = LedgerStore::open_read_only(&path).unwrap();
    let taken = row(Table::Texts, key(1), Some(Bytes::from_static(b"1")));
    store.write_rows(vec![taken.clone()]).unwrap();
    let failed = store.flush().unwrap_err().to_string();
    assert_eq!(store.get(Table::Texts, &key(1)).unwrap(), taken.value);
    assert_eq!(store.write_rows(vec![taken]).unwrap_err().to_string(), failed, "nothing more is taken");
    assert_eq!(store.flush().unwrap_err().to_string(), failed, "nor tried again");
}

#[test]
fn memory_is_bounded_whatever_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = LedgerStore::open(&dir.path().join("ledger"), 1 << 20).unwrap();
    let megabyte = Bytes::from(vec![7; 1024 * 1024]);
    for number in 0..100 {
        store.write_rows(vec![row(Table::Payloads, key(number), Some(megabyte.clone()))]).unwrap();
        let (recent, ()) = store.source.with_recent(|_| ());
        assert!(recent.unsealed_bytes() <= BYTES_MAX + 2 * megabyte.len());
    }
}

/// Nobody asks for them. Who reads the database beside the node sees its files alone, which are all
/// that a kill leaves.
#[test]
fn files_hold_all_families_as_of_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let store = LedgerStore::open(&path, 1 << 20).unwrap();
    let megabyte = Bytes::from(vec![7; 1024 * 1024]);
    for number in 0..100 {
        let newest = row(Table::Texts, key(0), Some(Bytes::copy_from_slice(&[number])));
        store.write_rows(vec![row(Table::Payloads, key(number), Some(megabyte.clone())), newest]).unwrap();
    }
    let began = Instant::now();
    let (files, newest) = loop {
        let files = LedgerStore::open_read_only(&path).unwrap();
        if let Some(newest) = files.get(Table::Texts, &key(0)).unwrap() {
            break (files, newest[0]);
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no files");
        std::thread::park_timeout(Duration::from_millis(10));
    };
    let there: Vec<u8> = (0..100).filter(|n| files.get(Table::Payloads, &key(*n)).unwrap().is_some()).collect();
    assert_eq!(there, (0..=newest).collect::<Vec<_>>());
}

#[test]
fn a_row_that_nobody_read_keeps_one_value() {
    let mut recent = Recent::default();
    let value = |bytes: usize| Some(Bytes::from(vec![0; bytes]));
    recent.write([(Family::Meta, b"k".to_vec(), value(100))], 0);
    let bytes = recent.unsealed_bytes();
    recent.write([(Family::Meta, b"k".to_vec(), value(100))], 0);
    assert_eq!(recent.unsealed_bytes(), bytes);
    let reader = recent.clone();
    recent.write([(Family::Meta, b"k".to_vec(), value(50))], reader.moment());
    assert!(recent.unsealed_bytes() > bytes + 50);
    assert_eq!(reader.get(Family::Meta, b"k"), Some(value(100)));
    assert_eq!(recent.get(Family::Meta, b"k"), Some(value(50)));
}
