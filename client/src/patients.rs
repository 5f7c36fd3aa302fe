//! Patients: found by blinded identifiers, or registered under a new random pseudonym.
//!
//! An identifier leads to a pseudonym only as far as a member says so: what is found is
//! proven to be said, by whom, and since when. Of several the first counts, so that all
//! members come to the same one, and nobody can lead an identifier elsewhere later.
//! Identifiers never leave this process in clear and never stand in an error.
//!
//! What a member says of a patient (who speaks for it, which pseudonyms are one person's, that
//! it is under care) is said by a service or a clinician, and counts for the records of which
//! that member is the custodian. Each comes with the salted hash of what shows it
//! ([`crate::documents`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use bytes::Bytes;
use consilium_grpc::patients_service_client::PatientsServiceClient;
use consilium_proto::envelope::{SearchKey, lookup_tag};
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{PatientPseudonym, SearchTag, TimeMs};
use consilium_proto::limits::{ANSWER_BYTES_MAX, RESOLVE_TAGS_MAX};
use consilium_proto::names::SpiffeId;
use consilium_proto::patient::{Lookup, ResolvedPatient};
use consilium_proto::pb::{self, PatientRelation, RepresentativeScope, action::Action};
use tokio::sync::Mutex;

use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::fhir::{PatientName, Reference};
use crate::records::new_pseudonym;
use crate::submit::Submitted;

/// Patients registered by one transaction, at most.
const REGISTERED_AT_ONCE: usize = 250;
/// Tags kept in the cache.
const KNOWN_MAX: usize = 100_000;

/// Finds and registers patients, and remembers whom it has found. A pseudonym that was found
/// once stays right; that another one is found first later makes no difference to it.
#[derive(Debug)]
pub struct Patients {
    client: Client,
    key: SearchKey,
    /// Held while something is registered, so that nobody is registered twice by this process.
    known: Mutex<BTreeMap<SearchTag, PatientPseudonym>>,
    /// See [`Self::under_two`].
    under_two: std::sync::Mutex<BTreeSet<(PatientPseudonym, PatientPseudonym)>>,
}

impl Patients {
    /// Those that this identity may find.
    ///
    /// # Errors
    /// If the profile has no search key.
    pub fn new(client: Client) -> Result<Self, ClientError> {
        let key = client.identity().search_key().cloned().ok_or(ClientError::Setting { setting: "search_key" })?;
        Ok(Self { client, key, known: Mutex::default(), under_two: Default::default() })
    }

    /// An identifier in canonical form, as the own member means it ([`crate::fhir`]).
    #[must_use]
    pub fn canonical(&self, reference: &str) -> String {
        Reference::new(reference).canonical(self.client.home())
    }

    /// The same with the spellings that earlier releases had for it.
    #[must_use]
    pub fn named(&self, reference: &str) -> PatientName {
        Reference::new(reference).named(self.client.home())
    }

    /// The tag of an identifier in canonical form ([`crate::fhir`]).
    #[must_use]
    pub fn tag(&self, identifier: &str) -> SearchTag {
        SearchTag(lookup_tag(&self.key, identifier.as_bytes()))
    }

    /// The patient that an identifier leads to, if anybody says so; that nobody does is a node's
    /// word.
    ///
    /// # Errors
    /// As [`Client::read`]; PERMISSION_DENIED for roles that write no records; an answer that
    /// proves nothing.
    pub async fn find(&self, identifier: &str) -> Result<Option<PatientPseudonym>, ClientError> {
        let tag = self.tag(identifier);
        Ok(self.all(&BTreeSet::from([tag])).await?.remove(&tag))
    }

    /// The same by a name: whom the canonical form leads to, else a former one.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn find_named(&self, name: &PatientName) -> Result<Option<PatientPseudonym>, ClientError> {
        let canonical = self.tag(name.canonical());
        let former: Vec<_> = name.former().map(|text| self.tag(text)).collect();
        let found = self.all(&former.iter().copied().chain([canonical]).collect()).await?;
        Ok([canonical].iter().chain(&former).find_map(|tag| found.get(tag)).copied())
    }

    /// The patients of identifiers; who is found by none is registered, certified before this
    /// returns.
    ///
    /// # Errors
    /// As [`Self::find`] and [`Client::submit`].
    pub async fn ensure<'a>(
        &self,
        identifiers: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<&'a str, PatientPseudonym>, ClientError> {
        let texts: Vec<&str> = identifiers.into_iter().collect();
        let names: Vec<_> = texts.iter().map(|text| PatientName::from(*text)).collect();
        let found = self.ensure_named(&names).await?;
        Ok(texts.into_iter().filter_map(|text| found.get(text).map(|patient| (text, *patient))).collect())
    }

    /// The patients of names, by their canonical forms; who is found by none is registered, certified
    /// before this returns. Who is found by a former form alone gets the look-up of the canonical
    /// one. If the two lead to different patients the canonical one's counts: [`Self::under_two`].
    ///
    /// # Errors
    /// As [`Self::ensure`].
    pub async fn ensure_named<'a>(
        &self,
        names: impl IntoIterator<Item = &'a PatientName>,
    ) -> Result<BTreeMap<&'a str, PatientPseudonym>, ClientError> {
        let names: Vec<_> = names.into_iter().map(|name| (name, self.tag(name.canonical()))).collect();
        let mut known = self.known.lock().await;
        if known.len() > KNOWN_MAX {
            known.clear();
        }
        let unknown: BTreeMap<SearchTag, Vec<SearchTag>> = names
            .iter()
            .filter(|(_, tag)| !known.contains_key(tag))
            .map(|(name, tag)| (*tag, name.former().map(|text| self.tag(text)).collect()))
            .collect();
        known.extend(self.registered(unknown).await?);
        let found = names.into_iter().map(|(name, tag)| known.get(&tag).map(|patient| (name.canonical(), *patient)));
        found.collect::<Option<_>>().ok_or_else(|| ClientError::contradiction("who was registered is not found"))
    }

    /// Patients that were found under two pseudonyms, as earlier releases took two spellings of
    /// one reference for two people: the one that counts, and the other.
    #[must_use]
    pub fn under_two(&self) -> BTreeSet<(PatientPseudonym, PatientPseudonym)> {
        self.under_two.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whom tags lead to, each with its former ones; registers who is found by none of them.
    async fn registered(
        &self,
        tags: BTreeMap<SearchTag, Vec<SearchTag>>,
    ) -> Result<BTreeMap<SearchTag, PatientPseudonym>, ClientError> {
        let all: BTreeSet<_> = tags.iter().flat_map(|(tag, former)| former.iter().chain([tag])).copied().collect();
        let by_any = self.all(&all).await?;
        let mut found = BTreeMap::new();
        let (mut by_former, mut absent) = (Vec::new(), Vec::new());
        for (tag, former) in tags {
            let other = former.iter().find_map(|former| by_any.get(former)).copied();
            match (by_any.get(&tag).copied(), other) {
                (Some(patient), other) => {
                    found.insert(tag, patient);
                    self.note_two(patient, other);
                }
                (None, Some(patient)) => by_former.push((tag, patient)),
                (None, None) => absent.push(tag),
            }
        }
        for some in by_former.chunks(REGISTERED_AT_ONCE) {
            found.extend(some.iter().copied());
            self.add_canonical(some).await?;
        }
        for some in absent.chunks(REGISTERED_AT_ONCE) {
            self.register(some).await?;
            // Somebody else may have done the same at the same time: all take the first.
            found.extend(self.all(&some.iter().copied().collect()).await?);
        }
        Ok(found)
    }

    fn note_two(&self, patient: PatientPseudonym, other: Option<PatientPseudonym>) {
        if let Some(other) = other.filter(|other| *other != patient) {
            self.under_two.lock().unwrap_or_else(PoisonError::into_inner).insert((patient, other));
        }
    }

    /// Has patients found by further tags. Where a member has no room for one more look-up
    /// of a patient, the former one serves on.
    async fn add_canonical(&self, found: &[(SearchTag, PatientPseudonym)]) -> Result<(), ClientError> {
        let (mut actions, mut attachments) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for (tag, patient) in found {
            let lookup = Lookup::new(*tag).map_err(consilium_proto::envelope::EnvelopeError::from)?;
            let add = pb::AddLookups { patient: bytes_of(*patient), lookups_sha256: vec![lookup.hash().to_bytes()] };
            actions.push(pb::Action { action: Some(Action::AddLookups(add)) });
            attachments.push(lookup.encode());
        }
        let signed = self.client.sign(actions, attachments)?;
        match self.client.submit(signed, pb::WaitFor::Certified).await?.into_applied() {
            Ok(_) | Err(ClientError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn register(&self, tags: &[SearchTag]) -> Result<(), ClientError> {
        let (mut actions, mut attachments) = (Vec::with_capacity(tags.len()), Vec::with_capacity(tags.len()));
        for tag in tags {
            let lookup = Lookup::new(*tag).map_err(consilium_proto::envelope::EnvelopeError::from)?;
            let register = pb::RegisterPatient {
                patient: Bytes::copy_from_slice(&new_pseudonym().0),
                lookups_sha256: vec![lookup.hash().to_bytes()],
            };
            actions.push(pb::Action { action: Some(Action::RegisterPatient(register)) });
            attachments.push(lookup.encode());
        }
        let signed = self.client.sign(actions, attachments)?;
        self.client.submit(signed, pb::WaitFor::Certified).await?.into_applied()?;
        Ok(())
    }

    /// Adds identifiers by which a patient is found from now on.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn add_lookups(&self, patient: PatientPseudonym, identifiers: &[String]) -> Result<(), ClientError> {
        let lookups = identifiers.iter().map(|text| Lookup::new(self.tag(text)));
        let lookups: Vec<_> =
            lookups.collect::<Result<_, _>>().map_err(consilium_proto::envelope::EnvelopeError::from)?;
        let add = pb::AddLookups {
            patient: Bytes::copy_from_slice(&patient.0),
            lookups_sha256: lookups.iter().map(|lookup| lookup.hash().to_bytes()).collect(),
        };
        let action = pb::Action { action: Some(Action::AddLookups(add)) };
        let signed = self.client.sign(vec![action], lookups.iter().map(Lookup::encode).collect())?;
        self.client.submit(signed, pb::WaitFor::Certified).await?.into_applied()?;
        Ok(())
    }

    /// Whom tags lead to, the one that counts of each.
    async fn all(&self, tags: &BTreeSet<SearchTag>) -> Result<BTreeMap<SearchTag, PatientPseudonym>, ClientError> {
        let mut found: Vec<ResolvedPatient> = Vec::new();
        let tags: Vec<_> = tags.iter().copied().collect();
        for some in tags.chunks(RESOLVE_TAGS_MAX) {
            found.extend(self.client.resolve_patients(some).await?);
        }
        found.sort_by_key(|found| (found.since, found.patient.0));
        let mut first = BTreeMap::new();
        for found in found {
            first.entry(found.tag).or_insert(found.patient);
        }
        Ok(first)
    }
}

/// An identity that a member accepts for a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Of role patient.
    pub identity: SpiffeId,
    /// Whose identity it is.
    pub relation: PatientRelation,
    /// Whether it may read the patient's records, and the list of who did.
    pub may_read: bool,
    /// Whether it may sign and revoke consents.
    pub may_consent: bool,
    /// Block time at which it ends, exclusive; `None`: never. A guardian's must end.
    pub to: Option<TimeMs>,
    /// Salted hash of what it was accepted upon.
    pub evidence: Hash,
    /// What a representative speaks for; `None`: everything.
    pub scope: Option<RepresentativeScope>,
}

impl Acceptance {
    fn action(&self, patient: PatientPseudonym, withdrawn: bool) -> Action {
        Action::AcceptPatient(pb::AcceptPatient {
            patient: bytes_of(patient),
            identity: self.identity.to_string(),
            relation: self.relation.into(),
            may_read: self.may_read,
            may_consent: self.may_consent,
            to_ms: self.to.map_or(0, |to| to.0),
            evidence_sha256: self.evidence.to_bytes(),
            withdrawn,
            scope: self.scope.clone(),
        })
    }
}

impl Client {
    /// Accepts an identity as a patient's or as its representative's, for the own member. What was
    /// said of the same identity before is replaced.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if there is no such patient, if it ends in
    /// the past, or the member has accepted as many as it may.
    pub async fn accept_patient(
        &self,
        patient: PatientPseudonym,
        acceptance: &Acceptance,
    ) -> Result<Submitted, ClientError> {
        self.say_of_patient(acceptance.action(patient, false)).await
    }

    /// Takes back the own member's acceptance of an identity: nothing that it ever signed binds the
    /// member any more. `evidence` is the salted hash of why.
    ///
    /// # Errors
    /// As [`Self::accept_patient`].
    pub async fn withdraw_acceptance(
        &self,
        patient: PatientPseudonym,
        identity: SpiffeId,
        relation: PatientRelation,
        evidence: Hash,
    ) -> Result<Submitted, ClientError> {
        let (to, scope) = (None, None);
        let nothing = Acceptance { identity, relation, may_read: false, may_consent: false, to, evidence, scope };
        self.say_of_patient(nothing.action(patient, true)).await
    }

    /// Says that two pseudonyms, and all that the member has linked with either, are one person's, for
    /// the own member's records.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if the member says so already, or
    /// takes more than 16 for one person's then.
    pub async fn link_patients(
        &self,
        patient: PatientPseudonym,
        other: PatientPseudonym,
        evidence: Hash,
    ) -> Result<Submitted, ClientError> {
        let (patient, other) = (bytes_of(patient), bytes_of(other));
        let link = pb::LinkPatients { patient, other, evidence_sha256: evidence.to_bytes() };
        self.say_of_patient(Action::LinkPatients(link)).await
    }

    /// Takes links of the own member back: `other` is linked with none of those that are linked with
    /// `patient` any more. That it was there stays in the patients' rows.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if the member has no such link.
    pub async fn unlink_patients(
        &self,
        patient: PatientPseudonym,
        other: PatientPseudonym,
    ) -> Result<Submitted, ClientError> {
        let unlink = pb::UnlinkPatients { patient: bytes_of(patient), other: bytes_of(other) };
        self.say_of_patient(Action::UnlinkPatients(unlink)).await
    }

    /// Says that a patient is under the own member's care up to a block time, at most a year ahead;
    /// a time that is not after now: the care has ended.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if there is no such patient, or the time is
    /// too far ahead.
    pub async fn attest_care(
        &self,
        patient: PatientPseudonym,
        to: TimeMs,
        evidence: Hash,
    ) -> Result<Submitted, ClientError> {
        let care = pb::AttestCare { patient: bytes_of(patient), to_ms: to.0, evidence_sha256: evidence.to_bytes() };
        self.say_of_patient(Action::AttestCare(care)).await
    }

    /// Says that a patient has died, for the own member's records: nobody speaks for it there any
    /// more but executors, who may be accepted from then on. Consents stay in force.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if nobody has registered the patient.
    pub async fn attest_death(&self, patient: PatientPseudonym, evidence: Hash) -> Result<Submitted, ClientError> {
        self.say_of_death(patient, evidence, false).await
    }

    /// Takes that back: it was said in error. `evidence` is the salted hash of why.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if the own member does not say so.
    pub async fn withdraw_death(&self, patient: PatientPseudonym, evidence: Hash) -> Result<Submitted, ClientError> {
        self.say_of_death(patient, evidence, true).await
    }

    async fn say_of_death(
        &self,
        patient: PatientPseudonym,
        evidence: Hash,
        withdrawn: bool,
    ) -> Result<Submitted, ClientError> {
        let death = pb::AttestDeath { patient: bytes_of(patient), evidence_sha256: evidence.to_bytes(), withdrawn };
        self.say_of_patient(Action::AttestDeath(death)).await
    }

    async fn say_of_patient(&self, action: Action) -> Result<Submitted, ClientError> {
        let signed = self.sign(vec![pb::Action { action: Some(action) }], Vec::new())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// Patients to whom tags lead, each proven to be said to; 1 to 256 tags.
    ///
    /// # Errors
    /// As [`Self::read`], or an answer that proves nothing.
    pub async fn resolve_patients(&self, tags: &[SearchTag]) -> Result<Vec<ResolvedPatient>, ClientError> {
        let ask = || self.fetch_patients(tags);
        let (answered, header) = self.recent(ask).await?;
        let verified = answered.answer.found.iter().map(|found| {
            let found = ResolvedPatient::verify(found, &header)?;
            match tags.contains(&found.tag) {
                true => Ok(found),
                false => Err(ClientError::contradiction("the node found what was not looked for")),
            }
        });
        let verified = verified.collect::<Result<_, ClientError>>();
        self.judged(&answered, verified)
    }

    async fn fetch_patients(
        &self,
        tags: &[SearchTag],
    ) -> Result<(Answered<pb::ResolvePatientsRequest, pb::ResolvePatientsResponse>, Header), ClientError> {
        let tags = tags.iter().map(|tag| Bytes::copy_from_slice(&tag.0)).collect();
        let request = pb::ResolvePatientsRequest { tags, read: None };
        let ask = |channel, request| async move {
            let mut service = PatientsServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
            service.resolve_patients(request).await
        };
        let answered = self.ask("ResolvePatients", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }
}

fn bytes_of(patient: PatientPseudonym) -> Bytes {
    Bytes::copy_from_slice(&patient.0)
}
