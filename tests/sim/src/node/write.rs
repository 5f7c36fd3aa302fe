//! The writer: all rounds that wait are one batch with one sync. The report goes
//! first, then the messages that vouch for the round.

use std::collections::VecDeque;

use consilium_consensus::{LogPosition, Persist};
use consilium_proto::ids::NodeId;

use super::Node;
use crate::bugs::Bug;
use crate::env::{CrashPoint, Env, Halt};
use crate::event::{Packet, Timer};
use crate::machine::Host;

enum Job {
    Round(Persist),
    Compact(LogPosition),
}

/// The writer's queue, and what it writes now.
#[derive(Default)]
pub struct Writer {
    queue: VecDeque<Job>,
    writing: Vec<Job>,
}

impl Writer {
    pub(crate) fn push(&mut self, round: Persist) {
        self.queue.push_back(Job::Round(round));
    }

    pub(crate) fn compact(&mut self, position: LogPosition) {
        self.queue.push_back(Job::Compact(position));
    }
}

impl Node {
    /// Takes all that waits, unless a batch is under way.
    pub(crate) fn start_writing(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        if !self.writer.writing.is_empty() || self.writer.queue.is_empty() {
            return Ok(());
        }
        self.writer.writing = std::mem::take(&mut self.writer.queue).into();
        let time = host.sync_time(env);
        host.timer(env, time, Timer::Writer);
        if env.has(Bug::AckBeforeSync) {
            self.write_rounds(host, env, false)?;
        }
        Ok(())
    }

    /// The batch reaches the disk.
    pub(crate) fn written(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        if env.has(Bug::AckBeforeSync) {
            host.disk.log.borrow_mut().sync();
        } else {
            self.write_rounds(host, env, true)?;
        }
        for job in std::mem::take(&mut self.writer.writing) {
            if let Job::Compact(position) = job {
                host.disk.ledger.sync();
                host.pass(CrashPoint::BeforeCompaction)?;
                let mut log = host.disk.log.borrow_mut();
                log.compact_to(position);
                log.sync();
                drop(log);
                env.stats.fault(crate::swarm::Fault::Compaction);
                if let Err(error) = self.core.compact_to(position.index) {
                    env.note(format_args!("{} compaction not taken: {error}", host.machine));
                }
                self.leading.compacting = false;
            }
        }
        Ok(())
    }

    fn write_rounds(&mut self, host: &mut Host, env: &mut Env, sync: bool) -> Result<(), Halt> {
        host.pass(CrashPoint::BeforeLog)?;
        let jobs = std::mem::take(&mut self.writer.writing);
        let (mut last, mut must_sync, mut messages) = (None, false, Vec::new());
        let mut kept = Vec::new();
        for job in jobs {
            match job {
                Job::Round(round) => {
                    if let Some(meta) = &round.snapshot {
                        if host.honest() {
                            env.oracle.resumed(host.node, meta.index, &meta.membership);
                        }
                        // The log must not start behind what the ledger holds.
                        if !env.has(Bug::LogBeforeLedger) {
                            host.disk.ledger.sync();
                        }
                        host.pass(CrashPoint::BeforeSnapshot)?;
                        env.stats.count("snapshots installed");
                    }
                    host.disk.log.borrow_mut().write_round(&round);
                    must_sync |= round.must_sync;
                    last = Some(round.seq);
                    messages.extend(round.messages_after);
                }
                Job::Compact(position) => kept.push(Job::Compact(position)),
            }
        }
        // Something must stay, or the next batch would start before its time.
        self.writer.writing = kept;
        if must_sync && sync {
            host.disk.log.borrow_mut().sync();
        }
        let Some(seq) = last else { return Ok(()) };
        host.pass(CrashPoint::AfterLog)?;
        if host.honest() {
            env.oracle.reported(host.node, host.disk.log.borrow().hard_state());
        }
        self.core.persisted(seq).map_err(|e| Halt::Fault(e.to_string()))?;
        for message in messages {
            host.send(env, NodeId(message.to.get()), Packet::Raft(message.bytes));
        }
        Ok(())
    }
}
