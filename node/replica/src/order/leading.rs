//! What a leader does beside proposing: it moves Raft's voters to the elected set,
//! one safe step at a time, and hands leadership on when its turn is over. The
//! steps themselves are decided by [`consilium_consensus::reconcile`].

use std::collections::BTreeSet;

use consilium_consensus::reconcile::{Desired, Limits, Step, next_step, rotation_target};
use consilium_consensus::{Core, LogReader, PeerProgress, RaftId, Role, Status};
use consilium_proto::ids::Height;

use super::reconciliation::Reconciliation;
use crate::io::Output;
use crate::notice::Notice;
use crate::topology::Topology;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Leading {
    /// Height at which the present leader was first known.
    since: Height,
    reconciliation: Option<Reconciliation>,
}

/// How far the chain is, for decisions of a leader.
pub(crate) struct Progress<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) applied: Height,
    pub(crate) certified: Height,
}

impl Leading {
    pub(crate) fn reconciliation(&self) -> Option<&Reconciliation> {
        self.reconciliation.as_ref()
    }

    /// Leader, term or role changed.
    pub(crate) fn leadership_changed(&mut self, applied: Height) {
        self.since = applied;
    }

    /// One step, if this node leads and one is due.
    pub(crate) fn step<R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        progress: &Progress<'_>,
        stopping: bool,
        out: &mut Vec<Output>,
    ) {
        let status = core.status();
        self.reconciliation = match (status.role, stopping) {
            (Role::Leader, false) => Some(self.reconcile(core, &status, progress, out)),
            (Role::Leader | Role::Follower | Role::Candidate | Role::PreCandidate, _) => None,
        };
    }

    fn reconcile<R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        status: &Status,
        progress: &Progress<'_>,
        out: &mut Vec<Output>,
    ) -> Reconciliation {
        let Some(desired) = desired(progress) else { return Reconciliation::AwaitingBoundary };
        let limits = Limits::default();
        match next_step(&desired, status, &limits) {
            Step::Settled => {
                self.rotate(core, &desired, status, progress, out);
                Reconciliation::Settled
            }
            Step::Wait(reason) => Reconciliation::Waiting(reason),
            Step::HandOver(to) => {
                hand_over(core, Some(to), out);
                Reconciliation::HandingOver(to)
            }
            Step::Change(changes) => {
                out.push(Output::Notice(match core.propose_membership(&changes) {
                    Ok(_) => Notice::MembershipProposed(changes.clone()),
                    Err(error) => Notice::MembershipNotProposed(error.to_string()),
                }));
                Reconciliation::Proposed(changes)
            }
        }
    }

    fn rotate<R: LogReader>(
        &mut self,
        core: &mut Core<R>,
        desired: &Desired,
        status: &Status,
        progress: &Progress<'_>,
        out: &mut Vec<Output>,
    ) {
        let every = progress.topology.parameters().rotation_blocks;
        let led = progress.applied.0.saturating_sub(self.since.0);
        if every == 0 || led < every {
            return;
        }
        if let Some(to) = rotation_target(desired, status, &Limits::default()) {
            // Counts again from here if the transfer fails.
            self.since = progress.applied;
            out.push(Output::Notice(Notice::Rotating(to)));
            hand_over(core, Some(to), out);
        }
    }
}

/// Voters are the validators of the newest epoch whose beginning is certified;
/// before that nobody moves.
pub(crate) fn desired(progress: &Progress<'_>) -> Option<Desired> {
    let topology = progress.topology;
    if progress.certified.next() < topology.epoch().first_height {
        return None;
    }
    Some(Desired { voters: topology.elected(), learners: topology.raft_ids() })
}

/// Voters that are elected, answer this leader, and have not let an offer pass lately.
pub(crate) fn candidates(status: &Status, elected: &BTreeSet<RaftId>) -> BTreeSet<RaftId> {
    let retry_ticks = Limits::default().handover_retry_ticks;
    let may = |peer: &PeerProgress| {
        peer.recently_active && peer.ticks_since_declined.is_none_or(|ticks| ticks >= retry_ticks)
    };
    let peers = status.peers.iter().filter(|(id, peer)| status.membership.is_voter(**id) && may(peer));
    peers.map(|(id, _)| *id).filter(|id| elected.contains(id)).collect()
}

/// Hands leadership over, to whom the core chooses if nobody is named.
pub(crate) fn hand_over<R: LogReader>(core: &mut Core<R>, to: Option<RaftId>, out: &mut Vec<Output>) {
    out.push(Output::Notice(match core.transfer_leadership(to) {
        Ok(to) => Notice::HandingOver(to),
        Err(error) => Notice::NotHandedOver(error.to_string()),
    }));
}
