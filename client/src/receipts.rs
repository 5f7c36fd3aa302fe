//! Receipts: fetched, verified, and put into words. A receipt that is kept holds
//! all changes of the validators up to its head, so verification needs nothing
//! but the genesis document: it can be checked years later, offline.

use bytes::Bytes;
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{NodeId, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb;
use consilium_proto::receipt::Receipt;
use serde::Serialize;

use crate::client::Client;
use crate::counts;
use crate::error::ClientError;
use crate::submit::outcome_from;
use crate::transport::ledger_service;

/// Bytes of an encoded receipt that is kept: some thousands of changes of the
/// validators.
pub const RECEIPT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a verified receipt says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceiptReport {
    /// Hexadecimal.
    pub ledger_id: String,
    /// Hexadecimal.
    pub transaction_id: String,
    /// Fingerprint of the key, or certificate, whose signature the ledger holds, hexadecimal;
    /// absent in a receipt that does not show it, because it tells of a patient.
    pub author: Option<String>,
    /// The transaction's block.
    pub height: u64,
    /// What the rules said.
    pub outcome: &'static str,
    /// Time of the certified head, milliseconds since 1970: the transaction
    /// was on the ledger by then.
    pub by_time_ms: u64,
    /// Height of the certified head.
    pub certified_height: u64,
    /// Who signed that head.
    pub signers: Vec<Signer>,
    /// Power that signed.
    pub signed_power: u64,
    /// Power of all validators.
    pub total_power: u64,
}

/// A validator that signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// Raft id.
    pub raft_id: u64,
    /// SPIFFE id of the node; absent if it joined after the genesis, which is
    /// all that a receipt is verified with.
    pub spiffe_id: Option<String>,
    /// Its voting power.
    pub power: u64,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionFate {
    /// In a certified block, for ever; the receipt proves it.
    Certified(Box<Receipt>),
    /// May still execute.
    Pending,
    /// Not on the ledger, and can never be. The node's word: ask another
    /// node, too, where much depends on it.
    Expired,
}

impl Client {
    /// The receipt of a certified transaction, verified, with all that is needed
    /// to verify it from the genesis document alone. Who signed what tells of a patient is shown
    /// to the author, services of its member, auditors, and who may see the event that it left in
    /// the patient's log; the receipts of others prove the same without it.
    ///
    /// # Errors
    /// As [`Client::read`]; NOT_FOUND if it is not certified; a receipt that
    /// proves nothing.
    pub async fn receipt(&self, id: TransactionId) -> Result<Receipt, ClientError> {
        let request = pb::GetReceiptRequest { transaction_id: id.to_bytes(), cose: false };
        let ask = |channel, request| async move { ledger_service(channel).get_receipt(request).await };
        let answered = self.ask("GetReceipt", request, ask).await?;
        let receipt = self.check_receipt(&answered.answer, id).await;
        self.judged(&answered, receipt)
    }

    async fn check_receipt(&self, answer: &pb::GetReceiptResponse, id: TransactionId) -> Result<Receipt, ClientError> {
        let receipt = answer.receipt.as_ref();
        let receipt = receipt.ok_or_else(|| ClientError::contradiction("the answer holds no receipt"))?;
        let receipt = self.verified_receipt(receipt, id).await?;
        Ok(self.self_contained(receipt))
    }

    /// What became of a transaction. Without `valid_until_ms` (that of its
    /// body, milliseconds since 1970) an unknown one counts as pending.
    ///
    /// # Errors
    /// As [`Client::receipt`].
    pub async fn transaction_fate(
        &self,
        id: TransactionId,
        valid_until_ms: Option<u64>,
    ) -> Result<TransactionFate, ClientError> {
        let request = pb::GetTransactionRequest {
            transaction_id: id.to_bytes(),
            valid_until_ms: valid_until_ms.unwrap_or(0),
            read: None,
        };
        let answer = self
            .read(|channel| {
                let request = request.clone();
                async move { ledger_service(channel).get_transaction(request).await }
            })
            .await?;
        match answer.status() {
            pb::TransactionStatus::Pending => Ok(TransactionFate::Pending),
            pb::TransactionStatus::Expired => Ok(TransactionFate::Expired),
            pb::TransactionStatus::Certified => {
                let receipt = self.receipt(id).await?;
                let claimed = (answer.height, outcome_from(answer.outcome)?);
                if claimed != (receipt.leaf.height.0, receipt.leaf.outcome) {
                    return Err(ClientError::contradiction("the status differs from the receipt"));
                }
                Ok(TransactionFate::Certified(Box::new(receipt)))
            }
            pb::TransactionStatus::Unspecified => Err(ClientError::contradiction("the answer has no known status")),
        }
    }
}

/// Parses an encoded [`pb::Receipt`] and verifies it against a genesis.
///
/// # Errors
/// The first field that is wrong, or why the receipt proves nothing.
pub fn verify_receipt(encoded: &[u8], genesis: &Genesis) -> Result<(Receipt, ReceiptReport), ClientError> {
    use prost::Message;
    counts::check(encoded, &counts::RECEIPT)?;
    let message = pb::Receipt::decode(Bytes::copy_from_slice(encoded))
        .map_err(|_| consilium_proto::error::FieldError::malformed("receipt", "is not a Receipt"))?;
    let receipt = Receipt::try_from(&message)?;
    receipt.verify_from_genesis(genesis)?;
    let report = report(&receipt, genesis)?;
    Ok((receipt, report))
}

/// Puts a verified receipt into words. It must hold its changes of the
/// validators ([`Client::self_contained`]).
///
/// # Errors
/// If the genesis has no valid validator set.
pub fn report(receipt: &Receipt, genesis: &Genesis) -> Result<ReceiptReport, ClientError> {
    let founding = genesis.validators()?;
    let set = receipt.set_changes.last().map_or(&founding, |change| &change.next);
    let header = &receipt.head.header;
    let spiffe_id = |id: NodeId| {
        let (member, node) = genesis.nodes().find(|(_, node)| node.raft_id == id)?;
        Some(SpiffeId::node(&member.id, &node.name).to_string())
    };
    let seats = receipt.head.certificate.signatures().filter_map(|(id, _)| set.seat(id));
    let signers: Vec<_> =
        seats.map(|seat| Signer { raft_id: seat.id.0, spiffe_id: spiffe_id(seat.id), power: seat.power.0 }).collect();
    Ok(ReceiptReport {
        ledger_id: receipt.ledger_id.to_string(),
        transaction_id: receipt.leaf.transaction_id.to_string(),
        author: receipt.signed.map(|signed| signed.head.author.to_string()),
        height: receipt.leaf.height.0,
        outcome: receipt.leaf.outcome.as_str_name(),
        by_time_ms: header.time.0,
        certified_height: header.height.0,
        signed_power: signers.iter().map(|s| s.power).sum(),
        signers,
        // At most VALIDATORS_MAX * VOTING_POWER_MAX = 2^55.
        total_power: u64::try_from(set.total_power()).unwrap_or(u64::MAX),
    })
}
