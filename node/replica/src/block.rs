//! How a log entry becomes a block. All nodes must do this alike: what is left
//! out, and what counts as nothing, is a rule of the network.

use bytes::Bytes;
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{LedgerId, NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;
use prost::Message;

/// A decoded proposal.
#[derive(Debug, Clone)]
pub struct CheckedBlock {
    /// As proposed.
    pub time: TimeMs,
    /// The leader's own claim.
    pub proposer: NodeId,
    /// Those that passed the stateless checks.
    pub transactions: Vec<CheckedTransaction>,
    /// What the leader had seen.
    pub observed: Observed,
}

impl CheckedBlock {
    /// Decodes a log entry; `None` if it is no proposal. A transaction that fails
    /// the stateless checks is left out, and malformed observations count as none:
    /// an honest leader proposes neither, and a liar's block must cost the others
    /// nothing but the lie. No signature is looked at here.
    #[must_use]
    pub fn decode(entry: Bytes, ledger: LedgerId) -> Option<Self> {
        let proposal = pb::BlockProposal::decode(entry).ok()?;
        let observed = Observed::of_proposal(&proposal).unwrap_or_default();
        let transactions = proposal
            .transactions
            .iter()
            .filter_map(|t| Transaction::parse(t, ledger).ok())
            .map(|transaction| CheckedTransaction { transaction, verified_under: None })
            .collect();
        Some(Self { time: TimeMs(proposal.time_ms), proposer: NodeId(proposal.proposer), transactions, observed })
    }

    /// The log entry of a block that this node proposes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut proposal = pb::BlockProposal {
            time_ms: self.time.0,
            proposer: self.proposer.0,
            transactions: self.transactions.iter().map(|t| t.transaction.to_wire()).collect(),
            ..pb::BlockProposal::default()
        };
        self.observed.write_to_proposal(&mut proposal);
        proposal.encode_to_vec().into()
    }
}
