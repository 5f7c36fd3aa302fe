//! What survives a crash, and the reader over it.
//!
//! Only completed writes are here: an entry on its way to disk is not readable, so that a core
//! which forgot to cache it would be caught.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{
    HardState, Initial, LogBounds, LogEntry, LogError, LogIndex, LogPosition, LogReader, Membership, Persist,
    SnapshotMeta, Term,
};

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) truncated: LogPosition,
    /// Encoded, as on a disk.
    pub(crate) entries: BTreeMap<LogIndex, Bytes>,
    pub(crate) hard_state: HardState,
    pub(crate) applied: LogIndex,
    pub(crate) membership: Membership,
    pub(crate) machine: Vec<(LogIndex, Bytes)>,
    /// States set aside for followers.
    archives: BTreeMap<LogIndex, (SnapshotMeta, Vec<(LogIndex, Bytes)>)>,
}

impl Store {
    pub(crate) fn new(membership: Membership) -> Self {
        Self {
            truncated: LogPosition::default(),
            entries: BTreeMap::new(),
            hard_state: HardState::default(),
            applied: LogIndex(0),
            membership,
            machine: Vec::new(),
            archives: BTreeMap::new(),
        }
    }

    pub(crate) fn initial(&self) -> Initial {
        Initial { hard_state: self.hard_state, membership: self.membership.clone(), applied: self.applied }
    }

    pub(crate) fn last(&self) -> LogIndex {
        self.entries.last_key_value().map_or(self.truncated.index, |(index, _)| *index)
    }

    pub(crate) fn entry(&self, index: LogIndex) -> Option<LogEntry> {
        self.entries.get(&index).map(|bytes| LogEntry::decode(bytes).unwrap())
    }

    fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.truncated.index {
            return Some(self.truncated.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// One atomic, synced batch.
    pub(crate) fn write(&mut self, persist: &Persist, staged: Option<Store>) {
        if let Some(meta) = &persist.snapshot {
            let state = staged.expect("a snapshot is written with its state");
            self.machine = state.machine;
            self.applied = meta.index;
            self.membership = meta.membership.clone();
            self.truncated = meta.position();
            self.entries.clear();
        }
        if let Some(first) = persist.entries.first() {
            self.entries.split_off(&first.index);
            assert!(first.index.0 <= self.last().0 + 1, "gap before {}", first.index);
        }
        for entry in &persist.entries {
            self.entries.insert(entry.index, entry.encode());
        }
        if let Some(state) = persist.hard_state {
            let commit = state.commit.max(self.hard_state.commit);
            self.hard_state = HardState { commit, ..state };
        }
    }

    pub(crate) fn compact(&mut self, position: LogPosition) {
        self.truncated = position;
        self.entries = self.entries.split_off(&LogIndex(position.index.0 + 1));
    }

    /// Sets the present state aside.
    pub(crate) fn archive_now(&mut self) -> Option<SnapshotMeta> {
        let meta = SnapshotMeta {
            index: self.applied,
            term: self.term_at(self.applied)?,
            membership: self.membership.clone(),
        };
        self.archives.insert(self.applied, (meta.clone(), self.machine.clone()));
        Some(meta)
    }

    /// The state that `meta` describes, if it was set aside here.
    pub(crate) fn archive(&self, meta: &SnapshotMeta) -> Option<Store> {
        let (found, machine) = self.archives.get(&meta.index)?;
        (found == meta).then(|| Store { machine: machine.clone(), ..Store::new(meta.membership.clone()) })
    }
}

/// The reader that a core gets.
pub(crate) struct Disk(pub(crate) Rc<RefCell<Store>>);

impl LogReader for Disk {
    fn bounds(&self) -> Result<LogBounds, LogError> {
        let store = self.0.borrow();
        Ok(LogBounds { truncated: store.truncated, last: store.last() })
    }

    fn entries(&self, low: LogIndex, high: LogIndex, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        let store = self.0.borrow();
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        for index in low.0..high.0 {
            let index = LogIndex(index);
            let entry = store.entry(index).ok_or(LogError::Missing { index })?;
            bytes += entry.data_len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn term(&self, index: LogIndex) -> Result<Term, LogError> {
        self.0.borrow().term_at(index).ok_or(LogError::Missing { index })
    }
}
