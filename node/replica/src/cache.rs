//! The ledger with what the rules read again and again (members, signers, keys,
//! the upper nodes of the state tree) kept in memory. A replica is the only writer
//! of its ledger, and every write goes through here, so the copy is never stale.
//! Bounded in entries.
#![expect(clippy::disallowed_types, reason = "the map is looked up by key and never iterated")]

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership};
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Location, Row, StateReader, StoreFault, Table, Tip, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use consilium_proto::vote::BlockCertificate;

use crate::ports::{Ledger, PortFault};

/// Entries kept; about 300 bytes each.
const ENTRIES_MAX: usize = 100_000;

/// By table and key: the value, or that there is none.
type Rows = HashMap<(Table, Vec<u8>), Option<Bytes>>;

/// See the module.
#[derive(Debug)]
pub struct CachedLedger<L> {
    ledger: L,
    rows: RefCell<Rows>,
}

impl<L> CachedLedger<L> {
    /// An empty cache over a ledger.
    #[must_use]
    pub fn new(ledger: L) -> Self {
        Self { ledger, rows: RefCell::default() }
    }

    /// The ledger itself.
    #[must_use]
    pub fn inner(&self) -> &L {
        &self.ledger
    }

    /// Follows the rows of a block that was stored.
    fn follow(&self, rows: &[Row]) {
        let mut cached = self.rows.borrow_mut();
        for row in rows {
            if is_cached(row.table, &row.key) {
                cached.insert((row.table, row.key.clone()), row.value.clone());
            }
        }
        if cached.len() > ENTRIES_MAX {
            cached.clear();
        }
    }
}

/// What there is one of for each record or patient is left out: it is seldom read, and would
/// drive out the rest.
fn is_cached(table: Table, key: &[u8]) -> bool {
    match table {
        Table::Trie => true,
        Table::State => !keys::is_of_patient(key),
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
        | Table::Missing => false,
    }
}

impl<L: StateReader> StateReader for CachedLedger<L> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        if !is_cached(table, key) {
            return self.ledger.get(table, key);
        }
        let place = (table, key.to_vec());
        if let Some(value) = self.rows.borrow().get(&place) {
            return Ok(value.clone());
        }
        let value = self.ledger.get(table, key)?;
        self.rows.borrow_mut().insert(place, value.clone());
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
        executed: &Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault> {
        self.ledger.write_block(position, executed, membership)?;
        self.follow(&executed.rows);
        Ok(())
    }

    fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), PortFault> {
        self.ledger.write_certificate(certificate)
    }

    fn scan(&self, table: Table, after: &[u8], max: usize) -> Result<Vec<Row>, PortFault> {
        self.ledger.scan(table, after, max)
    }

    fn write_attachments(&self, rows: &[Row]) -> Result<(), PortFault> {
        self.ledger.write_attachments(rows)
    }

    fn flush(&self) -> Result<(), PortFault> {
        self.ledger.flush()
    }
}
