//! Transactions: parsing, the stateless checks, ids, and building.
//!
//! A [`Transaction`] is proof that every check that needs no state has passed:
//! sizes, forms, the ledger it is for, and each attachment against its
//! commitment. Two checks are left to others: the signature (its key is on the
//! ledger; see [`TransactionHead::signing_bytes`]) and the rules.

mod access;
mod action;
mod attachments;
mod custody;
mod disclosure;
mod enroll;
mod governance;
mod head;
mod patients;
mod petition;
mod record;
mod stake;
mod urgency;

use bytes::Bytes;
use prost::{Message, Name};

use crate::error::{FieldError, fixed, length_in};
use crate::ids::{Fingerprint, KeyId, LedgerId, TransactionId};
use crate::keys::EncryptionPublicKey;
use crate::limits::{BODY_BYTES_MAX, TRANSACTION_BYTES_MAX};
use crate::pb;
use crate::signing::{SignatureBytes, SigningError, SigningKey, VerifyingKey};
use crate::wire_cost;

pub use access::{ConsentAction, DeclareEmergency, EmergencyAction, PutConsent, RequestAccess, SealedBy, VersionRef};
pub use action::Action;
use attachments::Erasure;
pub use attachments::{Attachment, Commitment, Size, Slot};
pub use custody::{AddWraps, AddedWrap, CustodyAction, OwedWrap, Rewrap};
pub use disclosure::{Disclose, DisclosureAction, Seal};
pub use enroll::{AssignUnit, Enroll, enrollment_proof_input};
pub use governance::{GovernanceAction, NodeAction, NodeDescription, Propose, Topic};
pub use head::{ActionProof, ActionTree, Nonce, NotInTransaction, SignedHead, TransactionHead, signature_hash};
pub use patients::{
    AcceptPatient, AttestCare, AttestDeath, PatientAction, PatientLookups, PatientPair, PutPatientSalt,
};
pub use petition::{AnswerPetition, Answered, OpenPetition, PetitionAction, PetitionSubject};
pub use record::{ConfirmRetraction, RetractRecord, WrapRef, WriteRecord, check_kind};
pub use stake::StakeAction;
pub use urgency::Urgency;

/// A transaction that passed all stateless checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    /// Its id.
    pub id: TransactionId,
    /// What its author signed: who that is, and how long it is valid.
    pub head: TransactionHead,
    /// Ed25519 or ES256 (P1363).
    pub signature: SignatureBytes,
    /// Makes it another one than an equal one.
    pub nonce: Nonce,
    /// Its actions as received.
    pub encoded: Vec<Bytes>,
    /// What they do.
    pub actions: Vec<Action>,
    /// In the order in which the actions name them.
    pub attachments: Vec<Attachment>,
}

/// The id of a transaction, of which nothing else is checked.
///
/// # Errors
/// The first field of its head that is wrong.
pub fn transaction_id(m: &pb::SignedTransaction) -> Result<TransactionId, FieldError> {
    Ok(TransactionHead::of(body_of(m)?).map_err(|e| e.within("body"))?.id())
}

/// What a transaction's author signed, and the signature, of which nothing else is checked.
///
/// # Errors
/// The first of these fields that is wrong.
pub fn signed_head(m: &pb::SignedTransaction) -> Result<SignedHead, FieldError> {
    let head = TransactionHead::of(body_of(m)?).map_err(|e| e.within("body"))?;
    Ok(SignedHead { head, signature: fixed("transaction.signature", &m.signature)? })
}

/// An action has no more parts than its bytes justify: the most that rules allow take far less.
fn decode_action(action: &Bytes) -> Result<pb::Action, FieldError> {
    wire_cost::check(&pb::Action::full_name(), action)
        .map_err(|refused| FieldError::malformed("action", refused.what()))?;
    pb::Action::decode(action.clone()).map_err(|_| FieldError::malformed("action", "is not an Action"))
}

fn body_of(m: &pb::SignedTransaction) -> Result<&pb::TransactionBody, FieldError> {
    m.body.as_ref().ok_or_else(|| FieldError::missing("transaction.body"))
}

/// Fingerprint of an encoded signing key, as used in `author`.
#[must_use]
pub fn signing_key_fingerprint(key: &VerifyingKey) -> Fingerprint {
    Fingerprint::from_bytes(key.fingerprint())
}

/// Id of an encryption key.
#[must_use]
pub fn encryption_key_id(key: &EncryptionPublicKey) -> KeyId {
    KeyId::from_bytes(key.fingerprint())
}

impl Transaction {
    /// Parses and checks.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(m: &pb::SignedTransaction, ledger: LedgerId) -> Result<Self, FieldError> {
        let mut transaction = Self::parse_body(m, ledger)?;
        attachments::fill(&mut transaction.attachments, &m.attachments, Erasure::Impossible)?;
        Ok(transaction)
    }

    /// Parses a transaction of a block that is certified, whose attachments
    /// may have been erased since: an empty one stands for each that is gone.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse_stored(m: &pb::SignedTransaction, ledger: LedgerId) -> Result<Self, FieldError> {
        let mut transaction = Self::parse_body(m, ledger)?;
        attachments::fill(&mut transaction.attachments, &m.attachments, Erasure::Possible)?;
        Ok(transaction)
    }

    /// Parses a transaction as a block holds it, without its attachments: each
    /// counts as gone.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse_bare(m: &pb::SignedTransaction, ledger: LedgerId) -> Result<Self, FieldError> {
        length_in("transaction.attachments", m.attachments.len(), 0, 0)?;
        Self::parse_body(m, ledger)
    }

    /// How many attachments a transaction's body names.
    ///
    /// # Errors
    /// The first field of the body that is wrong.
    pub fn count_attachments(m: &pb::SignedTransaction, ledger: LedgerId) -> Result<usize, FieldError> {
        Ok(Self::parse_body(m, ledger)?.attachments.len())
    }

    /// Everything but the contents of attachments.
    fn parse_body(m: &pb::SignedTransaction, ledger: LedgerId) -> Result<Self, FieldError> {
        let body = body_of(m)?;
        let body_bytes: usize = body.actions.iter().map(Bytes::len).sum();
        length_in("body.actions", body_bytes, 0, BODY_BYTES_MAX)?;
        let attachment_bytes: usize = m.attachments.iter().map(Bytes::len).sum();
        length_in("transaction", body_bytes + attachment_bytes, 0, TRANSACTION_BYTES_MAX)?;
        let head = TransactionHead::of(body).map_err(|e| e.within("body"))?;
        if head.ledger_id != ledger {
            return Err(FieldError::malformed("body.ledger_id", "names another ledger"));
        }
        let mut actions = Vec::with_capacity(body.actions.len());
        for (i, action) in body.actions.iter().enumerate() {
            let parsed = decode_action(action).and_then(Action::parse);
            actions.push(parsed.map_err(|e| e.within(&format!("body.actions[{i}]")))?);
        }
        let tx = Self {
            id: head.id(),
            head,
            signature: fixed("transaction.signature", &m.signature)?,
            nonce: fixed("body.nonce", &body.nonce)?,
            encoded: body.actions.clone(),
            attachments: attachments::absent(&actions),
            actions,
        };
        tx.check_request()?.check_enrollment(ledger)
    }

    /// A place in a log is found by its transaction, so there is one at most.
    fn check_request(self) -> Result<Self, FieldError> {
        let is_logged = |action: &&Action| {
            matches!(action, Action::RequestAccess(_) | Action::Disclosure(DisclosureAction::Confirm(_)))
        };
        match self.actions.iter().filter(is_logged).count() {
            0 | 1 => Ok(self),
            _ => Err(FieldError::malformed(
                "body.actions",
                "a transaction holds at most one request for access or confirmed disclosure",
            )),
        }
    }

    /// The request for access, if it holds one.
    #[must_use]
    pub fn access_request(&self) -> Option<&RequestAccess> {
        self.actions.iter().find_map(|action| match action {
            Action::RequestAccess(request) => Some(request),
            _ => None,
        })
    }

    /// An enrolment stands alone and is authored by its own certificate.
    fn check_enrollment(self, ledger: LedgerId) -> Result<Self, FieldError> {
        let mut enrolls = self.actions.iter().filter_map(|action| match action {
            Action::Enroll(enroll) => Some(enroll),
            _ => None,
        });
        let Some(enroll) = enrolls.next() else { return Ok(self) };
        enroll.check_proof(ledger).map_err(|e| e.within("enroll_identity"))?;
        if self.actions.len() != 1 {
            return Err(FieldError::malformed("body.actions", "an enrolment must be the only action"));
        }
        if self.enrollment().map(|e| e.fingerprint()) != Some(self.head.author) {
            return Err(FieldError::malformed("body.author", "must be the fingerprint of the certificate that enrols"));
        }
        Ok(self)
    }

    /// The enrolment, if this is one.
    #[must_use]
    pub fn enrollment(&self) -> Option<&Enroll> {
        match self.actions.first() {
            Some(Action::Enroll(enroll)) => Some(enroll),
            Some(_) | None => None,
        }
    }

    /// Whether any of its actions tells of a patient.
    #[must_use]
    pub fn tells_of_patients(&self) -> bool {
        self.actions.iter().any(Action::tells_of_patients)
    }

    /// What its author signed, and the signature.
    #[must_use]
    pub fn signed(&self) -> SignedHead {
        SignedHead { head: self.head, signature: self.signature }
    }

    /// Bytes on the wire, roughly: what a block's size limit counts.
    #[must_use]
    pub fn size(&self) -> usize {
        let encoded: usize = self.encoded.iter().map(|action| action.len() + 4).sum();
        encoded + self.attachments.iter().map(|a| a.bytes.len()).sum::<usize>() + 192
    }

    /// The wire form.
    #[must_use]
    pub fn to_wire(&self) -> pb::SignedTransaction {
        let attachments = self.attachments.iter().map(|a| a.bytes.clone()).collect();
        pb::SignedTransaction { attachments, ..self.to_wire_without_attachments() }
    }

    /// The wire form of what is hashed, for blocks.
    #[must_use]
    pub fn to_wire_without_attachments(&self) -> pb::SignedTransaction {
        let TransactionHead { ledger_id, author, valid_until, .. } = &self.head;
        let body = pb::TransactionBody {
            ledger_id: ledger_id.to_bytes(),
            nonce: Bytes::copy_from_slice(&self.nonce),
            valid_until_ms: valid_until.0,
            actions: self.encoded.clone(),
            author: author.to_bytes(),
        };
        pb::SignedTransaction {
            body: Some(body),
            signature: Bytes::copy_from_slice(&self.signature),
            attachments: Vec::new(),
        }
    }
}

/// Actions as a body holds them.
#[must_use]
pub fn encode_actions(actions: &[pb::Action]) -> Vec<Bytes> {
    actions.iter().map(|action| action.encode_to_vec().into()).collect()
}

/// Signs a body as an author, whoever it named before.
///
/// # Errors
/// If a field of the body is wrong, or the key cannot sign.
pub fn sign(
    body: pb::TransactionBody,
    author: Fingerprint,
    key: &SigningKey,
    attachments: Vec<Bytes>,
) -> Result<pb::SignedTransaction, SignError> {
    let body = pb::TransactionBody { author: author.to_bytes(), ..body };
    let signature = key.sign(&TransactionHead::of(&body)?.signing_bytes())?;
    Ok(pb::SignedTransaction { body: Some(body), signature: Bytes::copy_from_slice(&signature), attachments })
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The body is none.
    #[error(transparent)]
    Body(#[from] FieldError),
    /// The key failed.
    #[error(transparent)]
    Key(#[from] SigningError),
}
