//! What a replica needs of the disk it runs on: the ledger, the Raft log and the
//! guard. The daemon implements these ports on RocksDB and a file, the simulator
//! on memory that crashes.
//!
//! One rule of the disk lives in the types here. **The log never begins behind
//! what the ledger has made durable**: a log is cut, replaced or reset only at a
//! [`LogStart`], which is made from a [`Synced`], which only [`Ledger::sync`]
//! gives out. Without it a power cut could take the blocks whose entries are gone.

use consilium_consensus::voting::VoteGuard;
use consilium_consensus::{HardState, LogError, LogIndex, LogPosition, LogReader, Membership, Persist};
use consilium_ledger::{Executed, Location, Row, StateReader, StoreFault, Table, Tip};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use consilium_proto::vote::{BlockCertificate, Vote};

/// A port failed, or what it holds does not fit together. Final: the node stops
/// and never tries again on the same handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct PortFault {
    /// Which part of the disk.
    pub what: &'static str,
    /// The storage's own words.
    pub cause: String,
}

impl PortFault {
    /// Something that must be stored is absent or contradicts the rest.
    #[must_use]
    pub fn corrupt(what: &'static str, cause: impl ToString) -> Self {
        Self { what, cause: cause.to_string() }
    }
}

impl From<LogError> for PortFault {
    fn from(error: LogError) -> Self {
        Self { what: "raft log", cause: error.to_string() }
    }
}

impl From<StoreFault> for PortFault {
    fn from(fault: StoreFault) -> Self {
        Self { what: "ledger", cause: fault.to_string() }
    }
}

/// Proof that the ledger holds everything up to an index durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Synced(LogIndex);

impl Synced {
    /// The newest index whose block would survive a power cut.
    #[must_use]
    pub fn index(self) -> LogIndex {
        self.0
    }
}

/// A place where the log may begin: all before it is durable in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStart(LogPosition);

impl LogStart {
    /// `None` if the ledger has not made as much durable.
    #[must_use]
    pub fn new(position: LogPosition, synced: Synced) -> Option<Self> {
        (position.index <= synced.0).then_some(Self(position))
    }

    /// The last position before the log.
    #[must_use]
    pub fn position(self) -> LogPosition {
        self.0
    }
}

/// Rounds of Raft that are written as one batch with one sync.
#[derive(Debug)]
pub struct LogBatch<'a> {
    rounds: &'a [Persist],
    votes: &'a [Vote],
    sync: bool,
    trusts: bool,
}

impl<'a> LogBatch<'a> {
    /// Takes rounds. `synced` is called only if one of them replaces the log.
    ///
    /// # Errors
    /// If the ledger cannot be synced, or does not reach where the log shall begin.
    pub fn new(rounds: &'a [Persist], synced: impl FnOnce() -> Result<Synced, PortFault>) -> Result<Self, PortFault> {
        let starts = rounds.iter().filter_map(|round| round.snapshot.as_ref());
        if let Some(furthest) = starts.map(|meta| meta.position()).max_by_key(|position| position.index) {
            let synced = synced()?;
            let behind = |index| PortFault::corrupt("log", format!("would begin at {index}, behind the ledger"));
            LogStart::new(furthest, synced).ok_or_else(|| behind(furthest.index))?;
        }
        let sync = rounds.iter().any(|round| round.must_sync);
        Ok(Self { rounds, votes: &[], sync, trusts: false })
    }

    /// With votes of others, to be remembered for them.
    #[must_use]
    pub fn with_votes(self, votes: &'a [Vote]) -> Self {
        Self { votes, ..self }
    }

    /// To be durable, also if no round asks for it.
    #[must_use]
    pub fn synced(self) -> Self {
        Self { sync: true, ..self }
    }

    /// What the damaged end of the log may have held is settled: see [`Log::is_damaged`].
    #[must_use]
    pub fn trusting(self) -> Self {
        Self { trusts: true, ..self.synced() }
    }

    /// In order.
    #[must_use]
    pub fn rounds(&self) -> &'a [Persist] {
        self.rounds
    }

    /// Votes of others; of two of one node the newer one stays.
    #[must_use]
    pub fn votes(&self) -> &'a [Vote] {
        self.votes
    }

    /// Whether the batch must be durable before it is reported.
    #[must_use]
    pub fn must_sync(&self) -> bool {
        self.sync
    }

    /// Whether the log is not to be called damaged any more.
    #[must_use]
    pub fn trusts(&self) -> bool {
        self.trusts
    }
}

/// The ledger's store. Writes are in order and visible at once; they are durable
/// only after a sync, and until then a crash may take back any number of the
/// newest ones, never one in the middle.
pub trait Ledger: StateReader {
    /// Where the ledger stands, with the index of its newest block; `None` before
    /// the genesis.
    ///
    /// # Errors
    /// [`PortFault`], as for all methods here.
    fn tip(&self) -> Result<Option<(LogIndex, Tip)>, PortFault>;

    /// A stored block.
    ///
    /// # Errors
    /// [`PortFault`].
    fn block(&self, height: Height) -> Result<Option<pb::Block>, PortFault>;

    /// The header of a stored block.
    ///
    /// # Errors
    /// [`PortFault`].
    fn header(&self, height: Height) -> Result<Option<Header>, PortFault>;

    /// Where in the Raft log a block stood.
    ///
    /// # Errors
    /// [`PortFault`].
    fn position(&self, height: Height) -> Result<Option<LogPosition>, PortFault>;

    /// Raft's membership as of the entry that holds a block.
    ///
    /// # Errors
    /// [`PortFault`], also if there is none.
    fn membership_at(&self, height: Height) -> Result<Membership, PortFault>;

    /// The membership, if it was stored with exactly this block.
    ///
    /// # Errors
    /// [`PortFault`].
    fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, PortFault>;

    /// The certificate over exactly this height.
    ///
    /// # Errors
    /// [`PortFault`].
    fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault>;

    /// The certificate of the highest certified height at or below `height`.
    ///
    /// # Errors
    /// [`PortFault`].
    fn certificate_up_to(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault>;

    /// Where an executed transaction is.
    ///
    /// # Errors
    /// [`PortFault`].
    fn location(&self, id: &TransactionId) -> Result<Option<Location>, PortFault>;

    /// Stores a block in one batch: its rows, which it takes, the tip, the applied index, and
    /// Raft's membership as of `position` if it has changed since the block before.
    /// What a restart or a follower goes on from is then always of one moment.
    ///
    /// # Errors
    /// [`PortFault`].
    fn write_block(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault>;

    /// Stores a certificate.
    ///
    /// # Errors
    /// [`PortFault`].
    fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), PortFault>;

    /// Rows of a table behind a key, in order of their keys: at most so many.
    ///
    /// # Errors
    /// [`PortFault`].
    fn scan(&self, table: Table, after: &[u8], max: usize) -> Result<Vec<Row>, PortFault>;

    /// Stores or drops attachments, and what is known of missing ones, in one batch: what
    /// no header covers, and nothing else.
    ///
    /// # Errors
    /// [`PortFault`].
    fn write_attachments(&self, rows: Vec<Row>) -> Result<(), PortFault>;

    /// Makes all that was written durable. Callers use [`Self::sync`].
    ///
    /// # Errors
    /// [`PortFault`].
    fn flush(&self) -> Result<(), PortFault>;

    /// Makes all that was written durable, and says up to where.
    ///
    /// # Errors
    /// [`PortFault`].
    fn sync(&self) -> Result<Synced, PortFault> {
        let newest = self.tip()?.map_or(LogIndex(0), |(index, _)| index);
        self.flush()?;
        Ok(Synced(newest))
    }
}

/// The Raft log's store. A write that was reported is durable if its batch asked
/// for it.
pub trait Log: LogReader {
    /// Term, vote and commit.
    ///
    /// # Errors
    /// [`PortFault`], as for all methods here.
    fn hard_state(&self) -> Result<HardState, PortFault>;

    /// The last stored position.
    fn last(&self) -> LogPosition;

    /// The newest remembered vote of each other node.
    ///
    /// # Errors
    /// [`PortFault`].
    fn votes(&self) -> Result<Vec<Vote>, PortFault>;

    /// Whether the end of the log was damaged when it was opened, and left out: nobody can tell
    /// whether that had been synced. Stays so until a batch says otherwise.
    ///
    /// # Errors
    /// [`PortFault`].
    fn is_damaged(&self) -> Result<bool, PortFault>;

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// [`PortFault`].
    fn sync(&self) -> Result<(), PortFault>;

    /// Writes rounds as one batch, with one sync if it asks for one.
    ///
    /// # Errors
    /// [`PortFault`].
    fn append(&self, batch: &LogBatch<'_>) -> Result<(), PortFault>;

    /// Replaces the whole log by a position, durably.
    ///
    /// # Errors
    /// [`PortFault`].
    fn reset_to(&self, start: LogStart, hard_state: HardState) -> Result<(), PortFault>;

    /// Drops entries up to and including a position, durably.
    ///
    /// # Errors
    /// [`PortFault`].
    fn compact_to(&self, start: LogStart) -> Result<(), PortFault>;
}

/// What the guard remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardRecord {
    /// The newest vote.
    pub vote: VoteGuard,
    /// Where the log ended when the vote was made.
    pub last: LogPosition,
    /// The log was committed, and durable here, at least up to here.
    pub commit: LogIndex,
    /// A record was lost before this one that may have held a vote up to this height. It is
    /// kept until the votes are past it: until then a peer may be the only one that holds it.
    pub doubted: Height,
}

impl Default for GuardRecord {
    fn default() -> Self {
        Self { vote: VoteGuard::NONE, last: LogPosition::default(), commit: LogIndex(0), doubted: Height(0) }
    }
}

/// The guard's store.
pub trait Guard {
    /// What it remembers, made durable before it is given out: a process that was
    /// killed may have written it and not synced it.
    ///
    /// # Errors
    /// [`PortFault`]: the node must not start.
    fn recall(&mut self) -> Result<GuardRecord, PortFault>;

    /// Whether there may have been a newer record, which cannot be read.
    fn is_damaged(&self) -> bool;

    /// Remembers, durably; returns after the sync.
    ///
    /// # Errors
    /// [`PortFault`]: the vote must not leave.
    fn write(&mut self, record: GuardRecord) -> Result<(), PortFault>;
}
