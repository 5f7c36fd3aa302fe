//! What a leader does beside proposing: it moves Raft's voters to the elected
//! set, one safe step at a time, and hands leadership on when its turn is over.
//! The steps themselves are decided by [`consilium_consensus::reconcile`].

use std::sync::PoisonError;

use consilium_consensus::reconcile::{Desired, Limits, Step, next_step, rotation_target};

use super::*;

impl Driver {
    /// Tells the core which peers may speak, after the ledger has changed them.
    pub(super) fn follow_topology(&mut self) {
        if self.topology.has_changed().unwrap_or(false) {
            self.topology.mark_unchanged();
            let topology = self.shared.topology.get();
            self.core.set_known_peers(topology.peer_ids());
            if topology.node(self.shared.me).is_none() {
                let message = format!(
                    "raft id {} is retired: this node was replaced or taken out; it can be switched off when the \
                     leader's `consilium status` says `settled`; see docs/membership.md",
                    self.shared.me
                );
                self.shared.alarms.raise("node_retired", message);
            }
        }
    }

    /// One step, if this node leads and one is due.
    pub(super) fn lead(&mut self) {
        let status = self.core.status();
        if status.role != Role::Leader || self.stopping {
            self.say(String::new());
            return;
        }
        let Some(desired) = self.desired() else {
            self.say("waiting for the certificate of the header that ended the last epoch".into());
            return;
        };
        let limits = Limits::default();
        match next_step(&desired, &status, &limits) {
            Step::Settled => {
                self.say("settled".into());
                self.rotate(&desired, &status, &limits);
            }
            Step::Wait(reason) => self.say(format!("waiting: {reason}")),
            Step::HandOver(to) => {
                self.say(format!("handing leadership to node {}, which is elected", to.get()));
                self.hand_over(to);
            }
            Step::Change(changes) => {
                tracing::info!(?changes, "changing the membership");
                self.say(format!("proposed: {changes:?}"));
                if let Err(error) = self.core.propose_membership(&changes) {
                    tracing::warn!(%error, "membership change not proposed");
                }
            }
        }
    }

    /// Voters are the validators of the newest epoch whose beginning is
    /// certified; before that nobody moves.
    fn desired(&self) -> Option<Desired> {
        let topology = self.shared.topology.get();
        if self.shared.certified_height().next() < topology.epoch().first_height {
            return None;
        }
        let voters = topology.elected().into_iter().collect();
        Some(Desired { voters, learners: topology.raft_ids().into_iter().collect() })
    }

    fn rotate(&mut self, desired: &Desired, status: &consilium_consensus::Status, limits: &Limits) {
        let every = self.shared.topology.get().parameters().rotation_blocks;
        let led = self.shared.applied.borrow().height.0.saturating_sub(self.leading_since.0);
        if every == 0 || led < every {
            return;
        }
        if let Some(to) = rotation_target(desired, status, limits) {
            // Counts again from here if the transfer fails.
            self.leading_since = self.shared.applied.borrow().height;
            self.hand_over(to);
        }
    }

    fn hand_over(&mut self, to: RaftId) {
        match self.core.transfer_leadership(Some(to)) {
            Ok(to) => tracing::info!(to = to.get(), "handing leadership over"),
            Err(error) => tracing::warn!(%error, "leadership not handed over"),
        }
    }

    fn say(&self, words: String) {
        *self.shared.reconciliation.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}
