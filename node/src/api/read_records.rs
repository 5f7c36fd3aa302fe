//! `RecordsService.ReadRecords`: a request for access goes through the ledger like every
//! transaction, and what the rules permitted is released once its event is certified here, and
//! never before (guarantee G6). A node decides nothing of what is read: of a query and a
//! history, it leaves out by the very functions that the rules decide with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_ledger::rights::{Claim, Decider, Opened, Reading, Withheld, open};
use consilium_ledger::{Table, keys};
use consilium_policy::Engine;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{Fingerprint, Height, RecordId, SearchTag, TimeMs, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{self, AccessKind, Outcome, ReleasedRecord, SignerState};
use consilium_proto::record::Descriptor;
use consilium_proto::transaction::{RequestAccess, Transaction, VersionRef};
use consilium_replica::submission::WaitFor;
use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status};

use super::errors::Reason;
use super::record_reader::RecordReader;
use super::{Api, Caller};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

const OTHERS_REQUEST: &str = "a request for access must be by the identity of its connection";
const FALLEN: &str = "the identity certificate is not accepted any more";
const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;
const WAIT_FOR_KEY_MAX_MS: u32 = 30_000;

impl Api {
    pub(super) async fn read_permitted(
        &self,
        request: Request<pb::ReadRecordsRequest>,
    ) -> Result<pb::ReadRecordsResponse, Status> {
        let caller = Self::caller(&request)?;
        let within = self.time_left(&request);
        let request = request.into_inner();
        let transaction = self.parse(request.transaction.as_ref())?;
        let refused = |e| Reason::InvalidArgument.field(&e);
        let asked = transaction.access_request().cloned();
        let asked =
            asked.ok_or_else(|| refused(FieldError::malformed("transaction", "holds no request for access")))?;
        let query = Query::parse(&request, &asked).map_err(refused)?;
        let patience = patience(&request).map_err(refused)?.min(within);
        self.check_author(&caller, &transaction).await?;
        let (id, author) = (transaction.id, transaction.head.author);
        let located = self.execute(&caller, transaction, WaitFor::Certified, within).await?;
        if located.outcome != Outcome::Applied {
            let outcome = located.outcome.as_str_name();
            return Err(Reason::OutcomeRefused.status(format!("the rules refused the transaction: {outcome}")));
        }
        let question = Arc::new(Question { caller, id, author, asked, query });
        let (released, header) = self.released(question, Instant::now() + patience).await?;
        let Released { records, next_page_token, missing } = released;
        if let Some(height) = missing {
            let _ = self.handle.attachment_missed(height).await;
            return Err(Reason::Behind.status("an attachment of a record is not on this node; another one has it"));
        }
        let header = Some((&self.prove_header(header, within).await?).into());
        Ok(pb::ReadRecordsResponse { height: located.height.0, records, header, next_page_token })
    }

    /// What is released, with the header of the state that it was read in. A key that a custodian
    /// still has to wrap is waited for.
    async fn released(&self, question: Arc<Question>, until: Instant) -> Result<(Released, Header), Status> {
        let mut applied = self.published.watch_applied();
        loop {
            applied.borrow_and_update();
            let answer = self.release_now(Arc::clone(&question)).await?;
            if !answer.0.lacks_key() || !matches!(timeout_at(until, applied.changed()).await, Ok(Ok(()))) {
                return Ok(answer);
            }
        }
    }

    async fn release_now(&self, question: Arc<Question>) -> Result<(Released, Header), Status> {
        if !question.caller.info.stands() {
            return Err(refuse(Withheld::NotStanding));
        }
        // Before the snapshot is taken: what it certifies is in it.
        let certified = self.published.certified_height();
        let work = move |ledger: &LedgerSnapshot<'_>| {
            let Question { caller, id, author, asked, query } = &*question;
            let tip = ledger.tip_header().clone();
            let claim = Claim { transaction: *id, author: *author, reader: &caller.id, certified, time: tip.time };
            let opened = open(ledger, &claim).map_err(|e| StorageError::corrupt("state", e))?;
            let ask = Ask { reader: &caller.id, asked, query: query.as_ref(), time: tip.time };
            match opened {
                Ok(opened) => Ok((Ok(release(ledger, &ask, &opened)?), tip)),
                Err(withheld) => Ok((Err(withheld), tip)),
            }
        };
        let (released, header) = self.read(work).await?;
        Ok((released.map_err(refuse)?, header))
    }

    /// A request is made by the identity of its connection: nobody else gets the answer.
    async fn check_author(&self, caller: &Caller, transaction: &Transaction) -> Result<(), Status> {
        let (author, name): (Fingerprint, String) = (transaction.head.author, caller.id.to_string());
        let read = move |ledger: &LedgerSnapshot<'_>| ledger.state::<SignerState>(&keys::signer(&author));
        match self.read(read).await? {
            Some(signer) if signer.spiffe_id == name => Ok(()),
            Some(_) => Err(refuse(Withheld::NotTheReaders)),
            None => {
                Err(Reason::UnknownAuthor.status("nobody with the author's fingerprint is enrolled on this ledger"))
            }
        }
    }
}

fn refuse(withheld: Withheld) -> Status {
    match withheld {
        Withheld::NoEvent => Reason::NotCertified.status("the event of the request is not certified here (yet)"),
        Withheld::NotTheReaders => Reason::PermissionDenied.status(OTHERS_REQUEST),
        Withheld::NotStanding => Reason::IdentityRefused.status(FALLEN),
        Withheld::Ended => Reason::ReleaseEnded.status("the request is too old to be answered; make a new one"),
    }
}

/// How long the caller waits for a key.
fn patience(request: &pb::ReadRecordsRequest) -> Result<Duration, FieldError> {
    match request.wait_for_key_ms {
        ms if ms > WAIT_FOR_KEY_MAX_MS => {
            Err(FieldError::range("wait_for_key_ms", 0, WAIT_FOR_KEY_MAX_MS.into(), ms.into()))
        }
        ms => Ok(Duration::from_millis(ms.into())),
    }
}

/// What a caller asks for, once its request is certified.
struct Question {
    caller: Caller,
    id: TransactionId,
    author: Fingerprint,
    asked: RequestAccess,
    query: Option<Query>,
}

/// Who asks for what.
struct Ask<'a> {
    reader: &'a SpiffeId,
    asked: &'a RequestAccess,
    query: Option<&'a Query>,
    /// Of the newest block.
    time: TimeMs,
}

/// What is answered.
#[derive(Default)]
struct Released {
    records: Vec<ReleasedRecord>,
    next_page_token: Bytes,
    /// The block of a version of which something is not on this node.
    missing: Option<Height>,
}

impl Released {
    /// Whether something is released that the reader cannot open yet.
    fn lacks_key(&self) -> bool {
        self.records.iter().any(|record| !record.payload.is_empty() && record.wraps.is_empty())
    }
}

/// What a certified request permits, as of the snapshot.
fn release(ledger: &LedgerSnapshot<'_>, ask: &Ask<'_>, opened: &Opened) -> Result<Released, StorageError> {
    let reading = Reading {
        reader: ask.reader,
        patient: ask.asked.patient,
        kind: ask.asked.kind,
        purpose: ask.asked.purpose,
        project: ask.asked.project,
        emergency: ask.asked.emergency,
        time: ask.time,
    };
    match (ask.query, ask.asked.kind) {
        (Some(query), _) => query.run(ledger, reading, opened.permits()),
        (None, AccessKind::History) => histories(ledger, ask, reading, &opened.versions),
        (None, _) => contents(ledger, ask, &opened.versions),
    }
}

fn contents(
    ledger: &LedgerSnapshot<'_>,
    ask: &Ask<'_>,
    permitted: &BTreeSet<VersionRef>,
) -> Result<Released, StorageError> {
    let mut records = RecordReader::new(ledger, ask.reader);
    let mut released = Released::default();
    for asked in &ask.asked.records {
        // Where the newest was asked for, the event says which one that was.
        let of_record = permitted.iter().filter(|version| version.record == asked.record);
        for version in of_record.filter(|version| asked.version == 0 || asked.version == version.version) {
            let key = keys::version(&version.record, version.version);
            let record: Option<pb::RecordVersion> = ledger.message(Table::Versions, &key)?;
            let record = record.ok_or_else(|| StorageError::corrupt("version", "absent"))?;
            let height = Height(record.height);
            let (record, missing) = records.release(&version.record, record)?;
            released.missing = released.missing.or(missing.then_some(height));
            released.records.push(record);
        }
    }
    Ok(released)
}

fn histories(
    ledger: &LedgerSnapshot<'_>,
    ask: &Ask<'_>,
    reading: Reading<'_>,
    permitted: &BTreeSet<VersionRef>,
) -> Result<Released, StorageError> {
    let records = RecordReader::new(ledger, ask.reader);
    let decider = decider(ledger, reading)?;
    let mut released = Released::default();
    for version in permitted.iter() {
        let newest = records.state(&version.record)?.map_or(0, |state| state.version);
        for number in 1..=newest {
            if let Some(shown) = decide(ledger, &decider, &version.record, number)? {
                released.records.push(records.show(&version.record, shown)?);
            }
        }
    }
    Ok(released)
}

fn decider<'a>(ledger: &LedgerSnapshot<'_>, reading: Reading<'a>) -> Result<Decider<'a>, StorageError> {
    Decider::new(ledger, Engine::shared(), reading).map_err(|e| StorageError::corrupt("state", e))
}

/// A version of a record, if it may be read now.
fn decide(
    ledger: &LedgerSnapshot<'_>,
    decider: &Decider<'_>,
    id: &RecordId,
    number: u32,
) -> Result<Option<pb::RecordVersion>, StorageError> {
    let (decided, version) = decider.decide(ledger, id, number).map_err(|e| StorageError::corrupt("state", e))?;
    Ok(version.filter(|_| decided.permits()))
}

/// A parsed query.
struct Query {
    start: Vec<u8>,
    prefix: Vec<u8>,
    tag: Option<SearchTag>,
    page: usize,
    conditions: pb::RecordQuery,
}

impl Query {
    /// `None` if the request is not one.
    fn parse(m: &pb::ReadRecordsRequest, asked: &RequestAccess) -> Result<Option<Self>, FieldError> {
        let Some(committed) = &asked.query else { return Ok(None) };
        if m.page_size > PAGE_MAX {
            return Err(FieldError::range("page_size", 0, PAGE_MAX.into(), m.page_size.into()));
        }
        let salt: [u8; 16] = fixed("query_salt", &m.query_salt)?;
        if Hash::of(&[&salt, &m.query]) != *committed {
            return Err(FieldError::malformed("query", "is not what the request commits to"));
        }
        let conditions = pb::RecordQuery::decode(m.query.clone());
        let conditions = conditions.map_err(|_| FieldError::malformed("query", "is not a RecordQuery"))?;
        let tag = (!conditions.tag.is_empty()).then(|| SearchTag::parse("query.tag", &conditions.tag)).transpose()?;
        let prefix = keys::index_patient(&asked.patient);
        let start = match m.page_token.is_empty() {
            true => prefix.clone(),
            false => keys::index_entry(prefix.clone(), u64::from_be_bytes(fixed("page_token", &m.page_token)?)),
        };
        let page = if m.page_size == 0 { PAGE_DEFAULT } else { m.page_size } as usize;
        Ok(Some(Self { start, prefix, tag, page, conditions }))
    }

    /// The newest versions that may be read and are looked for. There is a further page only
    /// where there is something to show on it.
    fn run(
        &self,
        ledger: &LedgerSnapshot<'_>,
        reading: Reading<'_>,
        permitted: bool,
    ) -> Result<Released, StorageError> {
        let records = RecordReader::new(ledger, reading.reader);
        let decider = decider(ledger, reading.clone())?;
        let mut released = Released::default();
        if !permitted {
            return Ok(released);
        }
        for row in ledger.scan(Table::Index, &self.prefix, &self.start) {
            let (key, id) = row?;
            let id = RecordId::parse("index", &id).map_err(|e| StorageError::corrupt("index", e))?;
            let Some(version) = decide(ledger, &decider, &id, 0)? else { continue };
            let state = records.state(&id)?.ok_or_else(|| StorageError::corrupt("record", "absent"))?;
            if !self.matches(&state, &version) || !self.is_tagged(&records, &id, &version)? {
                continue;
            }
            if released.records.len() >= self.page {
                released.next_page_token = Bytes::copy_from_slice(key.get(self.prefix.len()..).unwrap_or_default());
                return Ok(released);
            }
            released.records.push(records.show(&id, version)?);
        }
        Ok(released)
    }

    fn is_tagged(
        &self,
        records: &RecordReader<'_>,
        id: &RecordId,
        version: &pb::RecordVersion,
    ) -> Result<bool, StorageError> {
        let Some(tag) = &self.tag else { return Ok(true) };
        let Some(bytes) = records.descriptor(id, version)? else { return Ok(false) };
        let descriptor = Descriptor::decode(&bytes).map_err(|e| StorageError::corrupt("descriptor", e))?;
        Ok(descriptor.tags().contains(tag))
    }

    fn matches(&self, state: &pb::RecordState, version: &pb::RecordVersion) -> bool {
        let q = &self.conditions;
        (q.kind.is_empty() || q.kind == state.kind)
            && (q.author.is_empty() || q.author == version.author)
            && (q.author_member.is_empty() || q.author_member == state.member)
            && (q.from_ms == 0 || version.time_ms >= q.from_ms)
            && (q.to_ms == 0 || version.time_ms < q.to_ms)
    }
}
