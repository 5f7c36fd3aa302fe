//! How rows lie on the disk.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use consilium_ledger::{StateReader, Table};

use super::*;

const CACHE_BYTES: usize = 8 * 1024 * 1024;
const TABLES: [Table; 4] = [Table::State, Table::Trie, Table::Payloads, Table::Logs];

/// A key without order, and a value for it.
fn row(table: Table, round: u32, number: u32) -> Row {
    let key = (round * 1_000 + number).wrapping_mul(2_654_435_761).to_be_bytes().to_vec();
    let len = if table == Table::Payloads { 1_100 } else { 100 };
    let value = key.iter().copied().cycle().take(len).collect::<Vec<_>>();
    Row { table, key, value: Some(value.into()) }
}

fn rows(round: u32) -> Vec<Row> {
    TABLES.into_iter().flat_map(|table| (0..50).map(move |number| row(table, round, number))).collect()
}

fn assert_holds(store: &LedgerStore, rounds: u32) {
    for row in (0..rounds).flat_map(rows) {
        assert_eq!(store.get(row.table, &row.key).unwrap(), row.value, "{:?}", row.table);
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

#[test]
fn a_ledger_that_was_kept_in_levels_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let names = Family::all().map(Family::name);
        let database = DB::open_cf(&options, folder.path(), names).unwrap();
        for round in 0..3 {
            for Row { table, key, value } in rows(round) {
                database.put_cf(database.cf_handle(table.name()).unwrap(), key, value.unwrap()).unwrap();
            }
            for family in Family::all() {
                let handle = database.cf_handle(family.name()).unwrap();
                database.flush_cf(handle).unwrap();
                // The last round stays above the others.
                if round < 2 {
                    database.compact_range_cf(handle, None::<&[u8]>, None::<&[u8]>);
                }
            }
        }
    }
    for part in 0..2 {
        let store = LedgerStore::open(folder.path(), CACHE_BYTES).unwrap();
        let from = 3 + part * 20;
        assert_holds(&store, from);
        // More files than are merged at once.
        for round in from..from + 20 {
            store.write_rows(rows(round)).unwrap();
            store.flush().unwrap();
        }
        assert_holds(&store, from + 20);
    }
}

#[test]
fn large_values_are_written_once_and_a_bit_that_flips_in_one_is_met() {
    let folder = tempfile::tempdir().unwrap();
    let store = LedgerStore::open(folder.path(), CACHE_BYTES).unwrap();
    let first = row(Table::Payloads, 0, 0);
    for round in 0..3 {
        store.write_rows(rows(round)).unwrap();
        store.flush().unwrap();
    }
    drop(store);
    let apart = files(folder.path(), "blob");
    let lengths = |files: &[PathBuf]| files.iter().map(|file| fs::metadata(file).unwrap().len()).collect::<Vec<_>>();
    assert_eq!(apart.len(), 3, "{apart:?}");
    let before = lengths(&apart);
    // Keys are merged, and what lies apart stays as it is.
    let mut options = database_options();
    options.set_atomic_flush(true);
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let database = DB::open_cf_descriptors(&options, folder.path(), families(&cache)).unwrap();
    database.compact_range_cf(database.cf_handle("payloads").unwrap(), None::<&[u8]>, None::<&[u8]>);
    drop(database);
    assert_eq!((files(folder.path(), "blob").len(), lengths(&apart)), (3, before));

    let value = first.value.clone().unwrap();
    let found = apart.iter().find_map(|file| {
        let bytes = fs::read(file).unwrap();
        let at = bytes.windows(value.len()).position(|window| window == &value[..])?;
        Some((file, bytes, at))
    });
    let (file, mut bytes, at) = found.expect("the value stands in one of them");
    bytes[at + 500] ^= 1;
    fs::write(file, bytes).unwrap();
    let store = LedgerStore::open(folder.path(), CACHE_BYTES).unwrap();
    assert!(store.get(Table::Payloads, &first.key).is_err());
    assert!(store.rot().cause().is_some());
    let other = row(Table::Payloads, 1, 7);
    assert_eq!(store.get(Table::Payloads, &other.key).unwrap(), other.value);
}
