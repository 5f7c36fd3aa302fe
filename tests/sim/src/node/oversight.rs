//! What a node looks at from time to time: whether the chain is being certified,
//! whether the log is long enough to be cut, and followers that need a snapshot.

use consilium_consensus::{Role, SnapshotMeta};
use consilium_proto::ids::Height;

use super::Node;
use crate::bugs::Bug;
use crate::env::Env;
use crate::machine::Host;

/// How long a chain may stand still before the leader is changed.
const CERTIFICATE_TIMEOUT_MS: u64 = 3_000;
/// Blocks that the log keeps behind the newest certificate.
const ENTRIES_KEPT: u64 = 4;

impl Node {
    /// A chain that is executed and not certified is the leader's to answer for.
    pub(crate) fn watch_certificates(&mut self, host: &mut Host, env: &mut Env) {
        let (applied, certified) = (self.height(), self.certified());
        if certified >= applied {
            self.leading.distrusts = false;
            self.leading.stalled_since = None;
            self.core.trust_leader();
            return;
        }
        match self.leading.stalled_since {
            Some((height, _)) if height != certified => {
                self.core.trust_leader();
                self.leading.distrusts = false;
                self.leading.stalled_since = Some((certified, env.now));
            }
            None => self.leading.stalled_since = Some((certified, env.now)),
            Some((_, since)) if env.now - since > CERTIFICATE_TIMEOUT_MS => {
                self.leading.stalled_since = Some((certified, env.now));
                self.change_leader(host, env);
            }
            Some(_) => {}
        }
    }

    /// A leader hands over; the others stop listening to it, and listen again
    /// after as long a time.
    fn change_leader(&mut self, host: &mut Host, env: &mut Env) {
        if self.core.role() == Role::Leader {
            let result = self.core.transfer_leadership(None);
            env.note(format_args!("{} gives up leadership: {result:?}", host.machine));
        } else if self.leading.distrusts && !env.has(Bug::DistrustForever) {
            self.core.trust_leader();
            self.leading.distrusts = false;
        } else if let Some(leader) = self.core.distrust_leader() {
            self.leading.distrusts = true;
            env.stats.count("leaders distrusted");
            env.note(format_args!("{} distrusts {leader}", host.machine));
        }
    }

    /// Cuts a long log. Compaction never passes the newest certified block.
    pub(crate) fn compact(&mut self, host: &Host, env: &Env) {
        let status = self.core.status();
        let held = self.applier.applied.0.saturating_sub(status.truncated.0);
        if self.leading.compacting || held <= env.swarm.log_entries_max {
            return;
        }
        let height = Height(self.certified().0.saturating_sub(ENTRIES_KEPT));
        let position = host.disk.ledger.position(height);
        if let Some(position) = position.filter(|p| p.index > status.truncated && p.index <= self.applier.applied) {
            self.leading.compacting = true;
            self.writer.compact(position);
        }
    }

    pub(crate) fn offer_snapshot(&mut self, host: &mut Host, env: &mut Env) {
        let ledger = &host.disk.ledger;
        let Some(position) = ledger.position(self.certified()) else { return };
        let now = self.core.status().membership;
        let at = ledger.membership_at(self.certified()).cloned();
        let Some(membership) = (if env.has(Bug::MembershipApart) { Some(now) } else { at }) else { return };
        let meta = SnapshotMeta { index: position.index, term: position.term, membership };
        if let Err(error) = self.core.offer_snapshot(meta) {
            env.note(format_args!("{} cannot offer a snapshot: {error}", host.machine));
        }
    }
}
