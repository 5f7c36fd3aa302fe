//! The ledger's database: rows, positions, certificates and the tip. A block is
//! one batch, never synced by itself; old values are kept until the next sync,
//! so that a crash can take back a suffix of the batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership};
use consilium_kit::Rng;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Row, StateReader, StoreFault, Table, Tip, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::Height;
use consilium_proto::pb;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader};
use prost::Message;

type Place = (Table, Vec<u8>);

#[derive(Clone, Debug)]
enum Undo {
    Row(Place, Option<Bytes>),
    Position(Height, Option<LogPosition>),
    Membership(Height, Option<Membership>),
    Certificate(Height, Option<BlockCertificate>),
    Tip(Option<(LogIndex, Tip)>),
}

/// The database.
#[derive(Clone, Debug, Default)]
pub struct LedgerStore {
    rows: BTreeMap<Place, Bytes>,
    positions: BTreeMap<Height, LogPosition>,
    memberships: BTreeMap<Height, Membership>,
    certificates: BTreeMap<Height, BlockCertificate>,
    tip: Option<(LogIndex, Tip)>,
    /// How to take back each batch that is not synced, in order of writing.
    unsynced: Vec<Vec<Undo>>,
}

impl LedgerStore {
    /// Stores a block, in one batch; with Raft's membership as of `position`, if
    /// it has changed since the block before.
    pub fn write_block(&mut self, position: LogPosition, executed: &Executed, membership: Option<&Membership>) {
        let mut undo: Vec<Undo> = executed.rows.iter().map(|row| self.put(row)).collect();
        let height = executed.tip.header.height;
        undo.push(Undo::Position(height, self.positions.insert(height, position)));
        if let Some(membership) = membership {
            undo.push(Undo::Membership(height, self.memberships.insert(height, membership.clone())));
        }
        undo.push(Undo::Tip(self.tip.replace((position.index, executed.tip.clone()))));
        self.unsynced.push(undo);
    }

    /// Stores rows that no header covers, in one batch.
    pub fn write_rows(&mut self, rows: &[Row]) {
        let undo = rows.iter().map(|row| self.put(row)).collect();
        self.unsynced.push(undo);
    }

    fn put(&mut self, row: &Row) -> Undo {
        let place = (row.table, row.key.clone());
        let before = match &row.value {
            Some(value) => self.rows.insert(place.clone(), value.clone()),
            None => self.rows.remove(&place),
        };
        Undo::Row(place, before)
    }

    /// Rows of a table behind a key.
    #[must_use]
    pub fn behind(&self, table: Table, after: &[u8], max: usize) -> Vec<Row> {
        let rows = self.table(table).filter(|(key, _)| *key > after);
        let row = |(key, value): (&[u8], &Bytes)| Row { table, key: key.to_vec(), value: Some(value.clone()) };
        rows.map(row).take(max).collect()
    }

    /// The disk loses an attachment, or changes it: not as a write would, and for good.
    pub fn damage(&mut self, table: Table, key: &[u8], instead: Option<Bytes>) {
        match instead {
            Some(value) => drop(self.rows.insert((table, key.to_vec()), value)),
            None => drop(self.rows.remove(&(table, key.to_vec()))),
        }
    }

    /// Stores a certificate.
    pub fn write_certificate(&mut self, certificate: &BlockCertificate) {
        let before = self.certificates.insert(certificate.height, certificate.clone());
        self.unsynced.push(vec![Undo::Certificate(certificate.height, before)]);
    }

    /// Makes all durable.
    pub fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// Batches that a crash may take.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    pub(super) fn crash(&mut self, rng: &mut Rng) -> u64 {
        let kept = rng.below(self.unsynced.len() as u64 + 1) as usize;
        let lost = self.unsynced.split_off(kept);
        let count = lost.len() as u64;
        for undo in lost.into_iter().rev().flat_map(|batch| batch.into_iter().rev()) {
            self.take_back(undo);
        }
        self.unsynced.clear();
        count
    }

    fn take_back(&mut self, undo: Undo) {
        fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
            match before {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        match undo {
            Undo::Row(place, before) => restore(&mut self.rows, place, before),
            Undo::Position(height, before) => restore(&mut self.positions, height, before),
            Undo::Membership(height, before) => restore(&mut self.memberships, height, before),
            Undo::Certificate(height, before) => restore(&mut self.certificates, height, before),
            Undo::Tip(before) => self.tip = before,
        }
    }

    /// Where the ledger stands; `None` before genesis.
    #[must_use]
    pub fn tip(&self) -> Option<&(LogIndex, Tip)> {
        self.tip.as_ref()
    }

    /// Where in the Raft log a block stood.
    #[must_use]
    pub fn position(&self, height: Height) -> Option<LogPosition> {
        self.positions.get(&height).copied()
    }

    /// Raft's membership as of the entry that holds a block.
    #[must_use]
    pub fn membership_at(&self, height: Height) -> Option<&Membership> {
        self.memberships.range(..=height).next_back().map(|(_, membership)| membership)
    }

    /// The membership, if it changed with exactly this block.
    #[must_use]
    pub fn membership_changed_at(&self, height: Height) -> Option<&Membership> {
        self.memberships.get(&height)
    }

    /// The certificate over exactly this height.
    #[must_use]
    pub fn certificate_at(&self, height: Height) -> Option<&BlockCertificate> {
        self.certificates.get(&height)
    }

    /// The certificate of the highest certified height at or below one.
    #[must_use]
    pub fn certificate_up_to(&self, height: Height) -> Option<&BlockCertificate> {
        self.certificates.range(..=height).next_back().map(|(_, certificate)| certificate)
    }

    /// The newest certified header.
    #[must_use]
    pub fn newest_certified(&self) -> Option<CertifiedHeader> {
        let (height, certificate) = self.certificates.last_key_value()?;
        Some(CertifiedHeader { header: self.header(*height)?, certificate: certificate.clone() })
    }

    /// The set that follows a header, if the header ends its epoch.
    #[must_use]
    pub fn next_set_of(&self, header: &Header) -> Option<consilium_proto::validators::ValidatorSet> {
        let epoch = consilium_proto::ids::Epoch(header.epoch.0 + 1);
        let state: pb::EpochState = self.message(&keys::epoch(epoch))?;
        let follows = state.first_height == header.height.0 + 1;
        follows.then(|| state.validators.as_ref().and_then(|set| set.try_into().ok())).flatten()
    }

    /// A block.
    #[must_use]
    pub fn block(&self, height: Height) -> Option<pb::Block> {
        let bytes = self.rows.get(&(Table::Blocks, keys::height(height)))?;
        pb::Block::decode(bytes.clone()).ok()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, height: Height) -> Option<Header> {
        Header::try_from(self.block(height)?.header.as_ref()?).ok()
    }

    /// A row of the state.
    #[must_use]
    pub fn message<M: Message + Default>(&self, key: &[u8]) -> Option<M> {
        M::decode(self.rows.get(&(Table::State, key.to_vec()))?.clone()).ok()
    }

    /// Rows of the state with a prefix.
    pub fn rows<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a Bytes)> {
        let rows = self.rows.range((Table::State, prefix.to_vec())..);
        let rows = rows.map(|((table, key), value)| (*table, key.as_slice(), value));
        let rows = rows.take_while(move |(table, key, _)| *table == Table::State && key.starts_with(prefix));
        rows.map(|(_, key, value)| (key, value))
    }

    /// The same without their keys.
    pub fn scan<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a Bytes> {
        self.rows(prefix).map(|(_, value)| value)
    }

    /// Where a transaction is.
    #[must_use]
    pub fn location(&self, id: &consilium_proto::ids::TransactionId) -> Option<consilium_ledger::Location> {
        let bytes = self.rows.get(&(Table::Transactions, keys::transaction(id)))?;
        consilium_ledger::Location::decode(bytes).ok()
    }

    /// Rows of one table.
    pub fn table(&self, table: Table) -> impl Iterator<Item = (&[u8], &Bytes)> {
        let rows = self.rows.range((table, Vec::new())..);
        rows.take_while(move |((t, _), _)| *t == table).map(|((_, key), value)| (key.as_slice(), value))
    }
}

impl TrieStore for LedgerStore {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.get(Table::Trie, &path.to_bytes())
    }
}

impl StateReader for LedgerStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        Ok(self.rows.get(&(table, key.to_vec())).cloned())
    }
}
