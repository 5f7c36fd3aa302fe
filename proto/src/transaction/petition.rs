//! Petitions of patients, parsed. What they do is for the rules.

use crate::error::{FieldError, fixed, in_range};
use crate::hash::Hash;
use crate::ids::{PatientPseudonym, PetitionId, TransactionId};
use crate::names::MemberId;
use crate::pb::{self, PetitionKind as Kind, PetitionRefusal, PetitionVerdict};
use crate::transaction::VersionRef;

/// An action about a petition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PetitionAction {
    /// See `OpenPetition`.
    Open(OpenPetition),
    /// See `AnswerPetition`.
    Answer(AnswerPetition),
}

/// A petition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPetition {
    /// The petition.
    pub id: PetitionId,
    /// The patient.
    pub patient: PatientPseudonym,
    /// The member that is asked.
    pub member: MemberId,
    /// What is asked, and about what.
    pub subject: PetitionSubject,
    /// Commitment to the sealed text, which is attached.
    pub text: Option<Hash>,
    /// Commitment to the paper.
    pub document: Option<Hash>,
}

/// What is asked, and about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PetitionSubject {
    /// To put a version right.
    Correction(VersionRef),
    /// Whether the entry of a request was rightful.
    Complaint(TransactionId),
    /// Which person the entry of a request is about.
    Name(TransactionId),
    /// A statement of disagreement.
    Disagreement {
        /// With this version.
        record: VersionRef,
        /// The correction that was refused.
        refused: PetitionId,
    },
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerPetition {
    /// The petition.
    pub id: PetitionId,
    /// What became of it.
    pub verdict: Answered,
    /// Commitment to the sealed text, which is attached.
    pub text: Option<Hash>,
    /// Commitment to a letter.
    pub letter: Option<Hash>,
}

/// What became of a petition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Granted; of a correction, by this version, of others by 0.
    Granted {
        /// The version that puts it right.
        amended: u32,
    },
    /// Refused.
    Refused(PetitionRefusal),
}

impl PetitionSubject {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Correction(_) => Kind::Correction,
            Self::Complaint(_) => Kind::Complaint,
            Self::Name(_) => Kind::Name,
            Self::Disagreement { .. } => Kind::Disagreement,
        }
    }

    /// The version that it is about, if it is about one.
    #[must_use]
    pub fn record(&self) -> Option<VersionRef> {
        match self {
            Self::Correction(record) | Self::Disagreement { record, .. } => Some(*record),
            Self::Complaint(_) | Self::Name(_) => None,
        }
    }

    /// The entry of the log that it is about, if it is about one.
    #[must_use]
    pub fn entry(&self) -> Option<TransactionId> {
        match self {
            Self::Complaint(entry) | Self::Name(entry) => Some(*entry),
            Self::Correction(_) | Self::Disagreement { .. } => None,
        }
    }

    fn parse(m: &pb::OpenPetition) -> Result<Self, FieldError> {
        let unknown = || FieldError::malformed("kind", "is not a known kind of petition");
        let kind = Kind::try_from(m.kind).ok().filter(|kind| *kind != Kind::Unspecified).ok_or_else(unknown)?;
        let about_record = matches!(kind, Kind::Correction | Kind::Disagreement);
        if about_record != m.record.is_some() {
            return Err(FieldError::malformed("record", "is for corrections and disagreements, which must have one"));
        }
        if about_record != m.entry_id.is_empty() {
            return Err(FieldError::malformed("entry_id", "is for complaints and names, which must have one"));
        }
        if (kind == Kind::Disagreement) == m.refused_id.is_empty() {
            return Err(FieldError::malformed("refused_id", "is for disagreements, which must have one"));
        }
        let record = || {
            let record = m.record.as_ref().ok_or_else(|| FieldError::missing("record"))?;
            in_range("record.version", record.version.into(), 1, u32::MAX.into())?;
            VersionRef::try_from(record).map_err(|e| e.within("record"))
        };
        let entry = || fixed("entry_id", &m.entry_id).map(TransactionId::from_bytes);
        match kind {
            Kind::Correction => record().map(Self::Correction),
            Kind::Complaint => entry().map(Self::Complaint),
            Kind::Name => entry().map(Self::Name),
            Kind::Disagreement => {
                Ok(Self::Disagreement { record: record()?, refused: PetitionId::parse("refused_id", &m.refused_id)? })
            }
            Kind::Unspecified => Err(unknown()),
        }
    }
}

impl PetitionAction {
    pub(super) fn open(m: &pb::OpenPetition) -> Result<Self, FieldError> {
        let subject = PetitionSubject::parse(m)?;
        let text = optional("text_sha256", &m.text_sha256)?;
        if subject.kind() == Kind::Disagreement && text.is_none() {
            return Err(FieldError::missing("text_sha256"));
        }
        Ok(Self::Open(OpenPetition {
            id: PetitionId::parse("petition_id", &m.petition_id)?,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            member: MemberId::parse("member", &m.member)?,
            subject,
            text,
            document: optional("document_sha256", &m.document_sha256)?,
        }))
    }

    pub(super) fn answer(m: &pb::AnswerPetition) -> Result<Self, FieldError> {
        let refusal = PetitionRefusal::try_from(m.refusal)
            .map_err(|_| FieldError::malformed("refusal", "is not a known reason"))?;
        let verdict = match (PetitionVerdict::try_from(m.verdict), refusal) {
            (Ok(PetitionVerdict::Granted), PetitionRefusal::Unspecified) => {
                Answered::Granted { amended: m.amended_version }
            }
            (Ok(PetitionVerdict::Refused), refusal) if refusal != PetitionRefusal::Unspecified => {
                in_range("amended_version", m.amended_version.into(), 0, 0)?;
                Answered::Refused(refusal)
            }
            (Ok(PetitionVerdict::Granted | PetitionVerdict::Refused), _) => {
                return Err(FieldError::malformed("refusal", "is for refusals, which must have one"));
            }
            (Ok(PetitionVerdict::Unspecified) | Err(_), _) => {
                return Err(FieldError::malformed("verdict", "is not a known verdict"));
            }
        };
        let id = PetitionId::parse("petition_id", &m.petition_id)?;
        let (text, letter) = (optional("text_sha256", &m.text_sha256)?, optional("letter_sha256", &m.letter_sha256)?);
        Ok(Self::Answer(AnswerPetition { id, verdict, text, letter }))
    }
}

fn optional(field: &str, bytes: &[u8]) -> Result<Option<Hash>, FieldError> {
    (!bytes.is_empty()).then(|| fixed(field, bytes).map(Hash::from_bytes)).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Change = fn(&mut pb::OpenPetition);

    fn correction() -> pb::OpenPetition {
        pb::OpenPetition {
            petition_id: vec![1; 16].into(),
            patient: vec![2; 16].into(),
            member: "a.example".into(),
            kind: Kind::Correction.into(),
            record: Some(pb::VersionRef { record_id: vec![3; 16].into(), version: 1 }),
            ..pb::OpenPetition::default()
        }
    }

    #[test]
    fn petitions_are_refused_by_the_field_that_is_wrong() {
        let cases: [(&str, Change); 9] = [
            ("petition_id", |p| p.petition_id = vec![1; 15].into()),
            ("member", |p| p.member = "no member".into()),
            ("kind", |p| p.kind = 0),
            ("record", |p| p.record = None),
            ("record.version", |p| p.record.as_mut().unwrap().version = 0),
            ("entry_id", |p| p.entry_id = vec![1; 32].into()),
            ("refused_id", |p| p.kind = Kind::Disagreement.into()),
            ("refused_id", |p| p.refused_id = vec![1; 16].into()),
            ("text_sha256", |p| (p.kind, p.refused_id) = (Kind::Disagreement.into(), vec![1; 16].into())),
        ];
        assert!(PetitionAction::open(&correction()).is_ok());
        for (field, change) in cases {
            let mut petition = correction();
            change(&mut petition);
            assert_eq!(PetitionAction::open(&petition).unwrap_err().field, field);
        }
        let about_log = |kind: Kind| pb::OpenPetition {
            kind: kind.into(),
            record: None,
            entry_id: vec![4; 32].into(),
            ..correction()
        };
        for kind in [Kind::Complaint, Kind::Name] {
            let Ok(PetitionAction::Open(open)) = PetitionAction::open(&about_log(kind)) else { panic!("{kind:?}") };
            assert_eq!((open.subject.kind(), open.subject.record()), (kind, None));
        }
    }

    #[test]
    fn answers_say_why_they_refuse_and_only_then() {
        let answer = |verdict: PetitionVerdict, refusal: PetitionRefusal, amended_version| {
            let answer = pb::AnswerPetition {
                petition_id: vec![1; 16].into(),
                verdict: verdict.into(),
                refusal: refusal.into(),
                amended_version,
                ..pb::AnswerPetition::default()
            };
            PetitionAction::answer(&answer).map_err(|e| e.field)
        };
        use PetitionRefusal as R;
        use PetitionVerdict as V;
        assert!(answer(V::Granted, R::Unspecified, 2).is_ok() && answer(V::Refused, R::Accurate, 0).is_ok());
        for (verdict, refusal, amended, field) in [
            (V::Unspecified, R::Unspecified, 0, "verdict"),
            (V::Granted, R::Law, 0, "refusal"),
            (V::Refused, R::Unspecified, 0, "refusal"),
            (V::Refused, R::Law, 1, "amended_version"),
        ] {
            assert_eq!(answer(verdict, refusal, amended).unwrap_err(), field);
        }
    }
}
