//! A snapshot keeps its moment; the rows of later blocks do not get into it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Term};
use consilium_ledger::{Events, Executed, Row, Table, Tip, keys, state_map};
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Epoch, HeaderHash, Height, LedgerId, NodeId, TimeMs};
use consilium_proto::merkle::Frontier;
use consilium_proto::pb;
use consilium_proto::state_tree::{KeyHash, ValueHash};
use consilium_proto::vote::BlockCertificate;
use prost::Message;
use tempfile::TempDir;

use crate::storage::ledger_store::LedgerStore;

/// Writes blocks as the replica does, with a state tree over their state rows,
/// and asks no rule about them.
pub(crate) struct Chain {
    pub(crate) store: std::sync::Arc<LedgerStore>,
    height: u64,
    dir: TempDir,
}

impl Chain {
    /// With a genesis block that holds nothing.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LedgerStore::open(&dir.path().join("ledger"), 1 << 20).unwrap().into();
        let mut chain = Self { store, height: 0, dir };
        chain.write(Vec::new());
        chain
    }

    /// Where its ledger lies, in the folder `ledger`.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The height of the block that is written next.
    pub(crate) fn next(&self) -> u64 {
        self.height
    }

    /// Writes a block with these changes.
    pub(crate) fn write(&mut self, mut rows: Vec<Row>) {
        let state = rows.iter().filter(|row| row.table == Table::State);
        let changes: BTreeMap<_, _> =
            state.map(|row| (KeyHash::of(&row.key), row.value.as_deref().map(ValueHash::of))).collect();
        let update = state_map::update(&*self.store, &changes).unwrap();
        let trie = update.writes.into_iter();
        rows.extend(trie.map(|(path, node)| row(Table::Trie, path.to_bytes(), node.map(Bytes::from))));
        let frontier = Frontier::new();
        let header = header(Height(self.height), &frontier, update.root);
        let block = pb::Block { header: Some((&header).into()), ..pb::Block::default() };
        rows.push(row(Table::Blocks, keys::height(header.height), Some(block.encode_to_vec().into())));
        let position = LogPosition { index: LogIndex(self.height + 10), term: Term(1), ..LogPosition::default() };
        let tip = Tip { header, frontier };
        let mut executed = Executed { tip, rows, leaves: Vec::new(), events: Events::default() };
        self.store.write_block(position, &mut executed, None).unwrap();
        self.height += 1;
    }
}

fn header(height: Height, frontier: &Frontier, state_root: Hash) -> Header {
    Header {
        ledger_id: LedgerId::from_bytes([1; 32]),
        height,
        previous_hash: HeaderHash::from_bytes([2; 32]),
        time: TimeMs(height.0),
        epoch: Epoch(0),
        tree_size: frontier.size(),
        tree_root: frontier.root(),
        state_root,
        validators_hash: state_root,
        next_validators_hash: state_root,
        proposer: NodeId(1),
        log_hash: Hash::from_bytes([0; 32]),
    }
}

pub(crate) fn row(table: Table, key: Vec<u8>, value: Option<Bytes>) -> Row {
    Row { table, key, value }
}

fn put(table: Table, key: &[u8], value: &'static str) -> Row {
    row(table, key.to_vec(), Some(Bytes::from_static(value.as_bytes())))
}

#[test]
fn a_write_between_two_reads_is_not_seen() {
    let mut chain = Chain::start();
    chain.write(vec![put(Table::State, b"a", "1"), put(Table::State, b"b", "1"), put(Table::Index, b"i1", "x")]);
    let store = std::sync::Arc::clone(&chain.store);
    let before = store.snapshot().unwrap();
    assert_eq!(before.read(Table::State, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    let (tip, root) = (before.tip().unwrap(), state_map::root(&before).unwrap());

    let gone = row(Table::State, b"b".to_vec(), None);
    chain.write(vec![put(Table::State, b"a", "2"), gone, put(Table::Index, b"i2", "y")]);
    let certificate = BlockCertificate::new(Height(1), HeaderHash::from_bytes([3; 32]), [(NodeId(1), [4; 64])].into());
    store.write_certificate(&certificate).unwrap();

    assert_eq!(before.read(Table::State, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(before.read(Table::State, b"b").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(before.scan(Table::Index, b"i", b"i").count(), 1);
    assert_eq!((before.height(), before.applied()), (Height(1), LogIndex(11)));
    assert_eq!((before.tip().unwrap(), state_map::root(&before).unwrap()), (tip, root));
    assert_eq!(before.tip_header().state_root, root);
    assert_eq!((before.header(Height(2)).unwrap(), before.certificate_from(Height(0)).unwrap()), (None, None));

    let after = store.snapshot().unwrap();
    assert_eq!(after.read(Table::State, b"a").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(after.read(Table::State, b"b").unwrap(), None);
    assert_eq!(after.scan(Table::Index, b"i", b"i").count(), 2);
    assert_eq!((after.height(), after.applied()), (Height(2), LogIndex(12)));
    assert_eq!(after.tip_header().state_root, state_map::root(&after).unwrap());
    assert!(after.certificate_from(Height(0)).unwrap().is_some());
}

#[test]
fn before_genesis_there_is_nothing_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = LedgerStore::open(&dir.path().join("ledger"), 1 << 20).unwrap();
    assert_eq!(store.tip().unwrap(), None);
    assert_eq!(store.snapshot().unwrap_err().to_string(), "ledger is corrupt: has no genesis block");
}
