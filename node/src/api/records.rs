//! `RecordsService`: requests for access, and what is said of the records of one's own member.
//! What is denied looks exactly like what does not exist, in answers, counts, order and pages.

use std::ops::Range;

use bytes::Bytes;
use consilium_grpc::records_service_server::RecordsService;
use consilium_ledger::rights::records_of_member;
use consilium_ledger::{Table, keys, state_map};
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::ids::{Height, KeyId, PatientPseudonym, RecordId, SearchTag};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb;
use consilium_proto::record::Descriptor;
use consilium_proto::state::{StateKey, WrapName};
use consilium_proto::state_tree::KeyHash;
use prost::Message;
use tonic::{Request, Response, Status};

use super::Api;
use super::errors::Reason;
use super::pages::Filled;
use super::query::check_conditions;
use super::record_reader::{RecordReader, Said};
use super::release::SHOWN_MAX;
use crate::access::{self, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

type Answer<T> = Result<Response<T>, Status>;

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;
/// Index entries looked at for one page: bounds the cost of a query that
/// matches little. The page token goes on from there.
const SCAN_MAX: usize = 10_000;
const SEARCH_BY_REQUEST: &str =
    "only systems and auditors look for records so; others ask for those of a patient (ReadRecords, a query)";
/// What the proof of a record takes, and more.
const PROOF_BYTES: usize = 4_096;
/// Wraps that are shown of a record.
const WRAPS_MAX: usize = 4_096;

#[tonic::async_trait]
impl RecordsService for Api {
    async fn read_records(&self, request: Request<pb::ReadRecordsRequest>) -> Answer<pb::ReadRecordsResponse> {
        self.read_permitted(request).await
    }

    async fn get_record(&self, request: Request<pb::GetRecordRequest>) -> Answer<pb::GetRecordResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let id = record_id(&request.record_id)?;
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let mut records = RecordReader::new(ledger, &caller.id);
            let Some(said) = records.get(&id, request.version)? else { return Ok(None) };
            let proof = records.prove(&id, std::slice::from_ref(&said.record))?;
            Ok(Some((said, proof, ledger.tip_header().clone())))
        };
        let (said, proof, header) = self.read(read).await?.ok_or_else(not_found)?;
        let Said { record, descriptor, missing } = said;
        if missing {
            // Only who may have it learns of it.
            let _ = self.handle.attachment_missed(Height(record.height)).await;
            return Err(Reason::Behind.status("an attachment of this record is not on this node; another one has it"));
        }
        let header = Some((&self.prove_header(header, within).await?).into());
        let (record, proof) = (Some(record), Some((&proof).into()));
        Ok(Response::new(pb::GetRecordResponse { record, proof, header, descriptor }))
    }

    async fn query_records(&self, request: Request<pb::QueryRecordsRequest>) -> Answer<pb::QueryRecordsResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let mut request = request.into_inner();
        let token = std::mem::take(&mut request.page_token);
        let asked = pb::QueryRecordsRequest { page_size: 0, read: None, ..request.clone() };
        let (pages, place) = self.shared.pages.open(("QueryRecords", &caller.id), &asked, &token)?;
        request.page_token = place;
        let query = Query::parse(&request).map_err(|e| Reason::InvalidArgument.field(&e))?;
        if !decide(&access::Request { reader: &caller.id, what: What::Search }).allows() {
            return Err(Reason::PermissionDenied.status(SEARCH_BY_REQUEST));
        }
        self.freshen(request.read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let (found, next) = query.run(ledger, &caller.id)?;
            let (records, descriptors): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            let mut prover = RecordReader::new(ledger, &caller.id);
            let proofs = records.iter().map(|record| {
                let id = RecordId::parse("record_id", &record.record_id);
                let id = id.map_err(|e| StorageError::corrupt("version", e))?;
                Ok(pb::RecordProof::from(&prover.prove(&id, std::slice::from_ref(record))?))
            });
            let proofs = proofs.collect::<Result<_, StorageError>>()?;
            Ok((records, descriptors, proofs, next, ledger.tip_header().clone()))
        };
        let (records, descriptors, proofs, next, header) = self.read(read).await?;
        let next_page_token = pages.next(&next)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(Response::new(pb::QueryRecordsResponse { records, next_page_token, proofs, header, descriptors }))
    }

    async fn get_record_history(
        &self,
        request: Request<pb::GetRecordHistoryRequest>,
    ) -> Answer<pb::GetRecordHistoryResponse> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let mut request = request.into_inner();
        let id = record_id(&request.record_id)?;
        let (token, read) = (std::mem::take(&mut request.page_token), request.read.take());
        let (pages, place) = self.shared.pages.open(("GetRecordHistory", &caller.id), &request, &token)?;
        let first = first_version(&place).map_err(|e| Reason::InvalidArgument.field(&e))?;
        self.freshen(read.as_ref(), within).await?;
        let read = move |ledger: &LedgerSnapshot<'_>| {
            let mut records = RecordReader::new(ledger, &caller.id);
            let (mut versions, mut next) = records.history(&id, (first, SHOWN_MAX as u32))?;
            if versions.is_empty() {
                return Ok(None);
            }
            let mut wraps = added_wraps(ledger, &caller.id, &id, first..next.unwrap_or(u32::MAX))?;
            next = cut_to_page(&mut versions, &mut wraps).or(next);
            let proof = Some((&records.prove(&id, &versions)?).into());
            let next_page_token = next.map(|next| Bytes::copy_from_slice(&next.to_be_bytes())).unwrap_or_default();
            let answer = pb::GetRecordHistoryResponse { versions, proof, header: None, wraps, next_page_token };
            Ok(Some((answer, ledger.tip_header().clone())))
        };
        let (answer, header) = self.read(read).await?.ok_or_else(not_found)?;
        let header = Some((&self.prove_header(header, within).await?).into());
        let next_page_token = pages.next(&answer.next_page_token)?;
        Ok(Response::new(pb::GetRecordHistoryResponse { header, next_page_token, ..answer }))
    }
}

/// At which version a page of a history begins.
fn first_version(token: &[u8]) -> Result<u32, FieldError> {
    match token.is_empty() {
        true => Ok(1),
        false => Ok(u32::from_be_bytes(fixed("page_token", token)?).max(1)),
    }
}

/// Leaves on a page what fits there, of each version all; at which version the next page begins, if
/// something did not fit. Both are in the order of versions.
fn cut_to_page(versions: &mut Vec<pb::RecordVersion>, wraps: &mut Vec<pb::ShownWrap>) -> Option<u32> {
    let (mut filled, mut rest) = (Filled::default(), wraps.iter().peekable());
    let mut next = None;
    for version in &*versions {
        let mut bytes = version.encoded_len();
        while let Some(wrap) = rest.next_if(|wrap| wrap.version <= version.version) {
            bytes = bytes.saturating_add(wrap.encoded_len());
        }
        if !filled.takes(bytes) {
            next = Some(version.version);
            break;
        }
    }
    if let Some(next) = next {
        versions.retain(|version| version.version < next);
        wraps.retain(|wrap| wrap.version < next);
    }
    next
}

/// For which keys versions of a record were wrapped since, as far as the reader may ask for such
/// rows one by one.
fn added_wraps(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    id: &RecordId,
    versions: Range<u32>,
) -> Result<Vec<pb::ShownWrap>, StorageError> {
    let version = versions.start;
    let first = keys::wrap_state(&WrapName { record: *id, version, recipient: KeyId::from_bytes([0; 32]) });
    let prefix = first.get(..first.len() - 4 - 32).unwrap_or_default();
    let mut shown = Vec::new();
    if !decide(&access::Request { reader, what: What::StateRow { key: &first } }).allows() {
        return Ok(shown);
    }
    for row in ledger.scan(Table::State, prefix, &first).take(WRAPS_MAX) {
        let (key, state) = row?;
        let Some(StateKey::Wrap(name)) = StateKey::decode(&key) else {
            return Err(StorageError::corrupt("state", "the key of a wrap names none"));
        };
        if !versions.contains(&name.version) {
            break;
        }
        let proof = state_map::prove(ledger, &KeyHash::of(&key)).map_err(|e| StorageError::corrupt("trie", e))?;
        let recipient_key_id = name.recipient.to_bytes();
        shown.push(pb::ShownWrap {
            version: name.version,
            recipient_key_id,
            state,
            state_proof: proof.encode().into(),
        });
    }
    Ok(shown)
}

fn not_found() -> Status {
    Reason::NotFound.status("no such record for this caller")
}

fn record_id(bytes: &[u8]) -> Result<RecordId, Status> {
    RecordId::parse("record_id", bytes).map_err(|e| Reason::InvalidArgument.field(&e))
}

/// Among which records is looked. Who asks sees those of the own member and no others.
enum Among {
    /// Those that bear a tag, or bore it.
    Tagged(SearchTag),
    /// Those of a patient that the own member has written.
    OfPatient(PatientPseudonym),
    /// Those of a member.
    OfMember(String),
}

type Entries<'a> = Box<dyn Iterator<Item = Result<(u64, RecordId), StorageError>> + 'a>;

impl Among {
    /// In the order in which they came onto the ledger, each with its place there.
    fn entries<'a>(
        &self,
        ledger: &'a LedgerSnapshot<'_>,
        reader: &SpiffeId,
        from: u64,
    ) -> Result<Entries<'a>, StorageError> {
        let own = reader.member().as_str();
        Ok(match self {
            Self::Tagged(tag) => scan(ledger, &keys::index_tag(own, tag), from),
            Self::OfMember(member) if member == own => scan(ledger, &keys::index_member(member), from),
            // Nothing of it is for the caller: how much there is costs no time.
            Self::OfMember(_) => Box::new(std::iter::empty()),
            Self::OfPatient(patient) => {
                let found = records_of_member(ledger, patient, own).map_err(|e| StorageError::corrupt("index", e))?;
                Box::new(found.into_iter().skip_while(move |(sequence, _)| *sequence < from).map(Ok))
            }
        })
    }
}

fn scan<'a>(ledger: &'a LedgerSnapshot<'_>, prefix: &[u8], from: u64) -> Entries<'a> {
    let (start, length) = (keys::index_entry(prefix.to_vec(), from), prefix.len());
    Box::new(ledger.scan(Table::Index, prefix, &start).map(move |row| {
        let (key, id) = row?;
        let sequence = key.get(length..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
        let sequence = sequence.ok_or_else(|| StorageError::corrupt("index", "an entry without place"))?;
        Ok((sequence, RecordId::parse("index", &id).map_err(|e| StorageError::corrupt("index", e))?))
    }))
}

/// A parsed query.
struct Query {
    among: Among,
    /// The first that is looked at, by the order in which they came onto the ledger.
    from: u64,
    tag: Option<SearchTag>,
    page: usize,
    conditions: pb::QueryRecordsRequest,
}

impl Query {
    fn parse(m: &pb::QueryRecordsRequest) -> Result<Self, FieldError> {
        if m.page_size > PAGE_MAX {
            return Err(FieldError::range("page_size", 0, PAGE_MAX.into(), m.page_size.into()));
        }
        check_conditions(&m.kind, (m.from_ms, m.to_ms))?;
        let tag = (!m.tag.is_empty()).then(|| SearchTag::parse("tag", &m.tag)).transpose()?;
        // The most selective index that the conditions allow.
        let among = if let Some(tag) = tag {
            Among::Tagged(tag)
        } else if !m.patient.is_empty() {
            Among::OfPatient(PatientPseudonym::parse("patient", &m.patient)?)
        } else if !m.author_member.is_empty() {
            Among::OfMember(m.author_member.clone())
        } else {
            return Err(FieldError::malformed("patient", "one of patient, author_member and tag is required"));
        };
        if !m.patient.is_empty() {
            PatientPseudonym::parse("patient", &m.patient)?;
        }
        let from = match m.page_token.is_empty() {
            true => 0,
            false => u64::from_be_bytes(fixed("page_token", &m.page_token)?),
        };
        let page = if m.page_size == 0 { PAGE_DEFAULT } else { m.page_size } as usize;
        Ok(Self { among, from, tag, page, conditions: m.clone() })
    }

    /// The newest versions that are looked for, each with its descriptor if a tag is; and where to
    /// go on.
    fn run(
        self,
        ledger: &LedgerSnapshot<'_>,
        reader: &SpiffeId,
    ) -> Result<(Vec<(pb::RecordVersion, Bytes)>, Bytes), StorageError> {
        let mut records = RecordReader::new(ledger, reader);
        let (mut found, mut filled) = (Vec::new(), Filled::default());
        for (looked_at, entry) in self.among.entries(ledger, reader, self.from)?.enumerate() {
            let (sequence, id) = entry?;
            let next = Bytes::copy_from_slice(&sequence.to_be_bytes());
            if looked_at >= SCAN_MAX {
                return Ok((found, next));
            }
            let newest = records.newest(&id, |state, version| self.matches(state, version))?;
            let shown = newest.map(|version| self.described(&records, &id, version)).transpose()?.flatten();
            // There is a further page only where there is something to show on it.
            let fits = |(version, descriptor): &(pb::RecordVersion, Bytes)| {
                filled.takes(version.encoded_len() + descriptor.len() + PROOF_BYTES)
            };
            if shown.is_some() && (found.len() >= self.page || !shown.as_ref().is_some_and(fits)) {
                return Ok((found, next));
            }
            found.extend(shown);
        }
        Ok((found, Bytes::new()))
    }

    /// Adds the descriptor where a tag is looked for: `None` if the version does not carry it.
    fn described(
        &self,
        records: &RecordReader<'_>,
        id: &RecordId,
        version: pb::RecordVersion,
    ) -> Result<Option<(pb::RecordVersion, Bytes)>, StorageError> {
        let Some(tag) = &self.tag else { return Ok(Some((version, Bytes::new()))) };
        let Some(bytes) = records.descriptor(id, &version)? else { return Ok(None) };
        let descriptor = Descriptor::decode(&bytes).map_err(|e| StorageError::corrupt("descriptor", e))?;
        Ok(descriptor.tags().contains(tag).then_some((version, bytes)))
    }

    fn matches(&self, state: &pb::RecordState, version: &pb::RecordVersion) -> bool {
        let q = &self.conditions;
        (q.patient.is_empty() || q.patient == state.patient)
            && (q.kind.is_empty() || q.kind == state.kind)
            && (q.author.is_empty() || q.author == version.author)
            && (q.author_member.is_empty() || q.author_member == state.member)
            && (q.from_ms == 0 || version.time_ms >= q.from_ms)
            && (q.to_ms == 0 || version.time_ms < q.to_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pages::PAGE_BYTES;

    #[test]
    fn a_page_of_a_history_holds_whole_versions_and_no_more_than_fits() {
        let version = |version: u32| pb::RecordVersion { version, ..Default::default() };
        let wrap = |version: u32, bytes: usize| pb::ShownWrap {
            version,
            state_proof: vec![0; bytes].into(),
            ..pb::ShownWrap::default()
        };
        let cut = |wraps: &[(u32, usize)]| {
            let mut versions: Vec<_> = (4..=7).map(version).collect();
            let mut wraps: Vec<_> = wraps.iter().map(|(number, bytes)| wrap(*number, *bytes)).collect();
            let next = cut_to_page(&mut versions, &mut wraps);
            (versions.iter().map(|version| version.version).collect::<Vec<_>>(), wraps.len(), next)
        };
        assert_eq!(cut(&[(4, 10), (7, 10)]), (vec![4, 5, 6, 7], 2, None));
        let half = PAGE_BYTES / 2;
        assert_eq!(cut(&[(4, 10), (5, half), (6, half), (6, 10)]), (vec![4, 5], 2, Some(6)));
        assert_eq!(cut(&[(4, half), (4, 2 * half), (5, 10)]), (vec![4], 2, Some(5)), "one version always");
    }
}
