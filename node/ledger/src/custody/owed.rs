//! Wraps that are owed unasked: for those for whom a version may be wrapped when it is written, its
//! patient and the person who wrote it. A patient who is accepted later, has a new identity or
//! another key is to be able to open what was written before, and so is a person with another key;
//! the custodian puts requests for that on its own list of work. For nobody else: whoever reads by a
//! permit asks, so that there is no key of whose reading nothing is on the ledger.
//!
//! Services are owed nothing. One that has written most of what its hospital keeps would have all of
//! it wrapped anew with each of its certificates; it asks when it reads.

use std::collections::BTreeSet;

use consilium_proto::ids::{KeyId, PatientPseudonym, RecordId, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{
    EncryptionKeyState, IdentityState, Outcome, PatientRelation, RecordState, RecordVersion, RetractionReason,
};

use super::{Kept, added, is_written_for, wanted_keys};
use crate::actions::is_newest_key;
use crate::keys;
use crate::rights::{identities_of, reads_as};
use crate::roster::corrupt;
use crate::rules::Refusal;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// A version of a record, and at which block time it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Owed<'a> {
    /// The record's row.
    pub record: &'a RecordState,
    /// Its id.
    pub id: &'a RecordId,
    /// The version.
    pub version: &'a RecordVersion,
    /// Block time.
    pub time: TimeMs,
}

impl Owed<'_> {
    /// Keys for which wraps are owed and not asked for yet.
    ///
    /// # Errors
    /// If the store fails.
    pub fn keys<R: StateReader>(&self, reader: &R) -> Result<Vec<KeyId>, StoreFault> {
        let (view, kept) = (&View::new(reader), &Kept::load(reader)?);
        if !self.is_kept(view)? {
            return Ok(Vec::new());
        }
        let mut persons = identities_of(view, &self.patient()?, kept.custodians(&self.record.member))?;
        persons.insert(self.version.author.clone());
        let mut owed = BTreeSet::new();
        for person in persons {
            let identity: Option<IdentityState> = view.message(Table::State, &keys::identity(&person))?;
            let key = identity.map(|identity| KeyId::try_from(identity.encryption_key_id.as_ref()));
            let Some(Ok(key)) = key else { continue };
            if self.lacks(view, &key)? && self.entitles(view, &person, &key)? {
                owed.insert(key);
            }
        }
        Ok(owed.into_iter().collect())
    }

    /// To whom a wrap for a key is owed. Refuses one that is there, is asked for, or is nobody's whom
    /// the version is owed to.
    pub(crate) fn ensure_owed<R: StateReader>(&self, view: &View<'_, R>, key: &KeyId) -> Result<String, Refusal> {
        let enrolled: Option<EncryptionKeyState> = view.message(Table::State, &keys::encryption_key(key))?;
        let holder = enrolled.ok_or(Refusal::Rejected(Outcome::WrapNotRequested))?.spiffe_id;
        match self.is_kept(view)? && self.lacks(view, key)? && self.entitles(view, &holder, key)? {
            true => Ok(holder),
            false => Err(Refusal::Rejected(Outcome::WrapNotRequested)),
        }
    }

    /// Whether the custodian opens the version by its newest key: it could not answer otherwise.
    fn is_kept<R: StateReader>(&self, view: &View<'_, R>) -> Result<bool, StoreFault> {
        let Some(newest) = wanted_keys(view, &self.record.member)?.into_iter().next() else { return Ok(false) };
        let added = added(view, self.id, self.version.version, &newest)?;
        Ok(is_written_for(self.version, &newest) || added.is_some_and(|added| !added.wrap_sha256.is_empty()))
    }

    /// Whether the version is neither wrapped for a key, nor is anybody asked for it.
    fn lacks<R: StateReader>(&self, view: &View<'_, R>, key: &KeyId) -> Result<bool, StoreFault> {
        let asked = added(view, self.id, self.version.version, key)?;
        Ok(!self.version.retraction && asked.is_none() && !is_written_for(self.version, key))
    }

    /// Whether the version may be wrapped for a person unasked, who has this key for the newest.
    pub(crate) fn entitles<R: StateReader>(
        &self,
        view: &View<'_, R>,
        person: &str,
        key: &KeyId,
    ) -> Result<bool, StoreFault> {
        let id: SpiffeId = person.parse().map_err(|e| corrupt(format!("encryption key: {e}")))?;
        // Filed under the wrong patient, it is for nobody before it is clear whose it is.
        if !is_person(id.role()) || self.record.retraction_reason() == RetractionReason::WrongPatient {
            return Ok(false);
        }
        let kept = Kept::over(view)?;
        let custodians = kept.custodians(&self.record.member);
        let entitled = person == self.version.author
            || reads_as(view, &self.patient()?, custodians, (person, self.time))? == Some(PatientRelation::Self_);
        Ok(entitled && is_newest_key(view, person, key)?)
    }

    fn patient(&self) -> Result<PatientPseudonym, StoreFault> {
        PatientPseudonym::parse("patient", &self.record.patient).map_err(|e| corrupt(format!("record: {e}")))
    }
}

fn is_person(role: Role) -> bool {
    match role {
        Role::Clinician | Role::Patient | Role::Researcher | Role::Auditor => true,
        Role::Node | Role::Admin | Role::Service | Role::Device => false,
    }
}
