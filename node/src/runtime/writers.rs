//! The threads that wait for the disk: one for the log, one for what votes wait
//! for. What they write, and in which order, is [`consilium_replica::disk`]'s.

use std::time::Instant;

use consilium_replica::Input;
use consilium_replica::disk::{LogWrite, VoteWrite, write_for_vote, write_log};
use crossbeam_channel::Receiver;

use crate::clock::record_seconds;
use crate::fault::Fault;
use crate::handle::Handle;
use crate::storage::guard::Guard;
use crate::storage::ledger_port::LedgerPort;
use crate::storage::raft_log::RaftLog;

/// Writes that are one batch, at most.
const BATCH_MAX: usize = 64;

/// Writes to the log until nobody asks any more.
///
/// # Errors
/// If the disk fails.
pub(super) fn run_log_writer(
    work: &Receiver<LogWrite>,
    log: &RaftLog,
    ledger: &LedgerPort,
    handle: &Handle,
) -> Result<(), Fault> {
    while let Ok(first) = work.recv() {
        let batch = std::iter::once(first).chain(work.try_iter().take(BATCH_MAX - 1));
        let started = Instant::now();
        let reports = write_log(log, ledger, batch)?;
        record_seconds("consilium_log_persist_seconds", started);
        for written in reports {
            if handle.report(Input::Written(written)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Writes what votes wait for until nobody asks any more.
///
/// # Errors
/// If the disk fails.
pub(super) fn run_vote_writer(
    work: &Receiver<VoteWrite>,
    mut guard: Guard,
    log: &RaftLog,
    ledger: &LedgerPort,
    handle: &Handle,
) -> Result<(), Fault> {
    while let Ok(write) = work.recv() {
        let started = Instant::now();
        let written = write_for_vote(&mut guard, log, ledger, write)?;
        record_seconds("consilium_guard_write_seconds", started);
        if handle.report(Input::Written(written)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
