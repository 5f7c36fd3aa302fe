//! Events of a log, in types.

use consilium_proto::access::permits;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{
    ConsentId, DisclosureId, EmergencyId, Height, PatientPseudonym, ProjectTag, RecordId, TimeMs, TransactionId,
};
use consilium_proto::names::{SpiffeId, UnitCode};
use consilium_proto::pb::{
    self, AccessGround, AccessKind, DisclosureBasis, DisclosureRecipient, EmergencyReason, PatientChangeKind,
    PatientRelation, PurposeOfUse, ReviewVerdict,
};
use consilium_proto::purpose;
use consilium_proto::transaction::VersionRef;

/// A request to read, and what was decided of it; or what was said of the patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEvent {
    /// Its place in the log, from 0.
    pub sequence: u64,
    /// The request.
    pub transaction_id: TransactionId,
    /// Who asked.
    pub reader: SpiffeId,
    /// Of which unit of its member that one was when the entry was made: of a late one, not when it was read.
    pub unit: Option<UnitCode>,
    /// Whose records.
    pub patient: PatientPseudonym,
    /// What for.
    pub purpose: PurposeOfUse,
    /// What was asked for.
    pub kind: AccessKind,
    /// What was decided, one for each ground.
    pub decisions: Vec<Decision>,
    /// In which emergency; or which one was declared or reviewed.
    pub emergency: Option<EmergencyId>,
    /// Salted hash of the person for whom a system asked.
    pub acting: Option<Hash>,
    /// Salted hash of the conditions of a query.
    pub query: Option<Hash>,
    /// For which project of research.
    pub project: Option<ProjectTag>,
    /// The access policy that was in force.
    pub policy_version: u32,
    /// Time of its block.
    pub time: TimeMs,
    /// Height of its block.
    pub height: Height,
    /// When it was read without a quorum, as the reader says: it was entered here later.
    pub late: Option<TimeMs>,
    /// To whom records were handed on, if it is a disclosure under a legal duty.
    pub disclosed: Option<DisclosedTo>,
    /// Block time until which it is, or was, kept from the patient.
    pub sealed_until: Option<TimeMs>,
    /// What the reader, who reads nothing then, has said of the patient.
    pub change: Option<Change>,
}

/// Something on which the patient's rights depend, as somebody of a member has said it: for that
/// member's records, and of an emergency for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An identity speaks for the patient, as is said here and not as before.
    Accepted {
        /// Who.
        identity: SpiffeId,
        /// As what.
        relation: PatientRelation,
        /// Whether it may read.
        may_read: bool,
        /// Whether it may sign consents.
        may_consent: bool,
        /// When it ends; `None`: when somebody says so.
        to: Option<TimeMs>,
        /// Of what a representative may speak; `None`: of everything.
        scope: Option<pb::RepresentativeScope>,
    },
    /// It does so no more.
    AcceptanceEnded {
        /// Who.
        identity: SpiffeId,
        /// As what, as is said now.
        relation: PatientRelation,
    },
    /// Another pseudonym is the same person's.
    Linked(PatientPseudonym),
    /// It is not, or not taken for it any more.
    Unlinked(PatientPseudonym),
    /// The patient has died.
    Died,
    /// That was said in error.
    DeathTakenBack,
    /// A record is somebody else's: of those who might read it only the patient still may.
    Misfiled(RecordId),
    /// A second person has confirmed that: nobody may.
    MisfiledConfirmed(RecordId),
    /// Who says it may read all records of the patient for a time, whatever consents say.
    EmergencyDeclared {
        /// Under which id it is read and reviewed.
        emergency: EmergencyId,
        /// Why.
        reason: EmergencyReason,
        /// When it ends, if no review ends it before.
        to: TimeMs,
    },
    /// Another person has said whether it was one.
    EmergencyReviewed {
        /// Which one.
        emergency: EmergencyId,
        /// What was found.
        verdict: ReviewVerdict,
    },
    /// The member of who says so treats the patient until a time, or has until then.
    CareAttested {
        /// When it ends.
        to: TimeMs,
    },
    /// A version of a consent, in place of the one before.
    ConsentPut {
        /// Which one.
        consent: ConsentId,
        /// From 1.
        version: u32,
        /// When it ends; `None`: when somebody ends it.
        to: Option<TimeMs>,
    },
    /// A consent was ended, as far as who says so may end it.
    ConsentEnded(ConsentId),
}

/// A disclosure under a legal duty. Who made it is the reader of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisclosedTo {
    /// The disclosure.
    pub id: DisclosureId,
    /// Why.
    pub basis: DisclosureBasis,
    /// To what kind of authority.
    pub recipient: DisclosureRecipient,
    /// Who confirmed it.
    pub confirmed_by: SpiffeId,
}

impl Change {
    /// What it is on the ledger.
    #[must_use]
    pub const fn kind(&self) -> PatientChangeKind {
        match self {
            Self::Accepted { .. } => PatientChangeKind::Accepted,
            Self::AcceptanceEnded { .. } => PatientChangeKind::AcceptanceEnded,
            Self::Linked(_) => PatientChangeKind::Linked,
            Self::Unlinked(_) => PatientChangeKind::Unlinked,
            Self::Died => PatientChangeKind::Died,
            Self::DeathTakenBack => PatientChangeKind::DeathTakenBack,
            Self::Misfiled(_) => PatientChangeKind::Misfiled,
            Self::MisfiledConfirmed(_) => PatientChangeKind::MisfiledConfirmed,
            Self::EmergencyDeclared { .. } => PatientChangeKind::EmergencyDeclared,
            Self::EmergencyReviewed { .. } => PatientChangeKind::EmergencyReviewed,
            Self::CareAttested { .. } => PatientChangeKind::CareAttested,
            Self::ConsentPut { .. } => PatientChangeKind::ConsentPut,
            Self::ConsentEnded(_) => PatientChangeKind::ConsentEnded,
        }
    }
}

/// Versions of which the same was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// On which ground it is permitted, or why not.
    pub ground: AccessGround,
    /// The consent that decided, and its version.
    pub consent: Option<(ConsentId, u32)>,
    /// Of which versions; none: the whole of a query.
    pub records: Vec<VersionRef>,
}

impl Decision {
    /// Whether it is permitted.
    #[must_use]
    pub fn permits(&self) -> bool {
        permits(self.ground)
    }
}

impl AccessEvent {
    /// Whether anything was permitted.
    #[must_use]
    pub fn permits(&self) -> bool {
        self.decisions.iter().any(Decision::permits)
    }
}

impl TryFrom<&pb::AccessEvent> for AccessEvent {
    type Error = FieldError;

    fn try_from(m: &pb::AccessEvent) -> Result<Self, FieldError> {
        let kind = AccessKind::try_from(m.kind).ok().filter(|kind| *kind != AccessKind::Unspecified);
        let decisions = m.decisions.iter().map(|d| Decision::try_from(d).map_err(|e| e.within("decisions")));
        let hash = |field: &str, bytes: &[u8]| fixed(field, bytes).map(Hash::from_bytes);
        Ok(Self {
            sequence: m.sequence,
            transaction_id: fixed("transaction_id", &m.transaction_id).map(TransactionId::from_bytes)?,
            reader: m.reader.parse().map_err(|_| FieldError::malformed("reader", "is not a SPIFFE id"))?,
            unit: UnitCode::parse_optional("unit", &m.unit)?,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            purpose: purpose::parse("purpose", m.purpose)?,
            kind: kind.ok_or_else(|| FieldError::malformed("kind", "is not a known kind of access"))?,
            decisions: decisions.collect::<Result<_, _>>()?,
            emergency: optional(&m.emergency_id, |id| EmergencyId::parse("emergency_id", id))?,
            acting: optional(&m.acting_sha256, |bytes| hash("acting_sha256", bytes))?,
            query: optional(&m.query_sha256, |bytes| hash("query_sha256", bytes))?,
            project: optional(&m.project, |id| ProjectTag::parse("project", id))?,
            policy_version: m.policy_version,
            time: TimeMs(m.time_ms),
            height: Height(m.height),
            late: (m.late_ms != 0).then_some(TimeMs(m.late_ms)),
            disclosed: disclosed(m)?,
            sealed_until: m.legal.as_ref().and_then(|legal| legal.seal.as_ref()).map(|seal| TimeMs(seal.until_ms)),
            change: changed(m)?,
        })
    }
}

/// Only what somebody said of the patient says what, and it must; nothing is decided of it.
fn changed(m: &pb::AccessEvent) -> Result<Option<Change>, FieldError> {
    let is_change = m.kind() == AccessKind::Change;
    if m.change.is_some() != is_change || (is_change && !m.decisions.is_empty()) {
        return Err(FieldError::malformed("change", "is for changes, which must have one and nothing else"));
    }
    let emergency = optional(&m.emergency_id, |id| EmergencyId::parse("emergency_id", id))?;
    m.change.as_ref().map(|change| Change::parse(change, emergency)).transpose()
}

impl Change {
    /// The id of an emergency stands beside what is said of it, and nothing else has one.
    fn parse(m: &pb::PatientChange, emergency: Option<EmergencyId>) -> Result<Self, FieldError> {
        let of_emergency =
            matches!(m.kind(), PatientChangeKind::EmergencyDeclared | PatientChangeKind::EmergencyReviewed);
        match emergency {
            Some(id) if of_emergency => Self::of_emergency(m, id),
            None if !of_emergency => Self::of_patient(m),
            Some(_) | None => Err(FieldError::malformed("emergency_id", "is for emergencies, which must have one")),
        }
        .map_err(|e| e.within("change"))
    }

    fn of_emergency(m: &pb::PatientChange, emergency: EmergencyId) -> Result<Self, FieldError> {
        let code = |code: u32| i32::try_from(code).unwrap_or_default();
        if m.kind() == PatientChangeKind::EmergencyReviewed {
            let verdict = ReviewVerdict::try_from(code(m.verdict)).ok().filter(|v| *v != ReviewVerdict::Unspecified);
            let verdict = verdict.ok_or_else(|| FieldError::malformed("verdict", "is not a known verdict"))?;
            return Ok(Self::EmergencyReviewed { emergency, verdict });
        }
        let reason = EmergencyReason::try_from(code(m.reason)).ok().filter(|r| *r != EmergencyReason::Unspecified);
        let reason = reason.ok_or_else(|| FieldError::malformed("reason", "is not a known reason"))?;
        Ok(Self::EmergencyDeclared { emergency, reason, to: TimeMs(m.to_ms) })
    }

    fn of_patient(m: &pb::PatientChange) -> Result<Self, FieldError> {
        use PatientChangeKind as Kind;
        let identity = || m.identity.parse().map_err(|_| FieldError::malformed("identity", "is not a SPIFFE id"));
        let relation = || {
            let relation = i32::try_from(m.relation).ok().and_then(|code| PatientRelation::try_from(code).ok());
            relation.ok_or_else(|| FieldError::malformed("relation", "is not a known relation"))
        };
        let other = || PatientPseudonym::parse("other", &m.other);
        let consent = || ConsentId::parse("consent_id", &m.consent_id);
        let to = (m.to_ms != 0).then_some(TimeMs(m.to_ms));
        Ok(match m.kind() {
            Kind::Accepted => Self::Accepted {
                identity: identity()?,
                relation: relation()?,
                may_read: m.may_read,
                may_consent: m.may_consent,
                to,
                scope: m.scope.clone(),
            },
            Kind::AcceptanceEnded => Self::AcceptanceEnded { identity: identity()?, relation: relation()? },
            Kind::Linked => Self::Linked(other()?),
            Kind::Unlinked => Self::Unlinked(other()?),
            Kind::Died => Self::Died,
            Kind::DeathTakenBack => Self::DeathTakenBack,
            Kind::Misfiled => Self::Misfiled(RecordId::parse("record_id", &m.record_id)?),
            Kind::MisfiledConfirmed => Self::MisfiledConfirmed(RecordId::parse("record_id", &m.record_id)?),
            Kind::CareAttested => Self::CareAttested { to: TimeMs(m.to_ms) },
            Kind::ConsentPut => Self::ConsentPut { consent: consent()?, version: m.consent_version, to },
            Kind::ConsentEnded => Self::ConsentEnded(consent()?),
            Kind::EmergencyDeclared | Kind::EmergencyReviewed | Kind::Unspecified => {
                return Err(FieldError::malformed("kind", "is not known; a newer program is needed"));
            }
        })
    }
}

/// Only a disclosure says to whom, and it must.
fn disclosed(m: &pb::AccessEvent) -> Result<Option<DisclosedTo>, FieldError> {
    let terms = m.legal.as_ref().and_then(|legal| legal.disclosure.as_ref());
    if terms.is_some() != (m.kind() == AccessKind::Disclosure) {
        return Err(FieldError::malformed("legal.disclosure", "is for disclosures, which must have one"));
    }
    terms.map(|terms| DisclosedTo::try_from(terms).map_err(|e| e.within("legal.disclosure"))).transpose()
}

impl TryFrom<&pb::DisclosureTerms> for DisclosedTo {
    type Error = FieldError;

    fn try_from(m: &pb::DisclosureTerms) -> Result<Self, FieldError> {
        let code = |code: u32| i32::try_from(code).unwrap_or_default();
        let basis = DisclosureBasis::try_from(code(m.basis));
        let recipient = DisclosureRecipient::try_from(code(m.recipient));
        let confirmed_by = m.confirmed_by.parse();
        Ok(Self {
            id: DisclosureId::parse("disclosure_id", &m.disclosure_id)?,
            basis: basis.map_err(|_| FieldError::malformed("basis", "is not a known basis"))?,
            recipient: recipient.map_err(|_| FieldError::malformed("recipient", "is not a known recipient"))?,
            confirmed_by: confirmed_by.map_err(|_| FieldError::malformed("confirmed_by", "is not a SPIFFE id"))?,
        })
    }
}

impl TryFrom<&pb::AccessDecision> for Decision {
    type Error = FieldError;

    fn try_from(m: &pb::AccessDecision) -> Result<Self, FieldError> {
        let ground = AccessGround::try_from(m.ground).ok().filter(|ground| *ground != AccessGround::Unspecified);
        let consent = optional(&m.consent_id, |id| ConsentId::parse("consent_id", id))?;
        Ok(Self {
            ground: ground.ok_or_else(|| FieldError::malformed("ground", "is not known; a newer program is needed"))?,
            consent: consent.map(|id| (id, m.consent_version)),
            records: m.records.iter().map(VersionRef::try_from).collect::<Result<_, _>>()?,
        })
    }
}

fn optional<T>(bytes: &[u8], parse: impl Fn(&[u8]) -> Result<T, FieldError>) -> Result<Option<T>, FieldError> {
    (!bytes.is_empty()).then(|| parse(bytes)).transpose()
}

#[cfg(test)]
mod tests;
