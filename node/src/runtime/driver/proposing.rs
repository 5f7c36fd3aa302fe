//! Proposing blocks, while this node leads.

use consilium_proto::limits::{EVIDENCE_PER_BLOCK_MAX, VALIDATORS_MAX};
use consilium_proto::observed::Observed;
use consilium_proto::pb::JailReason;

use super::*;
use crate::runtime::shared::Sightings;

impl Driver {
    /// Cuts blocks from the queue while there is room for more under way.
    pub(super) fn propose(&mut self) {
        if self.core.role() != Role::Leader || self.stopping {
            return;
        }
        let topology = self.shared.topology.get();
        let parameters = topology.parameters();
        let room = |d: &Self| d.proposed.0.saturating_sub(d.applied.0) < d.config.raft.blocks_in_flight.get() as u64;
        while room(self) && (!self.mempool.is_empty() || self.time_block_due()) {
            let transactions =
                self.mempool.cut(parameters.block_transactions_max as usize, parameters.block_bytes_max as usize);
            if !self.propose_block(transactions) {
                break;
            }
        }
        self.shared.queued.store(self.mempool.len(), Ordering::Relaxed);
    }

    /// Whether a block without transactions is wanted: somebody waits for the
    /// ledger's time to pass, or the epoch is over and only a block can end it.
    pub(super) fn time_block_due(&self) -> bool {
        if self.proposed > self.applied {
            return false;
        }
        let (now, time) = (now_ms(), self.shared.applied.borrow().time);
        let behind = |after| time <= after && now > after;
        let epoch_over = now >= self.shared.topology.get().epoch_ends();
        epoch_over || self.time_wanted.is_some_and(behind)
    }

    pub(super) fn propose_block(&mut self, transactions: Vec<CheckedTransaction>) -> bool {
        let observed = self.observed();
        let block = CheckedBlock { time: now_ms(), proposer: self.shared.me, observed, transactions };
        let mut proposal = pb::BlockProposal {
            time_ms: block.time.0,
            proposer: block.proposer.0,
            transactions: block.transactions.iter().map(|t| t.transaction.to_wire()).collect(),
            ..pb::BlockProposal::default()
        };
        block.observed.write_to_proposal(&mut proposal);
        metrics::histogram!("consilium_block_transactions").record(block.transactions.len() as f64);
        match self.core.propose(proposal.encode_to_vec().into()) {
            Ok(proposed) => {
                self.proposed = proposed.index;
                let position = LogPosition { index: proposed.index, term: proposed.term };
                self.blocks.finish(position, Some(block));
                true
            }
            Err(error) => {
                self.take_back(block.transactions, &error);
                false
            }
        }
    }

    /// A block that was not taken goes back where it can be sent again from.
    pub(super) fn take_back(&mut self, transactions: Vec<CheckedTransaction>, error: &ProposeError) {
        tracing::debug!(%error, "proposal not taken");
        for checked in transactions {
            let id = checked.transaction.id;
            if !self.mempool.push(checked) {
                self.shared.waiters.refuse(&id, Refused::Overloaded);
            }
        }
    }

    /// What the ledger has not recorded yet of who is there and who lied.
    pub(super) fn observed(&self) -> Observed {
        let certified = self.shared.certified.borrow().clone();
        let topology = self.shared.topology.get();
        let mut sightings = self.shared.sightings();
        let Sightings { unseen, votes, evidence } = &mut *sightings;
        votes.retain(|node, _| unseen.contains(node));
        evidence.retain(|node, _| topology.node(*node).is_some_and(|n| n.jailed != JailReason::Equivocation));
        Observed {
            certificate: certified.map(|c| c.certificate.clone()),
            votes: votes.values().take(VALIDATORS_MAX).cloned().collect(),
            evidence: evidence.values().take(EVIDENCE_PER_BLOCK_MAX).cloned().collect(),
        }
    }
}
