//! Requests for access: signed by this identity, certified, answered, proven, and decrypted.
//!
//! Every call leaves an event in the patient's log before anything is answered. The same
//! request may be sent again, over any node, for two minutes: it stays one event. What is
//! denied, and what is not, are not told apart.

use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_proto::envelope::{ContentKey, EnvelopeContext, KeyWrap, open_payload, unwrap_key};
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{DisclosureId, EmergencyId, PatientPseudonym, ProjectTag, RecordId};
use consilium_proto::pb::{self, AccessKind, PurposeOfUse};
use consilium_proto::record::GoodSignatures;
use consilium_proto::state::{WrapName, keys};
use consilium_proto::state_tree::{StateProof, verify_state_proof};
use consilium_proto::transaction::VersionRef;
use prost::Message;
use zeroize::Zeroizing;

use super::disagreements::{self, Statement};
use super::reader::{History, Opened, RecordReader, Shown, service};
use crate::answer::Proven;
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::paging::{Pages, whole};

/// How long a reader waits for its custodian's wrap unless told otherwise.
pub const KEY_PATIENCE: Duration = Duration::from_secs(10);
/// How long a node waits for it before it answers, at most.
const KEY_WAIT: Duration = Duration::from_secs(5);
/// Between two questions, also to a node that does not wait.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// For what somebody reads, and on whose behalf.
#[derive(Debug, Clone, PartialEq)]
pub struct Access {
    /// The purpose.
    pub purpose: PurposeOfUse,
    /// The emergency for which it is; the purpose is BTG then, and nothing else has one.
    pub emergency: Option<EmergencyId>,
    /// Salted commitment to the person for whom a system reads.
    pub acting: Option<Hash>,
    /// A project of research.
    pub project: Option<ProjectTag>,
    /// Whether contents are taken along, to be handed on or used elsewhere: it stands so in the log.
    pub export: bool,
    /// A disclosure whose seal keeps the entry from the patient, too.
    pub sealed_by: Option<DisclosureId>,
    /// Actions in the same transaction before the request, as the declaration of an emergency.
    pub before: Vec<pb::Action>,
    /// Attachments of those actions.
    pub attachments: Vec<Bytes>,
}

impl Access {
    /// For a purpose.
    #[must_use]
    pub fn of(purpose: PurposeOfUse) -> Self {
        Self {
            purpose,
            emergency: None,
            acting: None,
            project: None,
            export: false,
            sealed_by: None,
            before: Vec::new(),
            attachments: Vec::new(),
        }
    }

    pub(super) fn request(&self, patient: PatientPseudonym, kind: AccessKind) -> pb::RequestAccess {
        let copy = |id: &[u8]| Bytes::copy_from_slice(id);
        pb::RequestAccess {
            patient: copy(&patient.0),
            purpose: self.purpose.into(),
            kind: kind.into(),
            emergency_id: self.emergency.map(|id| copy(&id.0)).unwrap_or_default(),
            acting_sha256: self.acting.map(|hash| hash.to_bytes()).unwrap_or_default(),
            project: self.project.map(|id| copy(&id.0)).unwrap_or_default(),
            sealed_by: self
                .sealed_by
                .map(|id| pb::SealedBy { disclosure_id: copy(&id.0), salt: copy(&rand::random::<[u8; 16]>()) }),
            ..pb::RequestAccess::default()
        }
    }
}

/// A request that was answered, and under which header.
pub(super) type Answer = (Answered<pb::ReadRecordsRequest, pb::ReadRecordsResponse>, Header);

impl RecordReader {
    /// Asks for versions with their contents, and waits for their keys.
    pub(super) async fn ask_contents(
        &self,
        patient: PatientPseudonym,
        records: &[VersionRef],
    ) -> Result<Answer, ClientError> {
        let request = self.contents_request(patient, records)?;
        self.ask_with_keys(request, Instant::now() + self.patience()).await
    }

    pub(super) fn contents_request(
        &self,
        patient: PatientPseudonym,
        records: &[VersionRef],
    ) -> Result<pb::ReadRecordsRequest, ClientError> {
        let kind = if self.access().export { AccessKind::Export } else { AccessKind::Read };
        let request = self.access().request(patient, kind);
        let request = pb::RequestAccess { records: records.iter().map(Into::into).collect(), ..request };
        Ok(pb::ReadRecordsRequest { transaction: Some(self.sign(request)?), ..Default::default() })
    }

    /// Asks until the keys of what is released are there, or time is over.
    pub(super) async fn ask_with_keys(
        &self,
        mut request: pb::ReadRecordsRequest,
        until: Instant,
    ) -> Result<Answer, ClientError> {
        loop {
            let asked = Instant::now();
            let wait = until.saturating_duration_since(asked).min(KEY_WAIT);
            request.wait_for_key_ms = wait.as_millis().try_into().unwrap_or(u32::MAX);
            let (answered, header) = self.client().recent(|| self.ask_access(&request)).await?;
            let own = self.client().identity().encryption_key_id().map(|key| key.to_bytes());
            let has_key = |record: &pb::ReleasedRecord| {
                record.wraps.iter().any(|wrap| Some(&wrap.recipient_key_id) == own.as_ref())
            };
            let waits = answered.answer.records.iter().any(|record| !record.payload.is_empty() && !has_key(record));
            if waits && Instant::now() < until {
                tokio::time::sleep_until((asked + ASK_AGAIN).into()).await;
                continue;
            }
            return Ok((answered, header));
        }
    }

    /// One version of a record of a patient; `None` is the newest.
    ///
    /// # Errors
    /// As [`Self::read`]; NOT_FOUND for what may not be read, or is not.
    pub async fn get_of(
        &self,
        patient: PatientPseudonym,
        record: RecordId,
        version: Option<u32>,
    ) -> Result<Opened, ClientError> {
        let asked = VersionRef { record, version: version.unwrap_or(0) };
        self.read(patient, &[asked]).await?.pop().ok_or_else(ClientError::not_found)
    }

    /// All versions of a record of a patient that may be seen, oldest first, without contents.
    ///
    /// # Errors
    /// As [`Self::get_of`].
    pub async fn history_of(
        &self,
        patient: PatientPseudonym,
        record: RecordId,
    ) -> Result<Proven<History>, ClientError> {
        let request = self.access().request(patient, AccessKind::History);
        let records = vec![pb::VersionRef::from(&VersionRef { record, version: 0 })];
        let request = pb::RequestAccess { records, ..request };
        let request = pb::ReadRecordsRequest { transaction: Some(self.sign(request)?), ..Default::default() };
        whole(|| self.all_of_history((patient, record), request.clone())).await
    }

    async fn all_of_history(
        &self,
        (patient, record): (PatientPseudonym, RecordId),
        mut request: pb::ReadRecordsRequest,
    ) -> Result<Proven<History>, ClientError> {
        let (mut pages, mut history) = (Pages::default(), None);
        loop {
            let (answered, header) = self.client().recent(|| self.ask_access(&request)).await?;
            let more = pages.follow(&answered.answer.next_page_token, answered.answer.records.len());
            let page = self.check_history(patient, record, &answered.answer, &header).await;
            let joined = page.and_then(|page| Ok((History::join(history, page)?, more?)));
            let (joined, more) = self.client().judged(&answered, joined)?;
            history = joined;
            if !more {
                return Ok(Proven::under(&header, history.ok_or_else(ClientError::not_found)?));
            }
            request.page_token = pages.token();
        }
    }

    /// The versions of an answer, which its first one proves.
    async fn check_history(
        &self,
        patient: PatientPseudonym,
        record: RecordId,
        answer: &pb::ReadRecordsResponse,
        header: &Header,
    ) -> Result<Option<History>, ClientError> {
        let versions: Option<Vec<_>> = answer.records.iter().map(|released| released.record.clone()).collect();
        let versions = versions.ok_or_else(|| FieldError::missing("record"))?;
        let Some(first) = answer.records.first() else { return Ok(None) };
        if versions.iter().any(|version| version.patient != patient.0[..]) {
            return Err(ClientError::contradiction("a record of another patient was answered"));
        }
        self.prove(record, &versions, first.proof.as_ref(), header).await.map(Some)
    }

    pub(super) fn sign(&self, request: pb::RequestAccess) -> Result<pb::SignedTransaction, ClientError> {
        let request = pb::Action { action: Some(pb::action::Action::RequestAccess(request)) };
        let actions = self.access().before.iter().cloned().chain([request]).collect();
        self.client().sign(actions, self.access().attachments.clone())
    }

    pub(super) async fn ask_access(&self, request: &pb::ReadRecordsRequest) -> Result<Answer, ClientError> {
        let ask = |channel, request| async move { service(channel).read_records(request).await };
        let answered = self.client().ask("ReadRecords", request.clone(), ask).await?;
        let header = self.client().final_header(answered.answer.header.as_ref()).await;
        let header = self.client().judged(&answered, header)?;
        Ok((answered, header))
    }

    /// A version that was answered, proven and of the patient.
    pub(super) async fn check_released(
        &self,
        patient: PatientPseudonym,
        released: &pb::ReleasedRecord,
        (header, good): (&Header, &mut GoodSignatures),
    ) -> Result<Shown, ClientError> {
        let record = released.record.as_ref().ok_or_else(|| FieldError::missing("record"))?;
        let id = RecordId::parse("record_id", &record.record_id)?;
        let shown = std::slice::from_ref(record);
        let shown = self.prove_among(id, shown, released.proof.as_ref(), (header, good)).await?;
        match record.patient == patient.0[..] {
            true => Ok(Shown::of(record, shown)),
            false => Err(ClientError::contradiction("a record of another patient was answered")),
        }
    }

    /// What an answer releases of those that are left of the request.
    pub(super) async fn open_all(
        &self,
        patient: PatientPseudonym,
        left: &mut std::slice::Iter<'_, VersionRef>,
        answer: &pb::ReadRecordsResponse,
        header: &Header,
    ) -> Result<Vec<Opened>, ClientError> {
        let (mut opened, mut good) = (Vec::with_capacity(answer.records.len()), GoodSignatures::default());
        for released in &answer.records {
            let shown = self.check_released(patient, released, (header, &mut good)).await?;
            let id = RecordId::parse("record_id", &shown.version.record_id)?;
            // In the order of the request, with gaps for what is denied.
            let wanted = left.find(|asked| asked.record == id).map(|asked| asked.version);
            let number = wanted.map(|wanted| if wanted == 0 { shown.newest } else { wanted });
            if number != Some(shown.version.version) {
                let (answered, newest) = (shown.version.version, shown.newest);
                let why = format!("version {answered} was answered, the newest one is {newest}");
                return Err(ClientError::contradiction(why));
            }
            let (plaintext, disagreements) = match shown.version.retraction {
                true => (None, Vec::new()),
                false => {
                    let (plaintext, statements) = self.decrypt(id, &shown, released, header).await?;
                    (Some(plaintext), statements)
                }
            };
            opened.push(Opened { record: Proven::under(header, shown), plaintext, disagreements });
        }
        Ok(opened)
    }

    async fn decrypt(
        &self,
        id: RecordId,
        shown: &Shown,
        released: &pb::ReleasedRecord,
        header: &Header,
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<Statement>), ClientError> {
        let wrap = self.own_wrap(id, &shown.version, released, header)?;
        let sealed = disagreements::committed(shown, released)?;
        let (client, payload, version) = (self.client().clone(), released.payload.clone(), shown.version.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let (key, plaintext) = open(&client, id, &version, &payload, &wrap)?;
            Ok((plaintext, disagreements::open(&client, &key, sealed)))
        });
        let opened = opened.await;
        opened.map_err(|_| ClientError::Usage("decryption was interrupted".into()))?
    }

    /// The wrap for this identity's key, which the version commits to, or the row of the state
    /// that a custodian's wrap has.
    pub(super) fn own_wrap(
        &self,
        id: RecordId,
        version: &pb::RecordVersion,
        released: &pb::ReleasedRecord,
        header: &Header,
    ) -> Result<Bytes, ClientError> {
        let own = self.client().identity().encryption_key_id();
        let own = own.ok_or(ClientError::Setting { setting: "encryption_key" })?;
        let is_own = |id: &Bytes| id[..] == own.as_bytes()[..];
        let wrap = released.wraps.iter().find(|wrap| is_own(&wrap.recipient_key_id));
        let wrap = wrap.ok_or_else(|| {
            ClientError::Usage("the record is not encrypted for this identity's key (yet): ask its custodian".into())
        })?;
        let committed = version.wraps.iter().find(|w| is_own(&w.recipient_key_id)).map(|w| w.wrap_sha256.clone());
        let committed = match committed {
            Some(hash) => hash,
            None => {
                let key = keys::wrap_state(&WrapName { record: id, version: version.version, recipient: own });
                added(&key, wrap, header)?
            }
        };
        match committed[..] == sha256(&[&wrap.wrap])[..] {
            true => Ok(wrap.wrap.clone()),
            false => Err(ClientError::contradiction("the key wrap does not have the hash that the ledger names")),
        }
    }
}

/// The hash that the state names for a wrap that a custodian added.
fn added(key: &[u8], wrap: &pb::KeyWrap, header: &Header) -> Result<Bytes, ClientError> {
    let proof = StateProof::decode(&wrap.state_proof).map_err(|e| ClientError::contradiction(e.to_string()))?;
    verify_state_proof(&header.state_root, key, Some(&wrap.state), &proof)
        .map_err(|_| ClientError::contradiction("the row of the key wrap is not in the certified state"))?;
    let state = pb::WrapState::decode(wrap.state.clone());
    let state = state.map_err(|_| FieldError::malformed("wraps.state", "is not a WrapState"))?;
    Ok(state.wrap_sha256)
}

fn open(
    client: &Client,
    record_id: RecordId,
    record: &pb::RecordVersion,
    payload: &Bytes,
    wrap: &Bytes,
) -> Result<(ContentKey, Zeroizing<Vec<u8>>), ClientError> {
    if sha256(&[payload]) != fixed::<32>("record.payload_sha256", &record.payload_sha256)? {
        return Err(ClientError::contradiction("the payload does not have the hash that the record names"));
    }
    let context = EnvelopeContext {
        ledger_id: *client.genesis().ledger_id.as_bytes(),
        record_id: record_id.0,
        version: record.version,
    };
    let key = content_key(client, &context, wrap)?;
    let plaintext = open_payload(&key, &context, payload)?;
    Ok((key, plaintext))
}

/// The content key of a version, by this identity's wrap.
pub(super) fn content_key(client: &Client, context: &EnvelopeContext, wrap: &[u8]) -> Result<ContentKey, ClientError> {
    let private = client.identity().encryption_key().ok_or(ClientError::Setting { setting: "encryption_key" })?;
    Ok(unwrap_key(&KeyWrap::decode(wrap)?, private, context)?)
}
