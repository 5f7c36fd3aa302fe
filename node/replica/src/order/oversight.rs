//! What every node looks at from time to time: whether the chain is being
//! certified, and whether the log is long enough to be cut.

use consilium_consensus::{Core, LogPosition, LogReader, Role};
use consilium_proto::ids::Height;

use super::leading::hand_over;
use crate::disk::LogWrite;
use crate::io::Output;
use crate::notice::{Alarm, AlarmName, Notice};
use crate::ports::{Ledger, PortFault};

/// See the module.
#[derive(Debug)]
pub(crate) struct Oversight {
    certificate_timeout_ms: u64,
    log_entries_max: u64,
    log_entries_kept: u64,
    /// The certified height, and since when it has not moved.
    stalled_since: Option<(Height, u64)>,
    distrusting: bool,
    /// The leader proposed what was refused: it is not trusted again before.
    refused_until_ms: u64,
    compacting: bool,
}

impl Oversight {
    pub(crate) fn new(certificate_timeout_ms: u64, (log_entries_max, log_entries_kept): (u64, u64)) -> Self {
        Self {
            certificate_timeout_ms,
            log_entries_max,
            log_entries_kept,
            stalled_since: None,
            distrusting: false,
            refused_until_ms: 0,
            compacting: false,
        }
    }

    /// Another leader gets the time that the last one had.
    pub(crate) fn leadership_changed(&mut self) {
        self.stalled_since = None;
        self.refused_until_ms = 0;
    }

    /// The leader proposed what this node does not acknowledge. If others see it as
    /// this node does, they elect another one.
    pub(crate) fn refuse_leader<R: LogReader>(&mut self, core: &mut Core<R>, now_ms: u64, out: &mut Vec<Output>) {
        self.refused_until_ms = now_ms.saturating_add(self.certificate_timeout_ms);
        self.distrust_leader(core, out);
    }

    fn distrust_leader<R: LogReader>(&mut self, core: &mut Core<R>, out: &mut Vec<Output>) {
        if let Some(leader) = core.distrust_leader()
            && !std::mem::replace(&mut self.distrusting, true)
        {
            out.push(Output::Notice(Notice::LeaderDistrusted(leader)));
        }
    }

    /// A chain that is executed and not certified is the leader's to answer for: it
    /// hands over, or the others stop listening to it.
    pub(crate) fn watch_certificates<R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        (applied, certified): (Height, Height),
        now_ms: u64,
        out: &mut Vec<Output>,
    ) {
        if certified >= applied {
            self.stalled_since = None;
            self.trust_leader(core, now_ms, out);
            return out.push(Output::Clear(AlarmName::CertificatesStalled));
        }
        match self.stalled_since {
            Some((height, _)) if height != certified => {
                self.trust_leader(core, now_ms, out);
                self.stalled_since = Some((certified, now_ms));
            }
            None => self.stalled_since = Some((certified, now_ms)),
            Some((_, since)) if now_ms.saturating_sub(since) > self.certificate_timeout_ms => {
                self.stalled_since = Some((certified, now_ms));
                out.push(Output::Raise(Alarm::CertificatesStalled { applied, certified }));
                self.change_leader(core, now_ms, out);
            }
            Some(_) => {}
        }
    }

    fn trust_leader<R: LogReader>(&mut self, core: &mut Core<R>, now_ms: u64, out: &mut Vec<Output>) {
        if now_ms < self.refused_until_ms {
            return;
        }
        core.trust_leader();
        if std::mem::take(&mut self.distrusting) {
            out.push(Output::Notice(Notice::LeaderTrusted));
        }
    }

    /// A leader hands over; the others stop listening to it, and listen again after
    /// as long a time: where only this node lacks certificates, the leader is the
    /// one to get them from, and its term may never end.
    fn change_leader<R: LogReader>(&mut self, core: &mut Core<R>, now_ms: u64, out: &mut Vec<Output>) {
        if core.role() == Role::Leader {
            hand_over(core, None, out);
        } else if self.distrusting {
            self.trust_leader(core, now_ms, out);
        } else {
            self.distrust_leader(core, out);
        }
    }

    /// Cuts a long log: never above the newest certified block, which is what a
    /// snapshot can be offered of. Raft hears of it before the disk does: it must not
    /// look for an entry there that is gone.
    pub(crate) fn compact<L: Ledger, R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        ledger: &L,
        certified: Height,
        out: &mut Vec<Output>,
    ) -> Result<(), PortFault> {
        // What was executed from blocks of a peer is not in the log.
        let raft = core.status();
        let held = raft.applied.0.saturating_sub(raft.truncated.0);
        if self.compacting || held <= self.log_entries_max {
            return Ok(());
        }
        let height = Height(certified.0.saturating_sub(self.log_entries_kept));
        let held = |position: &LogPosition| position.index > raft.truncated && position.index <= raft.applied;
        let Some(position) = ledger.position(height)?.filter(held) else { return Ok(()) };
        match core.compact_to(position.index) {
            Ok(_) => {
                self.compacting = true;
                out.push(Output::WriteLog(LogWrite::Compact(position)));
            }
            Err(error) => out.push(Output::Notice(Notice::CompactionNotTaken(error.to_string()))),
        }
        Ok(())
    }

    /// The log was cut.
    pub(crate) fn compacted(&mut self) {
        self.compacting = false;
    }
}
