//! Where in a node's work a machine may fail: before or after each of its writes.

/// A place in a node's work where a machine may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashPoint {
    /// Before a batch of the Raft log (entries, hard state) is written.
    BeforeLog,
    /// After it is synced, before anybody knows.
    AfterLog,
    /// After its end was replaced by something shorter, as a later leader may have it.
    AfterCut,
    /// After a sync of the ledger, before what waited for it.
    AfterLedgerSync,
    /// Before a block's batch is written.
    BeforeBlock,
    /// After it is written.
    AfterBlock,
    /// Before the guard is synced.
    BeforeGuard,
    /// After it is synced, before the vote leaves.
    AfterGuard,
    /// Before a certificate is stored.
    BeforeCertificate,
    /// After it is stored.
    AfterCertificate,
    /// Between the blocks of catching up and the new start of the log.
    BeforeSnapshot,
    /// Between the ledger's sync and the cut of the log.
    BeforeCompaction,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::BeforeLog,
        Self::AfterLog,
        Self::AfterCut,
        Self::AfterLedgerSync,
        Self::BeforeBlock,
        Self::AfterBlock,
        Self::BeforeGuard,
        Self::AfterGuard,
        Self::BeforeCertificate,
        Self::AfterCertificate,
        Self::BeforeSnapshot,
        Self::BeforeCompaction,
    ];
}
