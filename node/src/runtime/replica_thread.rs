//! The thread that runs the replica: all that waits goes in at once, and what
//! comes out is done in order.

use std::time::{Duration, Instant};

use consilium_replica::{CachedLedger, Input, Output, Replica};
use crossbeam_channel::RecvTimeoutError;

use super::perform::Performer;
use crate::clock::{Clocks, record_seconds};
use crate::fault::Fault;
use crate::handle::{Delivery, LaneEnds};
use crate::storage::ledger_port::LedgerPort;
use crate::storage::raft_log::RaftLog;

/// Inputs taken at once.
const INPUTS_MAX: usize = 1_024;
/// Ticks that are made up for after a stall: more would start elections for having
/// been slow.
const CATCH_UP_TICKS_MAX: u32 = 2;

/// The replica of a daemon.
pub(super) type NodeReplica = Replica<CachedLedger<LedgerPort>, RaftLog>;

/// Runs until it is told to stop.
///
/// # Errors
/// The fault for which the replica cannot go on.
pub(super) fn run(
    mut replica: NodeReplica,
    mut performer: Performer,
    deliveries: &LaneEnds<Delivery>,
    clocks: Clocks,
    tick: Duration,
) -> Result<(), Fault> {
    let mut ticks = Ticks { next: Instant::now() + tick, every: tick };
    let mut turn_at: Option<Instant> = None;
    let mut inputs = Vec::with_capacity(INPUTS_MAX);
    loop {
        let patience = match inputs.is_empty() {
            true => turn_at.map_or(ticks.next, |at| at.min(ticks.next)).saturating_duration_since(Instant::now()),
            false => Duration::ZERO,
        };
        let first = match deliveries.recv_timeout(patience) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        for delivery in first.into_iter().chain(deliveries.waiting(INPUTS_MAX - 1)) {
            match delivery {
                Delivery::Input(input, _) => inputs.push(input),
                Delivery::Halt => return Ok(()),
            }
        }
        let passed = ticks.passed();
        inputs.extend((passed > 0).then(|| performer.take_gone()).flatten());
        inputs.extend((0..passed).map(|_| Input::Tick));
        let started = Instant::now();
        turn_at = turn_at.filter(|at| *at > started);
        let outputs = replica.handle(clocks.read(), inputs.drain(..));
        record_seconds("consilium_replica_turn_seconds", started);
        for output in outputs {
            inputs.extend(matches!(output, Output::Continue).then_some(Input::Continue));
            if let Output::TurnIn { ms } = output {
                turn_at = Some(started + Duration::from_millis(ms));
            }
            performer.perform(output)?;
        }
    }
}

struct Ticks {
    next: Instant,
    every: Duration,
}

impl Ticks {
    /// How many are due, of those that are made up for.
    fn passed(&mut self) -> u32 {
        let mut passed = 0;
        while self.next <= Instant::now() {
            self.next += self.every;
            passed += 1;
        }
        passed.min(CATCH_UP_TICKS_MAX)
    }
}
