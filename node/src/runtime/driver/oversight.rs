//! What the driver looks at from time to time: whether the chain is being
//! certified, whether the log is long enough to be cut, and followers that need
//! a snapshot. It never decides who votes; see [`super::leading`].

use super::*;

impl Driver {
    /// A chain that is executed and not certified is the leader's to answer
    /// for: it hands over, or the others stop listening to it.
    pub(super) fn watch_certificates(&mut self) {
        let (applied, certified) = (self.shared.applied.borrow().height, self.shared.certified_height());
        if certified >= applied {
            self.stalled_since = None;
            self.trust_leader();
            self.shared.alarms.clear("certificates_stalled");
            return;
        }
        match self.stalled_since {
            Some((height, _)) if height != certified => {
                self.trust_leader();
                self.stalled_since = Some((certified, Instant::now()));
            }
            None => self.stalled_since = Some((certified, Instant::now())),
            Some((_, since)) if since.elapsed() > self.config.raft.certificate_timeout => {
                self.stalled_since = Some((certified, Instant::now()));
                self.certificates_stalled(applied, certified);
            }
            Some(_) => {}
        }
    }

    fn trust_leader(&mut self) {
        self.core.trust_leader();
        self.distrusting = false;
    }

    /// A leader hands over; the others stop listening to it, and listen again
    /// after as long a time: where only this node lacks certificates, the leader
    /// is the one to get them from, and its term may never end.
    fn certificates_stalled(&mut self, applied: Height, certified: Height) {
        let message = format!(
            "blocks up to {applied} are executed, but only {certified} is certified: validators with more than a \
             third of the voting power are away or disagree; see `consilium status --all`"
        );
        self.shared.alarms.raise("certificates_stalled", message);
        if self.core.role() == Role::Leader {
            if let Err(error) = self.core.transfer_leadership(None) {
                tracing::warn!(%error, "cannot hand leadership over");
            }
        } else if self.distrusting {
            self.trust_leader();
        } else if let Some(leader) = self.core.distrust_leader() {
            self.distrusting = true;
            tracing::warn!(leader = leader.get(), "no certificates: waiting for another leader");
        }
    }

    /// Compaction never passes the newest certified block, which is what a
    /// snapshot can be offered of.
    pub(super) fn compact(&mut self) {
        let status = self.core.status();
        let raft = &self.config.raft;
        let held = self.applied.0.saturating_sub(status.truncated.0);
        if self.compacting || held <= raft.log_entries_max.get() {
            return;
        }
        let behind = raft.log_entries_kept.get();
        let height = Height(self.shared.certified_height().0.saturating_sub(behind));
        match self.shared.ledger.position(height) {
            Ok(Some(position)) if position.index > status.truncated && position.index <= self.applied => {
                self.compacting = self.out.writer.send(WriterMsg::Compact(position)).is_ok();
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "cannot compact the log"),
        }
    }

    pub(super) fn offer_snapshot(&mut self) {
        let height = self.shared.certified_height();
        let ledger = &self.shared.ledger;
        let (Ok(Some(position)), Ok(membership)) = (ledger.position(height), ledger.membership_at(height)) else {
            return;
        };
        let meta = SnapshotMeta { index: position.index, term: position.term, membership };
        if let Err(error) = self.core.offer_snapshot(meta) {
            tracing::debug!(%error, height = height.0, "snapshot not offered");
        }
    }

    pub(super) fn install_snapshot(&mut self, meta: &SnapshotMeta) {
        match self.core.install_snapshot(meta) {
            Ok(installed) => {
                tracing::info!(index = meta.index.0, ?installed, "caught up by certified blocks");
                self.applied = self.applied.max(meta.index);
            }
            Err(error) => tracing::warn!(%error, "snapshot not installed"),
        }
    }
}
