//! What the rules read and write: tables of rows, a reader over what is
//! stored, and a view that lays a block's own changes over it.
//!
//! A transaction's changes go into the block's rows at once, with a note of what each took the place
//! of: when the transaction is refused they are taken back.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::access::PolicyFault;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{Height, TransactionId};
use prost::Message;

use crate::event::{Event, Events};
use crate::row_key::{Asked, Keyed, RowKey};
use crate::state_map::TrieStore;
use crate::table::Table;

/// A change to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The table.
    pub table: Table,
    /// See [`crate::keys`].
    pub key: Vec<u8>,
    /// `None` deletes.
    pub value: Option<Bytes>,
}

/// The store failed or holds what cannot be. A fault stops the node; it is
/// never an outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// Reading failed.
    #[error("reading table {table} failed: {cause}")]
    Read {
        /// Table.
        table: &'static str,
        /// The store's own words.
        cause: String,
    },
    /// A row does not decode, or does not fit the rest.
    #[error("table {table} holds a row that does not decode: {cause}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The access policy cannot be evaluated on this machine, though others can.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
}

/// Reads what is stored as of the block before.
pub trait StateReader: TrieStore {
    /// A row of a table.
    ///
    /// # Errors
    /// If the store fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault>;
}

/// Where a transaction is: value of [`Table::Transactions`], 52 bytes and more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Its block.
    pub height: Height,
    /// Its leaf in the ledger's tree.
    pub leaf_index: u64,
    /// Its outcome, as in `Outcome`.
    pub outcome: i32,
    /// SHA-256 of its signature.
    pub signature_hash: Hash,
    /// What its request for access came to, if it held one.
    pub log: Option<LogPlace>,
}

/// A place in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// Key of the state's row that commits to the log.
    pub log: Vec<u8>,
    /// From 0.
    pub place: u64,
}

impl Location {
    /// Height, leaf index, outcome, big-endian; then the hash; then place and log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(52);
        out.extend_from_slice(&self.height.0.to_be_bytes());
        out.extend_from_slice(&self.leaf_index.to_be_bytes());
        out.extend_from_slice(&self.outcome.to_be_bytes());
        out.extend_from_slice(self.signature_hash.as_bytes());
        if let Some(LogPlace { log, place }) = &self.log {
            out.extend_from_slice(&place.to_be_bytes());
            out.extend_from_slice(log);
        }
        out.into()
    }

    /// Reads it back.
    ///
    /// # Errors
    /// If the length is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreFault> {
        let corrupt = || StoreFault::Corrupt { table: Table::Transactions.name(), cause: "length".into() };
        let (fixed, rest) = bytes.split_first_chunk::<52>().ok_or_else(corrupt)?;
        let log = match rest.split_first_chunk::<8>() {
            Some((place, log)) => Some(LogPlace { log: log.to_vec(), place: u64::from_be_bytes(*place) }),
            None if rest.is_empty() => None,
            None => return Err(corrupt()),
        };
        let (height, rest) = fixed.split_at(8);
        let (leaf, rest) = rest.split_at(8);
        let (outcome, signature) = rest.split_at(4);
        Ok(Self {
            height: Height(u64::from_be_bytes(height.try_into().map_err(|_| corrupt())?)),
            leaf_index: u64::from_be_bytes(leaf.try_into().map_err(|_| corrupt())?),
            outcome: i32::from_be_bytes(outcome.try_into().map_err(|_| corrupt())?),
            signature_hash: Hash::try_from(signature).map_err(|_| corrupt())?,
            log,
        })
    }
}

/// Changed rows of one table, by key.
type Changed = BTreeMap<RowKey, Option<Bytes>>;

/// Changed rows, in the order of [`Table::ALL`].
#[derive(Default)]
struct Layer([Changed; Table::ALL.len()]);

impl Layer {
    fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.0[table as usize].get(&Asked::new(key) as &dyn Keyed)
    }

    /// Gives what it held before.
    fn insert(&mut self, table: Table, key: RowKey, value: Option<Bytes>) -> Option<Option<Bytes>> {
        self.0[table as usize].insert(key, value)
    }

    fn remove(&mut self, table: Table, key: &RowKey) {
        self.0[table as usize].remove(key);
    }
}

/// What a change took the place of in the block's rows.
struct Undo {
    table: Table,
    key: RowKey,
    before: Option<Option<Bytes>>,
}

/// See [`View::savepoint`].
pub(crate) struct Savepoint {
    changes: usize,
    events: Events,
    ends_epoch: bool,
}

/// The state as the next transaction sees it.
pub(crate) struct View<'a, R> {
    reader: &'a R,
    /// With the changes of the transaction.
    block: Layer,
    /// How to take these back, in the order in which they were made.
    undo: Vec<Undo>,
    block_events: Events,
    transaction_events: Events,
    block_ends_epoch: bool,
    transaction_ends_epoch: bool,
    transaction_log: Option<LogPlace>,
}

impl<'a, R: StateReader> View<'a, R> {
    pub(crate) fn new(reader: &'a R) -> Self {
        Self {
            reader,
            block: Layer::default(),
            undo: Vec::new(),
            block_events: Events::default(),
            transaction_events: Events::default(),
            block_ends_epoch: false,
            transaction_ends_epoch: false,
            transaction_log: None,
        }
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        match self.block.get(table, key) {
            Some(value) => Ok(value.clone()),
            None => self.reader.get(table, key),
        }
    }

    pub(crate) fn message<M: Message + Default>(&self, table: Table, key: &[u8]) -> Result<Option<M>, StoreFault> {
        let Some(bytes) = self.get(table, key)? else { return Ok(None) };
        let corrupt = |e: prost::DecodeError| StoreFault::Corrupt { table: table.name(), cause: e.to_string() };
        M::decode(bytes).map(Some).map_err(corrupt)
    }

    pub(crate) fn put(&mut self, table: Table, key: Vec<u8>, value: impl Into<Bytes>) {
        self.change(table, key, Some(value.into()));
    }

    fn change(&mut self, table: Table, key: Vec<u8>, value: Option<Bytes>) {
        let key = RowKey::from(key);
        let before = self.block.insert(table, key.clone(), value);
        self.undo.push(Undo { table, key, before });
    }

    /// Takes back all but so many changes of the transaction, the newest first.
    fn take_back(&mut self, changes: usize) {
        for Undo { table, key, before } in self.undo.drain(changes..).rev() {
            match before {
                Some(value) => drop(self.block.insert(table, key, value)),
                None => self.block.remove(table, &key),
            }
        }
    }

    pub(crate) fn put_row(&mut self, Row { table, key, value }: Row) {
        self.change(table, key, value);
    }

    pub(crate) fn put_message(&mut self, table: Table, key: Vec<u8>, message: &impl Message) {
        self.put(table, key, message.encode_to_vec());
    }

    pub(crate) fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.change(table, key, None);
    }

    /// Tells of something, if the transaction is kept.
    pub(crate) fn note(&mut self, event: Event) {
        self.transaction_events.note(event);
    }

    /// What the block has told of so far and kept.
    pub(crate) fn events(&self) -> &Events {
        &self.block_events
    }

    /// Ends the epoch with this block, if the transaction is kept: the seats
    /// must not stay as they are.
    pub(crate) fn request_epoch_end(&mut self) {
        self.transaction_ends_epoch = true;
    }

    /// Whether a kept transaction asked for the end of the epoch.
    pub(crate) fn epoch_end_requested(&self) -> bool {
        self.block_ends_epoch
    }

    /// The transaction's changes so far, to come back to.
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            changes: self.undo.len(),
            events: self.transaction_events.clone(),
            ends_epoch: self.transaction_ends_epoch,
        }
    }

    /// Drops what the transaction changed since.
    pub(crate) fn restore(&mut self, savepoint: Savepoint) {
        let Savepoint { changes, events, ends_epoch } = savepoint;
        self.take_back(changes);
        self.transaction_events = events;
        self.transaction_ends_epoch = ends_epoch;
    }

    /// Keeps the transaction's changes.
    pub(crate) fn commit(&mut self) {
        self.undo.clear();
        self.block_events.merge(std::mem::take(&mut self.transaction_events));
        self.block_ends_epoch |= self.transaction_ends_epoch;
        self.transaction_ends_epoch = false;
    }

    /// Drops the transaction's changes.
    pub(crate) fn roll_back(&mut self) {
        self.take_back(0);
        self.transaction_log = None;
        self.transaction_events = Events::default();
        self.transaction_ends_epoch = false;
    }

    /// Says where the transaction's request for access was logged.
    pub(crate) fn logged(&mut self, place: LogPlace) {
        self.transaction_log = Some(place);
    }

    /// Where it was, if it was kept: asked once.
    pub(crate) fn take_logged(&mut self) -> Option<LogPlace> {
        self.transaction_log.take()
    }

    /// Whether a transaction is on the ledger, in this block or before.
    pub(crate) fn is_known(&self, id: &TransactionId) -> Result<bool, StoreFault> {
        Ok(self.get(Table::Transactions, &crate::keys::transaction(id))?.is_some())
    }

    /// All changes of the block, in order of table and key, and its events.
    pub(crate) fn into_parts(self) -> (Vec<Row>, Events) {
        assert!(self.undo.is_empty(), "every transaction is committed or rolled back");
        let tables = Table::ALL.into_iter().zip(self.block.0);
        let row = |table, (key, value): (RowKey, Option<Bytes>)| Row { table, key: key.into(), value };
        let rows = tables.flat_map(|(table, rows)| rows.into_iter().map(move |changed| row(table, changed)));
        (rows.collect(), self.block_events)
    }
}

#[cfg(test)]
mod tests;
