//! Raft's membership: entries come into force when they are given out, and are
//! stored with the next block, so that what a restart goes on from is of one
//! moment.

use std::collections::BTreeSet;

use consilium_consensus::{EntryKind, LogEntry, LogIndex, Membership, MembershipOutcome, RaftId};

use super::Node;
use crate::bugs::Bug;
use crate::env::{CrashPoint, Env, Halt};
use crate::machine::Host;

impl Node {
    /// Puts membership entries into force; returns what they led to, for the
    /// applier to store with the next block.
    pub(super) fn apply_memberships(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        committed: &[LogEntry],
    ) -> Result<Vec<(LogIndex, Membership)>, Halt> {
        let mut memberships = Vec::new();
        for entry in committed.iter().filter(|e| matches!(e.kind, EntryKind::ConfChange(_))) {
            if env.has(Bug::LateConfChange) {
                self.held_changes.push(entry.clone());
            } else {
                memberships.extend(self.apply_membership(host, env, entry)?.map(|m| (entry.index, m)));
            }
        }
        Ok(memberships)
    }

    /// What a bug held back comes into force.
    pub(crate) fn apply_held_changes(&mut self, host: &mut Host, env: &mut Env) -> Result<(), Halt> {
        for entry in std::mem::take(&mut self.held_changes) {
            self.apply_membership(host, env, &entry)?;
        }
        Ok(())
    }

    fn apply_membership(
        &mut self,
        host: &mut Host,
        env: &mut Env,
        entry: &LogEntry,
    ) -> Result<Option<Membership>, Halt> {
        match self.core.apply_membership(entry) {
            Ok(MembershipOutcome::Applied(membership)) => {
                env.note(format_args!("{} membership {:?}", host.machine, ids(&membership)));
                env.stats.count("membership changes applied");
                if host.honest() {
                    env.oracle.membership(host.node, entry.index, &membership);
                }
                if env.has(Bug::MembershipApart) {
                    let mut log = host.disk.log.borrow_mut();
                    log.write_membership(&membership);
                    log.sync();
                }
                host.pass(CrashPoint::AfterMembership)?;
                Ok(Some(membership))
            }
            Ok(MembershipOutcome::Refused { reason }) => {
                env.note(format_args!("{} membership refused: {reason}", host.machine));
                env.stats.count("membership changes refused");
                if host.honest() {
                    env.oracle.membership_refused(&reason);
                }
                Ok(None)
            }
            Err(error) => Err(Halt::Fault(format!("membership out of order: {error}"))),
        }
    }
}

/// A configuration as plain numbers: voters, learners, outgoing voters.
fn ids(membership: &Membership) -> [Vec<u64>; 3] {
    let plain = |set: &BTreeSet<RaftId>| set.iter().map(|id| id.get()).collect();
    [plain(&membership.voters), plain(&membership.learners), plain(&membership.voters_outgoing)]
}
