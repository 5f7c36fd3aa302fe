//! Decisions as files: who asked for what, what the ledger decided of it, by which consent and by
//! which access policy; verified by anybody, offline, with the genesis document alone.

use bytes::Bytes;
use consilium_proto::error::FieldError;
use consilium_proto::genesis::Genesis;
use consilium_proto::hash::Hash;
use consilium_proto::header::{Header, HeaderProof};
use consilium_proto::ids::TransactionId;
use consilium_proto::light_client::TrustedSet;
use consilium_proto::pb::{self, Outcome, action::Action};
use consilium_proto::receipt::Receipt;
use consilium_proto::signing::VerifyingKey;
use consilium_proto::state::keys;
use consilium_proto::transaction::{ActionProof, SignedHead};
use prost::Message;

use super::verify::message;
use super::{ProvenDecision, request, verify};
use crate::client::Client;
use crate::counts;
use crate::error::{ClientError, Unverified};
use crate::receipts::{ReceiptReport, report};

/// Epochs that may end while a receipt is fetched, before it is given up.
const TRIES: u32 = 3;

/// What a verified file says of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionReport {
    /// The decision, and the log in which it stands.
    pub decision: ProvenDecision,
    /// SHA-256 of the text of the access policy by which it was decided; `None`: the policy that
    /// the rules themselves hold, as long as the members have not chosen another one.
    pub policy_sha256: Option<Hash>,
    /// Of the request: when it was certified, and by whom.
    pub receipt: ReceiptReport,
}

impl Client {
    /// What was decided of a request, as a file to keep. For whom [`Self::decision`] is: others have
    /// the [receipt](Self::receipt) of their request, which says that they asked and nothing more.
    ///
    /// # Errors
    /// As [`Self::decision`].
    pub async fn decision_receipt(&self, id: TransactionId) -> Result<pb::DecisionReceipt, ClientError> {
        for _ in 0..TRIES {
            let receipt = self.receipt(id).await?;
            let request = pb::GetDecisionRequest { transaction_id: id.to_bytes(), read: None };
            let (answered, header) = self.recent(|| self.fetch_decision(request.clone())).await?;
            if receipt.signed.is_none() {
                return Err(ClientError::contradiction("the receipt does not show who signed the request"));
            }
            if header.epoch != receipt.head.header.epoch {
                continue;
            }
            let decision = Some(answered.answer.clone());
            let file = pb::DecisionReceipt { receipt: Some((&receipt).into()), decision };
            let checked = verify_decision(&file.encode_to_vec(), self.genesis());
            return self.judged(&answered, checked.map(|_| file));
        }
        Err(ClientError::contradiction(
            "the node shows the request and its decision in different epochs, again and again",
        ))
    }
}

/// Verifies an encoded [`pb::DecisionReceipt`] against a genesis.
///
/// # Errors
/// The first field that is wrong, or why the file proves nothing.
pub fn verify_decision(encoded: &[u8], genesis: &Genesis) -> Result<DecisionReport, ClientError> {
    counts::check(encoded, &counts::DECISION)?;
    let file = pb::DecisionReceipt::decode(Bytes::copy_from_slice(encoded));
    let file = file.map_err(|_| FieldError::malformed("receipt", "is not a DecisionReceipt"))?;
    let receipt = file.receipt.as_ref().ok_or_else(|| FieldError::missing("receipt"))?;
    let receipt = Receipt::try_from(receipt).map_err(|e| e.within("receipt"))?;
    receipt.verify_from_genesis(genesis).map_err(Unverified::from)?;
    let signed = receipt.signed.ok_or_else(|| FieldError::missing("receipt.signed"))?;
    let answer = file.decision.as_ref().ok_or_else(|| FieldError::missing("decision"))?;
    let header = final_header(&receipt, answer, genesis)?;
    let decision = verify::decision(receipt.leaf.transaction_id, answer, header.clone())?;
    let applied = receipt.leaf.outcome == Outcome::Applied && receipt.leaf.height == decision.event.height;
    ensure(applied, "the event is not of the block in which the request took effect")?;
    check_request(&signed, answer)?;
    check_signer(&signed, &decision, answer)?;
    let policy_sha256 = policy(&decision, answer, &header)?;
    Ok(DecisionReport { decision, policy_sha256, receipt: report(&receipt, genesis)? })
}

/// The header that the rows are proven for: certified by the validators of the receipt's head.
fn final_header(receipt: &Receipt, answer: &pb::GetDecisionResponse, genesis: &Genesis) -> Result<Header, ClientError> {
    let proof = answer.header.as_ref().ok_or_else(|| FieldError::missing("decision.header"))?;
    let proof = HeaderProof::try_from(proof).map_err(|e| e.within("decision.header"))?;
    let certified = proof.certified().map_err(|e| ClientError::contradiction(e.to_string()))?;
    let mut trusted = TrustedSet::genesis(genesis)?;
    for change in &receipt.set_changes {
        trusted.follow(change).map_err(Unverified::from)?;
    }
    trusted.verify(&certified).map_err(Unverified::from)?;
    Ok(proof.into_header())
}

/// The event tells what the author has signed.
fn check_request(signed: &SignedHead, answer: &pb::GetDecisionResponse) -> Result<(), ClientError> {
    let shown = answer.request.as_ref().ok_or_else(|| FieldError::missing("request"))?;
    let shown = ActionProof::try_from(shown).map_err(|e| e.within("request"))?;
    shown.verify(&signed.head).map_err(|e| ClientError::contradiction(e.to_string()))?;
    let action = pb::Action::decode(shown.action.clone()).ok().and_then(|action| action.action);
    let event = pb::AccessEvent::decode(answer.event.clone());
    let event = event.map_err(|_| FieldError::malformed("event", "is not an AccessEvent"))?;
    let same = match action {
        Some(Action::RequestAccess(asked)) => request::plain(asked) == request::told(&event),
        // What was disclosed, who disclosed it has signed: here it is the log's word.
        Some(Action::ConfirmDisclosure(confirmed)) => {
            let told = request::told_disclosure(&event);
            told.is_some_and(|(disclosure, _)| disclosure.disclosure_id == confirmed.disclosure_id)
        }
        Some(_) | None => {
            return Err(ClientError::contradiction("the action that is shown is no request for access"));
        }
    };
    ensure(same, "the event says something else than the request")
}

/// The request is signed, by the reader whom the event names; of a disclosure, by who confirmed it.
fn check_signer(
    signed: &SignedHead,
    decision: &ProvenDecision,
    answer: &pb::GetDecisionResponse,
) -> Result<(), ClientError> {
    let key = keys::signer(&signed.head.author);
    let signer: Option<pb::SignerState> = message(&key, answer.signer.as_ref(), &decision.header)?;
    let signer = signer.ok_or_else(|| ClientError::contradiction("the author of the request is not enrolled"))?;
    let event = &decision.event;
    let named = event.disclosed.as_ref().map_or(&event.reader, |disclosed| &disclosed.confirmed_by);
    ensure(signer.spiffe_id == named.to_string(), "the event names another reader than the author")?;
    signed.verify(&VerifyingKey::from_bytes(&signer.signing_key)?)?;
    Ok(())
}

/// The hash of the policy that the event names.
fn policy(
    decision: &ProvenDecision,
    answer: &pb::GetDecisionResponse,
    header: &Header,
) -> Result<Option<Hash>, ClientError> {
    let version = decision.event.policy_version;
    let policy: Option<pb::AccessPolicyState> = message(&keys::access_policy(version), answer.policy.as_ref(), header)?;
    let there = policy.as_ref().is_some_and(|policy| policy.version == version);
    ensure(there == (version > 0), "the access policy that the event names is not shown")?;
    Ok(policy.map(|policy| Hash::of(&[policy.text.as_bytes()])))
}

fn ensure(holds: bool, else_it_is: &str) -> Result<(), ClientError> {
    if holds { Ok(()) } else { Err(ClientError::contradiction(else_it_is)) }
}
