//! The ledger with a cache in front of it.

use consilium_consensus::LogPosition;
use consilium_kit::Ledger as RulesLedger;
use consilium_kit::replica::Disk;
use consilium_ledger::{StateReader, Table};
use consilium_proto::observed::Observed;
use consilium_replica::CachedLedger;
use consilium_replica::ports::Ledger;

#[test]
fn the_cache_follows_every_row_that_is_written() {
    let cached = CachedLedger::new(Disk::new().ledger);
    let mut rules = RulesLedger::new(&[("a.example", 10, 1)], |p| p.epoch_blocks = 4);
    for _ in 0..12 {
        let executed = rules.block(&[], &Observed::default());
        // What is cached before the write is not what is read after it.
        executed.rows.iter().for_each(|row| drop(cached.get(row.table, &row.key).unwrap()));
        cached.write_block(LogPosition::default(), &mut executed.clone(), None).unwrap();
        for row in &executed.rows {
            assert_eq!(cached.get(row.table, &row.key).unwrap(), row.value, "{:?}", row.table);
        }
    }
    let rows = cached.inner().rows().clone();
    for ((table, key), value) in &rows.0 {
        assert_eq!(cached.get(*table, key).unwrap().as_ref(), Some(value));
    }
    assert_eq!(cached.get(Table::State, b"absent").unwrap(), None);
}
