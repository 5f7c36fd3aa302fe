//! How a log entry becomes a block. All nodes must do this alike: what is left
//! out, and what counts as nothing, is a rule of the network.

use std::ops::RangeInclusive;

use bytes::Bytes;
use consilium_ledger::CheckedTransaction;
use consilium_proto::ids::{LedgerId, NodeId, TimeMs};
use consilium_proto::limits::{BLOCK_TRANSACTIONS_MAX, EVIDENCE_PER_BLOCK_MAX, VALIDATORS_MAX};
use consilium_proto::observed::Observed;
use consilium_proto::pb;
use consilium_proto::transaction::Transaction;
use consilium_proto::wire_cost;
use consilium_proto::wire_scan::{self, Value};
use prost::{Message, Name};

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

/// Milliseconds that a block may take from its leader's clock to a node that hears the leader,
/// whatever disks and networks do.
pub const LATE_MS: u64 = 10_000;

/// Bytes that a body has at least for each attachment: its SHA-256.
const COMMITMENT_BYTES: usize = 32;

/// Whether a proposal may be acknowledged: it is one, nothing of it grows beyond
/// measure when it is decoded, its time is within `times`, and it names its `proposer`,
/// where that is known. Nothing is decoded here, and a proposal that passes may still hold
/// what counts as nothing.
///
/// # Errors
/// What is wrong. An honest leader with a right clock proposes no such thing.
pub fn judge(entry: &[u8], times: &RangeInclusive<TimeMs>, proposer: Option<NodeId>) -> Result<(), &'static str> {
    wire_cost::check(&pb::BlockProposal::full_name(), entry).map_err(wire_cost::Refused::what)?;
    let mut named = NodeId(0);
    let (mut time, mut transactions, mut votes, mut evidence) = (TimeMs(0), 0, 0, 0);
    for field in wire_scan::fields(entry) {
        match field.map_err(|wire_scan::Malformed| "is no proposal")? {
            (1, Value::Varint(time_ms)) => time = TimeMs(time_ms),
            (2, Value::Varint(id)) => named = NodeId(id),
            (3, Value::Bytes(transaction)) => {
                transactions += 1;
                judge_transaction(transaction)?;
            }
            (5, _) => votes += 1,
            (6, _) => evidence += 1,
            _ => {}
        }
    }
    if transactions > BLOCK_TRANSACTIONS_MAX {
        return Err("has more transactions than a block may have");
    }
    if votes > VALIDATORS_MAX || evidence > EVIDENCE_PER_BLOCK_MAX {
        return Err("has more observations than a block may have");
    }
    if proposer.is_some_and(|proposer| proposer != named) {
        return Err("names another proposer than the leader");
    }
    if time > *times.end() {
        return Err("its time is ahead of this node's clock");
    }
    if time < *times.start() {
        return Err("its time is behind this node's clock");
    }
    Ok(())
}

fn judge_transaction(transaction: &[u8]) -> Result<(), &'static str> {
    let (mut body, mut attachments) = (0, 0);
    for field in wire_scan::fields(transaction) {
        match field.map_err(|wire_scan::Malformed| "has a transaction that is none")? {
            (1, Value::Bytes(bytes)) => body = bytes.len(),
            (4, _) => attachments += 1,
            _ => {}
        }
    }
    match attachments * COMMITMENT_BYTES > body {
        true => Err("has a transaction with more attachments than it can name"),
        false => Ok(()),
    }
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

#[cfg(test)]
mod tests;
