//! Emergencies: declared, alone or with the reading that they are for, and reviewed.
//!
//! A declaration opens a patient's records to its author at once, for a time that the members
//! have agreed on; the patient sees it, and an auditor of the author's member reviews it.

use bytes::Bytes;
use consilium_proto::envelope::SealedText;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{EmergencyId, LedgerId, PatientPseudonym, TransactionId};
use consilium_proto::keys::EncryptionPublicKey;
use consilium_proto::limits::EMERGENCY_PLAINTEXT_BYTES_MAX;
use consilium_proto::names::MemberId;
use consilium_proto::pb::{self, EmergencyReason, Outcome, PurposeOfUse, ReviewVerdict, action::Action};
use consilium_proto::state::keys;
use consilium_proto::transaction::VersionRef;
use prost::Message;
use zeroize::Zeroizing;

use crate::access_log::service;
use crate::access_log::verify::message;
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::records::{Access, Opened, Recipient, RecordReader, custodian};
use crate::submit::Submitted;

/// Ids that are tried for one thing, each drawn at random, where somebody else has taken the one before.
pub const FRESH_IDS_MAX: usize = 4;

/// An emergency that is about to be declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    id: EmergencyId,
    patient: PatientPseudonym,
    reason: EmergencyReason,
    acting: Option<Hash>,
    text: Option<Told>,
}

/// What is said in words, and sealed for the id.
#[derive(Clone, PartialEq, Eq)]
struct Told {
    plain: Zeroizing<Vec<u8>>,
    ledger: LedgerId,
    key: EncryptionPublicKey,
    sealed: Bytes,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told(..)")
    }
}

impl Told {
    fn seal(
        plain: Zeroizing<Vec<u8>>,
        (ledger, id): (LedgerId, &EmergencyId),
        key: EncryptionPublicKey,
    ) -> Result<Self, ClientError> {
        let sealed = SealedText::seal(&key, (&ledger, id), &plain)?.encode().into();
        Ok(Self { plain, ledger, key, sealed })
    }
}

impl Declaration {
    /// One under a random id.
    #[must_use]
    pub fn new(patient: PatientPseudonym, reason: EmergencyReason) -> Self {
        Self { id: EmergencyId(rand::random()), patient, reason, acting: None, text: None }
    }

    /// Its id: requests to read name it, and its review.
    #[must_use]
    pub fn id(&self) -> EmergencyId {
        self.id
    }

    /// For whom a system acts: a salted hash ([`crate::documents`]); the member keeps what is
    /// behind it.
    #[must_use]
    pub fn acting(self, acting: Hash) -> Self {
        Self { acting: Some(acting), ..self }
    }

    /// Says why in words, sealed for a key: that of the custodian of the author's member
    /// ([`Client::custodian_of`]). At most 6 KiB.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if it is longer, or if the text cannot be sealed.
    pub fn telling(self, text: &[u8], ledger: &LedgerId, key: &EncryptionPublicKey) -> Result<Self, ClientError> {
        if text.len() > EMERGENCY_PLAINTEXT_BYTES_MAX {
            let why = format!("the text of an emergency is at most {EMERGENCY_PLAINTEXT_BYTES_MAX} bytes long");
            return Err(ClientError::Usage(why));
        }
        let text = Some(Told::seal(Zeroizing::new(text.to_vec()), (*ledger, &self.id), key.clone())?);
        Ok(Self { text, ..self })
    }

    /// The same under another random id.
    fn drawn_anew(&mut self) -> Result<(), ClientError> {
        self.id = EmergencyId(rand::random());
        let told = self.text.take().map(|told| Told::seal(told.plain, (told.ledger, &self.id), told.key));
        self.text = told.transpose()?;
        Ok(())
    }

    /// What goes beside the actions in the transaction.
    #[must_use]
    pub fn attachments(&self) -> Vec<Bytes> {
        self.text.iter().map(|told| told.sealed.clone()).collect()
    }

    /// For a [reader](crate::records::RecordReader) of the same patient: it declares the emergency
    /// and reads by one transaction, so that one certified block both opens the records and logs it.
    #[must_use]
    pub fn access(&self) -> Access {
        Access {
            emergency: Some(self.id),
            acting: self.acting,
            before: self.actions(),
            attachments: self.attachments(),
            ..Access::of(PurposeOfUse::Btg)
        }
    }

    /// The declaration, for a transaction.
    #[must_use]
    pub fn actions(&self) -> Vec<pb::Action> {
        let declare = pb::DeclareEmergency {
            emergency_id: Bytes::copy_from_slice(&self.id.0),
            patient: Bytes::copy_from_slice(&self.patient.0),
            reason: self.reason.into(),
            text_sha256: self.text.as_ref().map(|told| Hash::of(&[&told.sealed]).to_bytes()).unwrap_or_default(),
            acting_sha256: self.acting.map(|hash| hash.to_bytes()).unwrap_or_default(),
        };
        vec![pb::Action { action: Some(Action::DeclareEmergency(declare)) }]
    }
}

/// The reason of an emergency in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmergencyText {
    /// It was declared without.
    None,
    /// There was one. That it was erased is the node's word.
    Erased,
    /// To be opened with the custody key.
    Sealed(SealedText),
}

type TextAnswer = Answered<pb::GetEmergencyTextRequest, pb::GetEmergencyTextResponse>;

impl Client {
    /// Declares an emergency. By a clinician or a service.
    /// If its id is taken, as by a leader that has seen it before others did, another one is drawn: it
    /// is the declaration's then.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`], with `EMERGENCY_EXISTS` after
    /// [`FRESH_IDS_MAX`] ids.
    pub async fn declare_emergency(&self, declaration: &mut Declaration) -> Result<Submitted, ClientError> {
        for _ in 1..FRESH_IDS_MAX {
            match self.declare_once(declaration).await {
                Err(ClientError::Rejected { outcome: Outcome::EmergencyExists, .. }) => declaration.drawn_anew()?,
                done => return done,
            }
        }
        self.declare_once(declaration).await
    }

    /// Declares an emergency and reads by the same transaction, so that one certified block both opens
    /// the records and logs it. As [`RecordReader::read`]; if the id is proven to be taken, another one is
    /// drawn: it is the declaration's then.
    ///
    /// # Errors
    /// As [`RecordReader::read`]; [`ClientError::Rejected`], with `EMERGENCY_EXISTS` after
    /// [`FRESH_IDS_MAX`] ids.
    pub async fn declare_and_read(
        &self,
        declaration: &mut Declaration,
        records: &[VersionRef],
    ) -> Result<Vec<Opened>, ClientError> {
        for _ in 1..FRESH_IDS_MAX {
            let reader = RecordReader::with(self.clone(), declaration.access());
            match reader.read(declaration.patient, records).await {
                // Only a node says so here: one that lies would have the same declared again and again.
                Err(ClientError::Rejected { outcome: Outcome::EmergencyExists, transaction_id, .. })
                    if self.was_refused(transaction_id).await? =>
                {
                    declaration.drawn_anew()?;
                }
                done => return done,
            }
        }
        RecordReader::with(self.clone(), declaration.access()).read(declaration.patient, records).await
    }

    /// Whether a transaction of this identity is proven to be refused since the emergency is there.
    async fn was_refused(&self, transaction: TransactionId) -> Result<bool, ClientError> {
        let receipt = self.receipt(transaction).await?;
        let own = receipt.signed.is_some_and(|signed| signed.head.author == self.identity().author());
        Ok(own && receipt.leaf.outcome == Outcome::EmergencyExists)
    }

    async fn declare_once(&self, declaration: &Declaration) -> Result<Submitted, ClientError> {
        let signed = self.sign(declaration.actions(), declaration.attachments())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// Reviews an emergency, once and for all: one that was not justified ends at once. By an
    /// auditor of the member that declared it. `note` is the salted hash of the review's text.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if there is no such emergency that this
    /// identity may review, or somebody has.
    pub async fn review_emergency(
        &self,
        id: EmergencyId,
        verdict: ReviewVerdict,
        note: Option<Hash>,
    ) -> Result<Submitted, ClientError> {
        let review = pb::ReviewEmergency {
            emergency_id: Bytes::copy_from_slice(&id.0),
            verdict: verdict.into(),
            note_sha256: note.map(|hash| hash.to_bytes()).unwrap_or_default(),
        };
        let action = pb::Action { action: Some(Action::ReviewEmergency(review)) };
        let signed = self.sign(vec![action], Vec::new())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// The custodian of a member with its custody key, proven; `None` if it has named none.
    ///
    /// # Errors
    /// As [`crate::records::custodian`].
    pub async fn custodian_of(&self, member: &MemberId) -> Result<Option<Recipient>, ClientError> {
        custodian(self, member).await
    }

    /// The reason of an emergency in words, as it was sealed. For the custodian and the auditors of
    /// the member that declared it.
    ///
    /// # Errors
    /// NOT_FOUND; what a node answers that the emergency's row does not commit to.
    pub async fn emergency_text(&self, id: EmergencyId) -> Result<EmergencyText, ClientError> {
        let request = pb::GetEmergencyTextRequest { emergency_id: Bytes::copy_from_slice(&id.0), read: None };
        let (answered, header) = self.recent(|| self.fetch_text(request.clone())).await?;
        let text = text_of(id, &answered.answer, &header);
        self.judged(&answered, text)
    }

    async fn fetch_text(&self, request: pb::GetEmergencyTextRequest) -> Result<(TextAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).get_emergency_text(request).await };
        let answered = self.ask("GetEmergencyText", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }

    /// Which reviews of emergencies a member owes, proven to be all; for auditors. `None`: none ever.
    ///
    /// # Errors
    /// As [`Self::proven_state`].
    pub async fn reviews_due(&self, member: &MemberId) -> Result<Option<pb::ReviewsDueState>, ClientError> {
        self.proven_row(&keys::reviews_due(member.as_str())).await
    }

    /// An emergency, proven; `None`: proven to be none. For auditors.
    ///
    /// # Errors
    /// As [`Client::proven_state`].
    pub async fn emergency(&self, id: EmergencyId) -> Result<Option<pb::EmergencyState>, ClientError> {
        let row = self.proven_state(&keys::emergency(&id)).await?;
        let decoded = row.map(pb::EmergencyState::decode).transpose();
        decoded.map_err(|_| ClientError::contradiction("the row of the emergency is none"))
    }
}

fn text_of(
    id: EmergencyId,
    answer: &pb::GetEmergencyTextResponse,
    header: &Header,
) -> Result<EmergencyText, ClientError> {
    let state: Option<pb::EmergencyState> = message(&keys::emergency(&id), answer.emergency.as_ref(), header)?;
    let state = state.ok_or_else(|| ClientError::contradiction("a text of an emergency that there is not"))?;
    if state.text_sha256.is_empty() {
        return Ok(EmergencyText::None);
    }
    if answer.text.is_empty() {
        return Ok(EmergencyText::Erased);
    }
    if Hash::of(&[&answer.text]).to_bytes() != state.text_sha256 {
        return Err(ClientError::contradiction("the text is not the one that the emergency commits to"));
    }
    Ok(EmergencyText::Sealed(SealedText::decode(&answer.text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_by_a_declaration_reads_for_the_same_person_in_that_emergency() {
        let declaration = Declaration::new(PatientPseudonym([1; 16]), EmergencyReason::Danger);
        let declaration = declaration.acting(Hash::of(&[b"who"]));
        let access = declaration.access();
        let [pb::Action { action: Some(Action::DeclareEmergency(declared)) }] = &access.before[..] else {
            panic!("other actions: {:?}", access.before)
        };
        assert_eq!(access.emergency.map(|id| id.0.to_vec()), Some(declared.emergency_id.to_vec()));
        assert_eq!(access.acting.map(|hash| hash.to_bytes()).as_ref(), Some(&declared.acting_sha256));
        assert_eq!((access.purpose, declared.patient.len()), (PurposeOfUse::Btg, 16));
        assert!(access.attachments.is_empty(), "nothing is said in words");
    }
}
