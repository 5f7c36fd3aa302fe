//! What audited reads leave behind, in bytes: what travels and stands in the Raft log, the rows
//! that a block of reads writes, and by how much the ledger's folder is larger for them once it is
//! compacted. The members, records and certificates that it stands on are taken off.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use consilium_bench::hospital::{Hospital, SHELVES};
use consilium_ledger::Executed;

/// Records that nobody reads.
const OTHERS: usize = 5_000;
/// Reads that are counted.
const READS: usize = 6_400;
/// Records of a read, and reads in a block: of a quiet network, and of a busy one.
const KINDS: [(usize, usize); 4] = [(1, 1), (1, 64), (50, 1), (50, 64)];

#[derive(Default)]
struct Written {
    transactions: usize,
    /// By table: rows, and bytes of keys and values.
    rows: BTreeMap<&'static str, (usize, usize)>,
}

impl Written {
    fn count(&mut self, executed: &Executed) {
        for row in &executed.rows {
            let (rows, bytes) = self.rows.entry(row.table.name()).or_default();
            *rows += 1;
            *bytes += row.key.len() + row.value.as_ref().map_or(0, |value| value.len());
        }
    }
}

/// Bytes of a folder's files after all of it was compacted.
fn compacted(folder: &Path) -> u64 {
    let options = rocksdb::Options::default();
    let families = rocksdb::DB::list_cf(&options, folder).unwrap();
    let database = rocksdb::DB::open_cf(&options, folder, &families).unwrap();
    for family in &families {
        database.flush_cf(database.cf_handle(family).unwrap()).unwrap();
        database.compact_range_cf(database.cf_handle(family).unwrap(), None::<&[u8]>, None::<&[u8]>);
    }
    drop(database);
    on_disk(folder, "sst") + on_disk(folder, "blob")
}

fn on_disk(folder: &Path, ending: &str) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let tables = files.filter(|file| file.path().extension().is_some_and(|found| found == ending));
    tables.map(|file| file.metadata().unwrap().len()).sum()
}

/// A ledger with so many reads, so many in a block, of so many records each; what was written for
/// them, and the bytes of its tables.
fn run(reads: usize, records: usize, in_block: usize) -> (Written, u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut hospital = Hospital::open(folder.path(), OTHERS);
    let mut written = Written::default();
    for block in 0..reads / in_block {
        let shelf = |n| (block * in_block + n) % SHELVES;
        let requests: Vec<_> = (0..in_block).map(|n| hospital.request(shelf(n), records)).collect();
        written.transactions += requests.iter().map(bytes::Bytes::len).sum::<usize>();
        written.count(&hospital.apply(&requests).1);
    }
    drop(hospital);
    let folder = folder.path();
    (written, compacted(folder))
}

fn main() {
    let (_, before) = run(0, 1, 1);
    for (records, in_block) in KINDS {
        let (written, after) = run(READS, records, in_block);
        let each = |bytes: usize| bytes as f64 / READS as f64;
        println!("reads of {records} record(s), {in_block} in a block; bytes of each");
        println!("  transaction, as it travels and stands in the Raft log: {:.0}", each(written.transactions));
        let (mut all_rows, mut all_bytes) = (0, 0);
        for (table, (rows, bytes)) in &written.rows {
            println!("  {table}: {:.0} in {:.2} rows", each(*bytes), each(*rows));
            (all_rows, all_bytes) = (all_rows + rows, all_bytes + bytes);
        }
        println!("  written in all: {:.0} in {:.2} rows", each(all_bytes), each(all_rows));
        println!("  the ledger's tables are larger by, compacted: {:.0}", (after - before) as f64 / READS as f64);
    }
}
