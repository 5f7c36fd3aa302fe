//! The threads that wait for the disk. What they do, and in which order, is the
//! product's (`consilium_replica::disk`); that it takes time is simulated.

use consilium_replica::Input;
use consilium_replica::disk::{LogWrite, VoteWrite, write_for_vote, write_log};

use super::Node;
use crate::bugs::Bug;
use crate::env::{Env, Halt};
use crate::event::Timer;
use crate::host::Host;

impl Node {
    pub(super) fn write_log(&mut self, host: &mut Host, env: &mut Env, write: LogWrite) -> Result<(), Halt> {
        self.log_queue.push_back(write);
        self.start_log(host, env)
    }

    /// Takes all that waits, unless a batch is under way.
    fn start_log(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        if !self.log_writing.is_empty() || self.log_queue.is_empty() {
            return Ok(());
        }
        self.log_writing = std::mem::take(&mut self.log_queue).into();
        let time = host.sync_time(env);
        host.timer(env, time, Timer::LogWriter);
        if env.has(Bug::AckBeforeSync) {
            self.do_log_writes(host, env, true)?;
        }
        Ok(())
    }

    /// The batch reaches the disk.
    pub(super) fn log_written(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        if env.has(Bug::AckBeforeSync) {
            host.disk.log.borrow_mut().sync();
        } else {
            self.do_log_writes(host, env, false)?;
        }
        self.log_writing.clear();
        self.start_log(host, env)
    }

    fn do_log_writes(&mut self, host: &mut Host, env: &mut Env, lazy: bool) -> Result<(), Halt> {
        let writes = self.log_writing.clone();
        for write in &writes {
            match write {
                LogWrite::Round(round) => {
                    round.entries.iter().for_each(|entry| env.oracle.writes(host.node, entry));
                    let Some(meta) = &round.snapshot else { continue };
                    *host.disk.apart.borrow_mut() = meta.membership.clone();
                    if host.honest() {
                        env.oracle.resumed(host.node, meta.index, &meta.membership);
                        env.stats.count("snapshots installed");
                    }
                }
                LogWrite::Compact(_) => env.stats.fault(crate::swarm::Fault::Compaction),
                LogWrite::Votes(_) | LogWrite::Sync | LogWrite::Trust => {}
            }
        }
        let ledger = host.writer_ledger(env);
        let reports = write_log(&host.disk.log_port(lazy), &ledger, writes).map_err(|e| host.failed(&e))?;
        host.disk.guard.note_end(host.disk.log.borrow().durable_last().index);
        env.oracle.log_begins(host.node, host.disk.log.borrow().durable_truncated().index);
        if host.honest() {
            env.oracle.reported(host.node, host.disk.log.borrow().hard_state());
        }
        reports.into_iter().for_each(|written| self.push(host, env, Input::Written(written)));
        Ok(())
    }

    pub(super) fn write_for_vote(&mut self, host: &Host, env: &mut Env, write: VoteWrite) {
        self.vote_queue.push_back(write);
        self.start_vote(host, env);
    }

    /// The thread gets to the next write, unless it is at one.
    fn start_vote(&self, host: &Host, env: &mut Env) {
        if self.vote_writing.is_none() && !self.vote_queue.is_empty() {
            let time = host.sync_time(env).div_ceil(2);
            host.timer(env, time, Timer::VoteWriter);
        }
    }

    /// Half of the time goes by before a write, and half while it is synced: a crash
    /// finds it not there, or may tear it.
    pub(super) fn vote_writer(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        match self.vote_writing.take() {
            Some(written) => {
                host.disk.guard_port(None).sync().map_err(|e| host.failed(&e))?;
                if host.honest() {
                    let remembered = host.disk.guard.read().unwrap_or_default().vote;
                    env.oracle.remembered(host.node, remembered.voted_height);
                }
                self.push(host, env, Input::Written(written));
                self.start_vote(host, env);
            }
            None => {
                let Some(write) = self.vote_queue.pop_front() else { return Ok(()) };
                let (log, ledger) = (host.disk.log_port(false), host.disk.ledger_port());
                let written = write_for_vote(&mut host.disk.guard_port(None), &log, &ledger, write);
                self.vote_writing = Some(written.map_err(|e| host.failed(&e))?);
                let time = host.sync_time(env).div_ceil(2);
                host.timer(env, time, Timer::VoteWriter);
            }
        }
        Ok(())
    }
}
