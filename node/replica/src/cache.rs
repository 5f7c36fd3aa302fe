//! The ledger with what the rules read again and again (members, signers, keys,
//! the state tree, the rows of patients who are being treated) kept in memory. A replica is the only
//! writer of its ledger, and every write goes through here, so the copy is never stale.
//! Bounded in rows and bytes.
#![expect(clippy::disallowed_types, reason = "the maps are looked up by key and never iterated")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership};
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Location, Row, StateReader, StoreFault, Table, Tip, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use consilium_proto::state::StateRow;
use consilium_proto::vote::BlockCertificate;

use crate::ports::{Ledger, PortFault};

/// Rows that a generation of a [`Kept`] takes.
const GENERATION_ROWS: usize = 50_000;
/// Bytes that it takes, in keys and values: there may be six generations.
const GENERATION_BYTES: usize = 32 * 1024 * 1024;

/// By key: the value, or that there is none.
type Rows = HashMap<Box<[u8]>, Option<Bytes>>;

/// Rows that were read or written lately: those since the last full generation, and that one.
#[derive(Debug, Default)]
struct Kept {
    young: Rows,
    old: Rows,
    /// Of `young`, about.
    bytes: usize,
}

impl Kept {
    fn get(&mut self, key: &[u8]) -> Option<Option<Bytes>> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.put(key, value.clone());
        Some(value)
    }

    /// Gives a row that is kept another value.
    fn change(&mut self, key: &[u8], value: Option<&Bytes>) {
        if let Some(kept) = self.young.get_mut(key) {
            let (before, now) = (kept.as_ref().map_or(0, Bytes::len), value.map_or(0, Bytes::len));
            self.bytes = (self.bytes + now).saturating_sub(before);
            *kept = value.cloned();
        } else if let Some((key, _)) = self.old.remove_entry(key) {
            self.put(key, value.cloned());
        }
    }

    fn put(&mut self, key: Box<[u8]>, value: Option<Bytes>) {
        if self.young.len() >= GENERATION_ROWS || self.bytes >= GENERATION_BYTES {
            self.old = mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        // An older copy, if there is one, is not asked for as long as this one is here, and goes first.
        self.young.insert(key, value);
    }
}

/// A part of what is kept, so that no other drives it out: of patients and records there are many.
#[derive(Debug, Clone, Copy)]
enum Part {
    Trie,
    Network,
    Patients,
}

impl Part {
    /// Where a row is kept, if it is.
    fn of(table: Table, key: &[u8]) -> Option<Self> {
        match table {
            Table::Trie => Some(Self::Trie),
            Table::State if keys::is_of_patient(key) => Some(Self::Patients),
            Table::State => Some(Self::Network),
            Table::Versions
            | Table::Payloads
            | Table::Descriptors
            | Table::Wraps
            | Table::Lookups
            | Table::Texts
            | Table::Logs
            | Table::Transactions
            | Table::Tree
            | Table::Index
            | Table::Blocks
            | Table::Missing => None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct CachedLedger<L> {
    ledger: L,
    kept: [RefCell<Kept>; 3],
}

impl<L> CachedLedger<L> {
    /// An empty cache over a ledger.
    #[must_use]
    pub fn new(ledger: L) -> Self {
        Self { ledger, kept: Default::default() }
    }

    /// The ledger itself.
    #[must_use]
    pub fn inner(&self) -> &L {
        &self.ledger
    }

    /// Follows the rows of a block that is stored. A row that nobody has asked for is not kept.
    fn follow(&self, rows: &[Row]) {
        for row in rows {
            if let Some(part) = Part::of(row.table, &row.key) {
                self.kept[part as usize].borrow_mut().change(&row.key, row.value.as_ref());
            }
        }
    }
}

impl<L: StateReader> StateReader for CachedLedger<L> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let Some(part) = Part::of(table, key) else { return self.ledger.get(table, key) };
        let mut kept = self.kept[part as usize].borrow_mut();
        if let Some(value) = kept.get(key) {
            return Ok(value);
        }
        let value = self.ledger.get(table, key)?;
        // Whether there is a record is asked before it is written: most are not read again soon.
        let is_to_be_made = value.is_none() && table == Table::State && StateRow::of(key) == Some(StateRow::Record);
        if !is_to_be_made {
            kept.put(key.into(), value.clone());
        }
        Ok(value)
    }
}

impl<L: StateReader> TrieStore for CachedLedger<L> {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.get(Table::Trie, &path.to_bytes())
    }
}

impl<L: Ledger> Ledger for CachedLedger<L> {
    fn tip(&self) -> Result<Option<(LogIndex, Tip)>, PortFault> {
        self.ledger.tip()
    }

    fn block(&self, height: Height) -> Result<Option<pb::Block>, PortFault> {
        self.ledger.block(height)
    }

    fn header(&self, height: Height) -> Result<Option<Header>, PortFault> {
        self.ledger.header(height)
    }

    fn position(&self, height: Height) -> Result<Option<LogPosition>, PortFault> {
        self.ledger.position(height)
    }

    fn membership_at(&self, height: Height) -> Result<Membership, PortFault> {
        self.ledger.membership_at(height)
    }

    fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, PortFault> {
        self.ledger.membership_changed_at(height)
    }

    fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        self.ledger.certificate_at(height)
    }

    fn certificate_up_to(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        self.ledger.certificate_up_to(height)
    }

    fn location(&self, id: &TransactionId) -> Result<Option<Location>, PortFault> {
        self.ledger.location(id)
    }

    fn write_block(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault> {
        self.follow(&executed.rows);
        self.ledger.write_block(position, executed, membership)
    }

    fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), PortFault> {
        self.ledger.write_certificate(certificate)
    }

    fn scan(&self, table: Table, after: &[u8], max: usize) -> Result<Vec<Row>, PortFault> {
        self.ledger.scan(table, after, max)
    }

    fn write_attachments(&self, rows: Vec<Row>) -> Result<(), PortFault> {
        self.ledger.write_attachments(rows)
    }

    fn flush(&self) -> Result<(), PortFault> {
        self.ledger.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize) -> Box<[u8]> {
        number.to_be_bytes().into()
    }

    #[test]
    fn what_is_asked_for_stays_and_the_newest_value_is_given() {
        let value = |text: &'static [u8]| Some(Bytes::from_static(text));
        let mut kept = Kept::default();
        kept.put(row(0), value(b"old"));
        for number in 1..=GENERATION_ROWS {
            kept.put(row(number), None);
        }
        // It is of the older generation now, and comes into the younger with a new value.
        kept.put(row(0), value(b"new"));
        assert_eq!(kept.get(&row(0)), Some(value(b"new")));
        for number in 1..=3 * GENERATION_ROWS {
            kept.put(row(number), None);
            if number % 1_000 == 0 {
                assert_eq!(kept.get(&row(0)), Some(value(b"new")), "{number}");
            }
            assert!(kept.young.len() <= GENERATION_ROWS && kept.old.len() <= GENERATION_ROWS);
        }
        for number in 1..=2 * GENERATION_ROWS {
            kept.put(row(3 * GENERATION_ROWS + number), None);
        }
        assert_eq!(kept.get(&row(0)), None);
    }

    #[test]
    fn a_row_that_nobody_asked_for_is_not_kept_and_the_others_follow() {
        let value = |text: &'static [u8]| Some(Bytes::from_static(text));
        let mut kept = Kept::default();
        kept.change(&row(0), value(b"new").as_ref());
        assert_eq!(kept.get(&row(0)), None);
        kept.put(row(1), value(b"old"));
        kept.change(&row(1), value(b"new").as_ref());
        assert_eq!((kept.get(&row(1)), kept.bytes), (Some(value(b"new")), row(1).len() + 3));
        // Of the older generation.
        kept.old = mem::take(&mut kept.young);
        kept.change(&row(1), None);
        assert_eq!((kept.get(&row(1)), kept.old.len()), (Some(None), 0));
    }

    #[test]
    fn large_rows_are_fewer() {
        let large = Bytes::from(vec![0; GENERATION_BYTES / 8]);
        let mut kept = Kept::default();
        for number in 0..100 {
            kept.put(row(number), Some(large.clone()));
            assert!(kept.young.len() <= 8 && kept.old.len() <= 8, "{number}");
        }
        assert_eq!(kept.get(&row(99)), Some(Some(large)));
    }
}
