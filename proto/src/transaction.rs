//! Transactions: parsing, the stateless checks, ids, and building.
//!
//! A [`Transaction`] is proof that every check that needs no state has passed:
//! sizes, forms, the ledger it is for, and each attachment against its
//! commitment. Two checks are left to others: the signature (its key is on the
//! ledger; see [`TransactionHead::signing_bytes`]) and the rules.

mod access;
mod attachments;
mod disclosure;
mod governance;
mod head;
mod patients;
mod petition;
mod stake;
mod urgency;

use bytes::Bytes;
use prost::Message;

use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::{Hash, sha256};
use crate::ids::{Fingerprint, KeyId, LedgerId, PatientPseudonym, PolicyTag, RecordId, TransactionId};
use crate::keys::EncryptionPublicKey;
use crate::limits::{
    BODY_BYTES_MAX, CERTIFICATE_BYTES_MAX, CHAIN_CERTIFICATES_MAX, CRL_BYTES_MAX, KIND_CHARS_MAX, PAYLOAD_BYTES_MAX,
    POLICY_TAGS_MAX, TRANSACTION_BYTES_MAX, WRAPS_MAX,
};
use crate::pb;
use crate::signing::{self, Domain, SignatureBytes, SigningError, SigningKey, VerifyingKey};

pub use access::{
    AddWraps, AddedWrap, ConsentAction, CustodyAction, DeclareEmergency, EmergencyAction, PutConsent, RequestAccess,
    Rewrap, SealedBy, VersionRef,
};
use attachments::Erasure;
pub use attachments::{Attachment, Commitment, Size, Slot};
pub use disclosure::{Disclose, DisclosureAction, Seal};
pub use governance::{GovernanceAction, NodeAction, NodeDescription, Propose, Topic};
pub use head::{ActionProof, Nonce, NotInTransaction, SignedHead, TransactionHead, signature_hash};
pub use patients::{AcceptPatient, AttestCare, AttestDeath, PatientAction, PatientLookups, PatientPair};
pub use petition::{AnswerPetition, Answered, OpenPetition, PetitionAction, PetitionSubject};
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

/// A parsed action.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// See `EnrollIdentity`.
    Enroll(Enroll),
    /// See `PublishRevocations`: a DER revocation list.
    PublishRevocations(Bytes),
    /// See `SetCustodyKey`.
    SetCustodyKey(KeyId),
    /// About who acts in a custodian's place.
    Custody(CustodyAction),
    /// See `WriteRecord`.
    WriteRecord(WriteRecord),
    /// See `RetractRecord`.
    RetractRecord(RetractRecord),
    /// About a patient.
    Patient(PatientAction),
    /// About a consent.
    Consent(ConsentAction),
    /// See `RequestAccess`.
    RequestAccess(RequestAccess),
    /// See `AddWraps`.
    AddWraps(AddWraps),
    /// About an emergency.
    Emergency(EmergencyAction),
    /// About a petition of a patient.
    Petition(PetitionAction),
    /// About a disclosure under a legal duty.
    Disclosure(DisclosureAction),
    /// About stake and validators.
    Stake(StakeAction),
    /// About an own node.
    Node(NodeAction),
    /// About a proposal.
    Governance(GovernanceAction),
}

/// A parsed enrolment. The certificate is parsed by the rules, which know the
/// member's bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enroll {
    /// DER, leaf first.
    pub chain: Vec<Bytes>,
    /// The key that will sign transactions, if not the certificate's.
    pub signing_key: Option<VerifyingKey>,
    /// Its proof of possession; verified in a transaction, which knows the ledger.
    signing_key_proof: Option<[u8; 64]>,
    /// The key that records are wrapped for, if any.
    pub encryption_key: Option<EncryptionPublicKey>,
}

/// A parsed record version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// The record.
    pub record_id: RecordId,
    /// From 1.
    pub version: u32,
    /// The patient.
    pub patient: PatientPseudonym,
    /// Resource type.
    pub kind: String,
    /// Confidentiality.
    pub confidentiality: pb::Confidentiality,
    /// Commitment to the payload.
    pub payload_hash: Hash,
    /// Bytes.
    pub payload_size: u32,
    /// Commitment to the descriptor, if it has search tags.
    pub descriptor_hash: Option<Hash>,
    /// Recipients and commitments.
    pub wraps: Vec<WrapRef>,
    /// Ascending.
    pub policy_tags: Vec<PolicyTag>,
}

/// A commitment to a key wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapRef {
    /// The recipient's key.
    pub recipient: KeyId,
    /// Commitment.
    pub wrap_hash: Hash,
}

/// A parsed retraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetractRecord {
    /// The record.
    pub record_id: RecordId,
    /// Its current version.
    pub version: u32,
    /// Why.
    pub reason: pb::RetractionReason,
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

/// What a signing key signs at enrolment, to prove that its holder enrols it on
/// this ledger and for this certificate.
#[must_use]
pub fn enrollment_proof_input(ledger: LedgerId, certificate: &Fingerprint) -> Vec<u8> {
    signing::signing_input(Domain::ENROLL, &sha256(&[ledger.as_bytes(), certificate.as_bytes()]))
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
            let parsed = pb::Action::decode(action.clone())
                .map_err(|_| FieldError::malformed("action", "is not an Action"))
                .and_then(Action::parse);
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

impl Action {
    /// Whether it tells of a patient: that there is one, who cares for it, what is written,
    /// read and consented to.
    #[must_use]
    pub fn tells_of_patients(&self) -> bool {
        match self {
            Self::WriteRecord(_)
            | Self::RetractRecord(_)
            | Self::Patient(_)
            | Self::Consent(_)
            | Self::RequestAccess(_)
            | Self::AddWraps(_)
            | Self::Emergency(_)
            | Self::Petition(_)
            | Self::Disclosure(_) => true,
            Self::Enroll(_)
            | Self::PublishRevocations(_)
            | Self::SetCustodyKey(_)
            | Self::Custody(_)
            | Self::Stake(_)
            | Self::Node(_)
            | Self::Governance(_) => false,
        }
    }

    /// Parses and checks.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(m: pb::Action) -> Result<Self, FieldError> {
        use pb::action::Action as Pb;
        match m.action {
            None => Err(FieldError::missing("action")),
            Some(Pb::EnrollIdentity(e)) => Enroll::parse(e).map(Self::Enroll).map_err(|e| e.within("enroll_identity")),
            Some(Pb::PublishRevocations(p)) => {
                length_in("publish_revocations.crl", p.crl.len(), 1, CRL_BYTES_MAX)?;
                Ok(Self::PublishRevocations(p.crl))
            }
            Some(Pb::SetCustodyKey(m)) => {
                let id = fixed("set_custody_key.encryption_key_id", &m.encryption_key_id)?;
                Ok(Self::SetCustodyKey(KeyId::from_bytes(id)))
            }
            Some(Pb::NameDeputy(m)) => {
                CustodyAction::name_deputy(&m).map(Self::Custody).map_err(|e| e.within("name_deputy"))
            }
            Some(Pb::AcceptCustody(m)) => {
                CustodyAction::accept(&m).map(Self::Custody).map_err(|e| e.within("accept_custody"))
            }
            Some(Pb::WriteRecord(w)) => {
                WriteRecord::parse(&w).map(Self::WriteRecord).map_err(|e| e.within("write_record"))
            }
            Some(Pb::RetractRecord(r)) => {
                let record_id = RecordId::parse("retract_record.record_id", &r.record_id)?;
                in_range("retract_record.version", r.version.into(), 1, u32::MAX.into())?;
                let reason = pb::RetractionReason::try_from(r.reason)
                    .map_err(|_| FieldError::malformed("retract_record.reason", "is not a known reason"))?;
                Ok(Self::RetractRecord(RetractRecord { record_id, version: r.version, reason }))
            }
            Some(Pb::RegisterPatient(m)) => {
                PatientAction::register(&m).map(Self::Patient).map_err(|e| e.within("register_patient"))
            }
            Some(Pb::AddLookups(m)) => {
                PatientAction::add_lookups(&m).map(Self::Patient).map_err(|e| e.within("add_lookups"))
            }
            Some(Pb::AcceptPatient(m)) => {
                PatientAction::accept(&m).map(Self::Patient).map_err(|e| e.within("accept_patient"))
            }
            Some(Pb::LinkPatients(m)) => {
                PatientAction::link(&m).map(Self::Patient).map_err(|e| e.within("link_patients"))
            }
            Some(Pb::UnlinkPatients(m)) => {
                PatientAction::unlink(&m).map(Self::Patient).map_err(|e| e.within("unlink_patients"))
            }
            Some(Pb::AttestCare(m)) => {
                PatientAction::attest_care(&m).map(Self::Patient).map_err(|e| e.within("attest_care"))
            }
            Some(Pb::AttestDeath(m)) => {
                PatientAction::attest_death(&m).map(Self::Patient).map_err(|e| e.within("attest_death"))
            }
            Some(Pb::PutConsent(m)) => ConsentAction::put(&m).map(Self::Consent).map_err(|e| e.within("put_consent")),
            Some(Pb::RevokeConsent(m)) => {
                ConsentAction::revoke(&m).map(Self::Consent).map_err(|e| e.within("revoke_consent"))
            }
            Some(Pb::RequestAccess(m)) => {
                RequestAccess::parse(&m).map(Self::RequestAccess).map_err(|e| e.within("request_access"))
            }
            Some(Pb::AddWraps(m)) => AddWraps::parse(&m).map(Self::AddWraps).map_err(|e| e.within("add_wraps")),
            Some(Pb::DeclareEmergency(m)) => {
                EmergencyAction::declare(&m).map(Self::Emergency).map_err(|e| e.within("declare_emergency"))
            }
            Some(Pb::ReviewEmergency(m)) => {
                EmergencyAction::review(&m).map(Self::Emergency).map_err(|e| e.within("review_emergency"))
            }
            Some(Pb::OpenPetition(m)) => {
                PetitionAction::open(&m).map(Self::Petition).map_err(|e| e.within("open_petition"))
            }
            Some(Pb::AnswerPetition(m)) => {
                PetitionAction::answer(&m).map(Self::Petition).map_err(|e| e.within("answer_petition"))
            }
            Some(Pb::Disclose(m)) => {
                DisclosureAction::disclose(&m).map(Self::Disclosure).map_err(|e| e.within("disclose"))
            }
            Some(Pb::ConfirmDisclosure(m)) => {
                DisclosureAction::confirm(&m).map(Self::Disclosure).map_err(|e| e.within("confirm_disclosure"))
            }
            Some(Pb::Delegate(m)) => StakeAction::delegate(&m).map(Self::Stake).map_err(|e| e.within("delegate")),
            Some(Pb::Redelegate(m)) => StakeAction::redelegate(&m).map(Self::Stake).map_err(|e| e.within("redelegate")),
            Some(Pb::Undelegate(m)) => StakeAction::undelegate(&m).map(Self::Stake).map_err(|e| e.within("undelegate")),
            Some(Pb::ReleaseValidator(m)) => {
                StakeAction::release(&m).map(Self::Stake).map_err(|e| e.within("release_validator"))
            }
            Some(Pb::AnnounceMaintenance(m)) => {
                StakeAction::maintenance(&m).map(Self::Stake).map_err(|e| e.within("announce_maintenance"))
            }
            Some(Pb::SubmitEvidence(m)) => {
                StakeAction::evidence(&m).map(Self::Stake).map_err(|e| e.within("submit_evidence"))
            }
            Some(Pb::RegisterNode(m)) => {
                NodeAction::register(&m).map(Self::Node).map_err(|e| e.within("register_node"))
            }
            Some(Pb::ReplaceNode(m)) => NodeAction::replace(&m).map(Self::Node).map_err(|e| e.within("replace_node")),
            Some(Pb::RetireNode(m)) => NodeAction::retire(&m).map(Self::Node).map_err(|e| e.within("retire_node")),
            Some(Pb::Propose(m)) => GovernanceAction::propose(m).map(Self::Governance).map_err(|e| e.within("propose")),
            Some(Pb::CastBallot(m)) => {
                GovernanceAction::ballot(&m).map(Self::Governance).map_err(|e| e.within("cast_ballot"))
            }
            Some(Pb::CancelProposal(m)) => {
                GovernanceAction::cancel(&m).map(Self::Governance).map_err(|e| e.within("cancel_proposal"))
            }
        }
    }
}

impl Enroll {
    fn parse(m: pb::EnrollIdentity) -> Result<Self, FieldError> {
        length_in("certificate_chain", m.certificate_chain.len(), 1, CHAIN_CERTIFICATES_MAX)?;
        for der in &m.certificate_chain {
            length_in("certificate_chain", der.len(), 1, CERTIFICATE_BYTES_MAX)?;
        }
        let (signing_key, signing_key_proof) = parse_signing_key(&m)?;
        let encryption_key = match m.encryption_key.is_empty() {
            true => None,
            false => Some(
                EncryptionPublicKey::decode(&m.encryption_key)
                    .map_err(|_| FieldError::malformed("encryption_key", "is not a known encryption key"))?,
            ),
        };
        Ok(Self { chain: m.certificate_chain, signing_key, signing_key_proof, encryption_key })
    }

    /// Holds the signing key's proof against the certificate and the ledger.
    fn check_proof(&self, ledger: LedgerId) -> Result<(), FieldError> {
        let (Some(key), Some(proof)) = (&self.signing_key, &self.signing_key_proof) else { return Ok(()) };
        key.verify(&enrollment_proof_input(ledger, &self.fingerprint()), proof)
            .map_err(|_| FieldError::malformed("signing_key_proof", "is not a signature by signing_key"))
    }

    /// SHA-256 of the leaf certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_bytes(sha256(&[self.chain.first().map_or(&[], |leaf| leaf.as_ref())]))
    }
}

/// The key and what claims to prove that the author has it.
fn parse_signing_key(m: &pb::EnrollIdentity) -> Result<(Option<VerifyingKey>, Option<[u8; 64]>), FieldError> {
    if m.signing_key.is_empty() {
        length_in("signing_key_proof", m.signing_key_proof.len(), 0, 0)?;
        return Ok((None, None));
    }
    let key = VerifyingKey::from_bytes(&m.signing_key)
        .map_err(|_| FieldError::malformed("signing_key", "is not a known signing key"))?;
    Ok((Some(key), Some(fixed("signing_key_proof", &m.signing_key_proof)?)))
}

impl WriteRecord {
    fn parse(m: &pb::WriteRecord) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 1, u32::MAX.into())?;
        in_range("payload_size", m.payload_size.into(), 1, PAYLOAD_BYTES_MAX.into())?;
        check_kind(&m.kind)?;
        let confidentiality = pb::Confidentiality::try_from(m.confidentiality)
            .ok()
            .filter(|c| *c != pb::Confidentiality::Unspecified)
            .ok_or_else(|| FieldError::malformed("confidentiality", "is not a known code"))?;
        length_in("wraps", m.wraps.len(), 0, WRAPS_MAX)?;
        let descriptor_hash = match m.descriptor_sha256.is_empty() {
            true => None,
            false => Some(Hash::from_bytes(fixed("descriptor_sha256", &m.descriptor_sha256)?)),
        };
        let wraps = m.wraps.iter().map(WrapRef::parse).collect::<Result<Vec<_>, _>>()?;
        let distinct: std::collections::BTreeSet<_> = wraps.iter().map(|w| w.recipient).collect();
        if distinct.len() != wraps.len() {
            return Err(FieldError::malformed("wraps", "names a recipient twice"));
        }
        length_in("policy_tags", m.policy_tags.len(), 0, POLICY_TAGS_MAX)?;
        let policy_tags = m.policy_tags.iter().map(|tag| PolicyTag::parse("policy_tags", tag));
        let policy_tags = policy_tags.collect::<Result<Vec<_>, _>>()?;
        if !policy_tags.is_sorted_by(|a, b| a < b) {
            return Err(FieldError::malformed("policy_tags", "must be ascending and distinct"));
        }
        Ok(Self {
            record_id: RecordId::parse("record_id", &m.record_id)?,
            version: m.version,
            policy_tags,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            kind: m.kind.clone(),
            confidentiality,
            payload_hash: Hash::from_bytes(fixed("payload_sha256", &m.payload_sha256)?),
            payload_size: m.payload_size,
            descriptor_hash,
            wraps,
        })
    }
}

impl WrapRef {
    fn parse(m: &pb::KeyWrapRef) -> Result<Self, FieldError> {
        Ok(Self {
            recipient: KeyId::from_bytes(fixed("wraps.recipient_key_id", &m.recipient_key_id)?),
            wrap_hash: Hash::from_bytes(fixed("wraps.wrap_sha256", &m.wrap_sha256)?),
        })
    }
}

/// Checks a record's kind: `[A-Za-z][A-Za-z0-9.-]{0,63}`.
///
/// # Errors
/// If it has another form.
pub fn check_kind(kind: &str) -> Result<(), FieldError> {
    length_in("kind", kind.len(), 1, KIND_CHARS_MAX)?;
    let rest_ok = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    if rest_ok && kind.as_bytes()[0].is_ascii_alphabetic() {
        Ok(())
    } else {
        Err(FieldError::malformed("kind", "must be letters, digits, '.' or '-', a letter first"))
    }
}
