//! What of a node survives a crash: its log, and the state that it has applied.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{
    HardState, Initial, LogEntry, LogIndex, LogPosition, LogReader, Membership, Persist, PersistSeq, SnapshotMeta, Term,
};
use consilium_kit::{LogHandle, MemoryLog, Rng};

/// What a state machine holds: the commands, with their indexes.
type Machine = Vec<(LogIndex, Bytes)>;

pub(crate) struct Store {
    log: Rc<RefCell<MemoryLog>>,
    pub(crate) applied: LogIndex,
    pub(crate) membership: Membership,
    pub(crate) machine: Machine,
    /// States set aside for followers.
    archives: BTreeMap<LogIndex, (SnapshotMeta, Machine)>,
    /// A fetched state; it is durable with the log's new beginning.
    staged: Option<(SnapshotMeta, Machine)>,
}

impl Store {
    pub(crate) fn new(membership: Membership) -> Self {
        Self {
            log: Rc::default(),
            applied: LogIndex(0),
            membership,
            machine: Machine::new(),
            archives: BTreeMap::new(),
            staged: None,
        }
    }

    pub(crate) fn initial(&self) -> Initial {
        let mut hard_state = self.log.borrow().hard_state();
        // A commit that is not below is stored with the applied index.
        hard_state.commit = hard_state.commit.max(self.applied);
        Initial { hard_state, membership: self.membership.clone(), applied: self.applied }
    }

    pub(crate) fn reader(&self) -> LogHandle {
        LogHandle::of_synced(&self.log)
    }

    pub(crate) fn last(&self) -> LogIndex {
        self.log.borrow().durable_last().index
    }

    pub(crate) fn entry(&self, index: LogIndex) -> Option<LogEntry> {
        self.reader().entries(index, LogIndex(index.0 + 1), usize::MAX).ok()?.pop()
    }

    pub(crate) fn write(&mut self, persist: &Persist) {
        let staged = self.staged.as_ref().map(|(meta, _)| meta);
        assert!(persist.snapshot.is_none() || persist.snapshot.as_ref() == staged, "a snapshot without its state");
        self.log.borrow_mut().write(persist);
    }

    pub(crate) fn sync_to(&mut self, seq: PersistSeq) {
        self.log.borrow_mut().sync_to(seq);
        self.install_staged();
    }

    pub(crate) fn power_cut(&mut self, rng: &mut Rng) {
        self.log.borrow_mut().power_cut(rng);
        self.install_staged();
        self.staged = None;
    }

    /// The staged state takes over once the log begins with it.
    fn install_staged(&mut self) {
        let begins = self.log.borrow().durable_truncated();
        if let Some((meta, machine)) = self.staged.take_if(|(meta, _)| meta.position() == begins) {
            self.applied = meta.index;
            self.membership = meta.membership;
            self.machine = machine;
        }
    }

    /// Durable with all that was written before it, though nobody is told of that yet.
    pub(crate) fn compact(&mut self, position: LogPosition) {
        let mut log = self.log.borrow_mut();
        log.compact_to(position);
        log.sync();
        drop(log);
        self.install_staged();
    }

    /// Sets the present state aside.
    pub(crate) fn archive_now(&mut self) -> Option<SnapshotMeta> {
        let LogPosition { index, term, hash } = self.reader().position(self.applied).ok()?;
        let meta = SnapshotMeta { index, term, hash, membership: self.membership.clone() };
        self.archives.insert(self.applied, (meta.clone(), self.machine.clone()));
        Some(meta)
    }

    /// The state that `meta` describes, if it was set aside here.
    pub(crate) fn archive(&self, meta: &SnapshotMeta) -> Option<Machine> {
        let (found, machine) = self.archives.get(&meta.index)?;
        (found == meta).then(|| machine.clone())
    }

    /// Keeps a fetched state for the write that the core will ask for.
    pub(crate) fn stage(&mut self, meta: SnapshotMeta, machine: Machine) {
        self.staged = Some((meta, machine));
    }

    /// A log that lost its entries, but not what it had promised.
    pub(crate) fn lose_entries(&mut self, hard_state: HardState) {
        let mut log = self.log.borrow_mut();
        log.reset_to(LogPosition::default(), hard_state);
        log.sync();
    }

    /// A node that has seen a later term.
    pub(crate) fn in_term(&mut self, term: Term) {
        let mut log = self.log.borrow_mut();
        let hard_state = HardState { term, vote: None, ..log.hard_state() };
        let seq = PersistSeq::new(u64::MAX);
        let (entries, messages_after) = (Vec::new(), Vec::new());
        let hard_state = Some(hard_state);
        log.write(&Persist { seq, snapshot: None, entries, hard_state, must_sync: true, messages_after });
        log.sync();
    }
}
