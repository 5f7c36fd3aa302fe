//! Who may read what: the facts of a request, gathered from the state, and the decision of
//! each record. The rules decide by it when a request is executed; a node decides by the same
//! functions which records a query shows, and a custodian's wraps depend on it. What was decided
//! opens contents only once it is certified ([`open`]).
//!
//! It reads rows that are never erased, and nothing else.

mod consents;
mod in_sight;
mod patient;
mod release;

use consilium_proto::access::{Facts, PolicyRules, RecordFacts, permits};
use consilium_proto::consent::Asked;
use consilium_proto::ids::{ConsentId, EmergencyId, PatientPseudonym, PolicyTag, ProjectTag, RecordId, TimeMs};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{
    AccessGround as Ground, AccessKind, AccessPolicyState, PurposeOfUse, RecordState, RecordVersion, RetractionReason,
};

use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};
pub use in_sight::{IndexScan, records_of_member};
use patient::PatientFacts;
pub(crate) use patient::{identities_of, is_known, load_patient, reads_as, same_person};
pub use release::{Claim, Opened, Withheld, open, open_late};

/// A request, as far as it is the same for all records.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// Who reads.
    pub reader: &'a SpiffeId,
    /// The patient.
    pub patient: PatientPseudonym,
    /// What is asked for.
    pub kind: AccessKind,
    /// What for.
    pub purpose: PurposeOfUse,
    /// For which project.
    pub project: Option<ProjectTag>,
    /// In which emergency.
    pub emergency: Option<EmergencyId>,
    /// Block time.
    pub time: TimeMs,
}

/// What is decided of a record, and by which version of which consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// The strongest ground, or why not.
    pub ground: Ground,
    /// The consent that decided.
    pub consent: Option<(ConsentId, u32)>,
}

impl Decided {
    pub(crate) const NOT_FOUND: Self = Self { ground: Ground::NotFound, consent: None };

    /// Whether it is permitted.
    #[must_use]
    pub fn permits(&self) -> bool {
        permits(self.ground)
    }
}

/// Decides records of one patient for one request.
pub struct Decider<'a> {
    reading: Reading<'a>,
    policy: &'a dyn PolicyRules,
    /// Of the policy in force; `None`: the default one.
    text: Option<String>,
    facts: PatientFacts,
}

impl<'a> Decider<'a> {
    /// Gathers what is the same for all records.
    ///
    /// # Errors
    /// If the store fails.
    pub fn new<R: StateReader>(
        reader: &R,
        policy: &'a dyn PolicyRules,
        reading: Reading<'a>,
    ) -> Result<Self, StoreFault> {
        Self::over(&View::new(reader), policy, reading)
    }

    pub(crate) fn over<R: StateReader>(
        view: &View<'_, R>,
        policy: &'a dyn PolicyRules,
        reading: Reading<'a>,
    ) -> Result<Self, StoreFault> {
        let facts = PatientFacts::load(view, &reading)?;
        let version = view.roster()?.last_policy;
        let state: Option<AccessPolicyState> = view.message(Table::State, &keys::access_policy(version))?;
        Ok(Self { reading, policy, text: state.map(|state| state.text), facts })
    }

    /// Whether there is such a patient.
    #[must_use]
    pub fn knows_patient(&self) -> bool {
        self.facts.known
    }

    /// Decides one version of a record, 0 for the newest; and gives which one it is.
    ///
    /// # Errors
    /// If the store fails.
    pub fn decide<R: StateReader>(
        &mut self,
        reader: &R,
        id: &RecordId,
        version: u32,
    ) -> Result<(Decided, Option<RecordVersion>), StoreFault> {
        self.decide_over(&View::new(reader), id, version)
    }

    pub(crate) fn decide_over<R: StateReader>(
        &mut self,
        view: &View<'_, R>,
        id: &RecordId,
        version: u32,
    ) -> Result<(Decided, Option<RecordVersion>), StoreFault> {
        let record: Option<RecordState> = view.message(Table::State, &keys::record(id))?;
        let record = record.filter(|record| record.patient == self.reading.patient.0[..]);
        let newest = record.as_ref().map_or(0, |record| record.version);
        let number = if version == 0 { newest } else { version };
        let version: Option<RecordVersion> = view.message(Table::Versions, &keys::version(id, number))?;
        let newest: Option<RecordVersion> = match newest {
            0 => None,
            newest if newest == number => None,
            newest => view.message(Table::Versions, &keys::version(id, newest))?,
        };
        match (record.filter(|_| self.facts.known), version) {
            (Some(record), Some(version)) => {
                let decided = self.decide_version(view, &record, (id, &version, newest.as_ref()))?;
                Ok((decided, Some(version)))
            }
            (Some(_) | None, _) => {
                // What there is not is decided, too, so that the time does not tell it: as if the member
                // had it that has registered the patient.
                let record = RecordState { member: self.facts.registrar().to_owned(), ..RecordState::default() };
                self.decide_version(view, &record, (id, &RecordVersion::default(), None))?;
                Ok((Decided::NOT_FOUND, None))
            }
        }
    }

    /// What the newest version is protected by protects the older ones, too: an amendment that
    /// raises the confidentiality, or adds a label, would be worth nothing otherwise.
    fn decide_version<R: StateReader>(
        &mut self,
        view: &View<'_, R>,
        record: &RecordState,
        (id, version, newest): (&RecordId, &RecordVersion, Option<&RecordVersion>),
    ) -> Result<Decided, StoreFault> {
        self.facts.hear(view, &record.member)?;
        let tags = version.policy_tags.iter().chain(newest.iter().flat_map(|newest| &newest.policy_tags));
        let tags = tags.map(|tag| PolicyTag::parse("policy_tags", tag));
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(|e| corrupt(format!("version: {e}")))?;
        let confidentiality =
            newest.map_or(version.confidentiality(), |newest| version.confidentiality().max(newest.confidentiality()));
        let state = record;
        let record = RecordFacts {
            id: *id,
            kind: &version.kind,
            confidentiality,
            custodian: &record.member,
            author: &version.author,
            tags: &tags,
            restricted: false,
        };
        let (Reading { reader, kind, purpose, project, time, .. }, facts) = (&self.reading, &self.facts);
        let (kind, purpose, project, time) = (*kind, *purpose, *project, *time);
        let asked = Asked { reader, purpose, project, time, record: &record };
        let (consent, by) = facts.consents_say(&asked);
        let accepted_as = facts.accepted_as(&asked);
        // It is somebody else's. One person who says so closes it to all but the patient.
        let misfiled = state.retraction_reason() == RetractionReason::WrongPatient;
        let restricted = misfiled && (accepted_as.is_none() || !state.retraction_confirmed_by.is_empty());
        let facts = Facts {
            reader,
            overdue_reviews: facts.overdue_reviews,
            kind,
            purpose,
            record: RecordFacts { restricted, ..record },
            accepted_as,
            under_care: facts.under_care,
            consent,
            emergency: facts.emergency,
            emergency_forbidden: facts.emergency_forbidden(&asked),
        };
        let ground = self.policy.decide(self.text.as_deref(), &facts)?;
        let consent = match ground {
            Ground::Consent | Ground::ConsentDenies => by,
            Ground::Unspecified
            | Ground::Author
            | Ground::Custodian
            | Ground::Patient
            | Ground::Representative
            | Ground::Emergency
            | Ground::Each
            | Ground::NotFound
            | Ground::Role
            | Ground::NoConsent
            | Ground::NoEmergency
            | Ground::Policy
            | Ground::PolicyError
            | Ground::Restricted => None,
        };
        Ok(Decided { ground, consent })
    }
}
