//! From documents to certified transactions: one thread reads, blinds and
//! packs; all cores seal; several transactions are on their way at once. Every
//! queue is bounded, so memory does not grow with the import.
//!
//! The first transaction that fails or is refused stops the import: the cause
//! (no role, not enrolled, no quorum) would be the same for all others.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use consilium_proto::envelope::SearchKey;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::journal::{Journal, JournalError, PendingEntry, item};
use super::source::{Document, Rules, SourceFile, read_documents};
use super::summary::ImportSummary;
use super::{BundlePolicy, Event};
use crate::client::Client;
use crate::error::ClientError;
use crate::fhir::Resource;
use crate::fhir::validate::Validator;
use crate::patients::Patients;
use crate::receipts::TransactionFate;
use crate::records::{self, Draft, PatientKeys, Prepared, RecordDraft, RecordWriter, Sealer, Size, pack};

/// Pause between two looks at a transaction whose fate is open.
const FATE_PAUSE: Duration = Duration::from_secs(1);
/// How long such a fate may stay open: longer than any validity of ours.
const FATE_WAIT_MAX: Duration = Duration::from_secs(20 * 60);

/// What to import, and how.
pub struct ImportOptions {
    /// See [`super::find`].
    pub files: Vec<SourceFile>,
    /// An open journal and its path, to continue after an interruption.
    pub journal: Option<(PathBuf, Journal)>,
    /// What becomes of a Bundle of which some cannot be taken.
    pub bundles: BundlePolicy,
    /// Judges the documents.
    pub validator: Validator,
    /// Transactions on their way at once.
    pub in_flight: NonZero<usize>,
    /// Told what happens, from several threads.
    pub notify: Box<dyn Fn(Event) + Send + Sync>,
}

impl std::fmt::Debug for ImportOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImportOptions({} files, {} in flight)", self.files.len(), self.in_flight)
    }
}

/// A draft on its way.
struct Item {
    draft: Draft,
    size: Size,
    /// See [`item`].
    name: String,
}

/// What becomes one transaction.
type Batch = Vec<Item>;

/// A transaction ready to be sent.
struct Ready {
    prepared: Prepared,
    records: Vec<(String, u64)>,
}

/// A certified transaction: kind and bytes of each record.
struct Done {
    records: Vec<(String, u64)>,
}

struct Shared {
    client: Client,
    sealer: Sealer,
    /// Knows whether the recipients still have their rights.
    writer: RecordWriter,
    search_key: SearchKey,
    patients: Patients,
    journal: Mutex<Option<Journal>>,
    journal_path: PathBuf,
    validator: Validator,
    notify: Box<dyn Fn(Event) + Send + Sync>,
    stop: AtomicBool,
}

/// Imports files.
///
/// # Errors
/// Only what keeps it from starting; see [`ImportSummary::stopped_by`].
pub async fn import(
    client: Client,
    writer: &RecordWriter,
    options: ImportOptions,
) -> Result<ImportSummary, ClientError> {
    let search_key = client.identity().search_key().cloned().ok_or(ClientError::Setting { setting: "search_key" })?;
    let (journal_path, journal) =
        options.journal.map_or((PathBuf::new(), None), |(path, journal)| (path, Some(journal)));
    let shared = Arc::new(Shared {
        patients: Patients::new(client.clone())?,
        client,
        sealer: writer.sealer().clone(),
        writer: writer.clone(),
        search_key,
        journal: Mutex::new(journal),
        journal_path,
        validator: options.validator,
        notify: options.notify,
        stop: AtomicBool::new(false),
    });
    let started = Instant::now();
    let mut summary = ImportSummary::default();
    settle_open(&shared, &mut summary).await?;
    run(&shared, (options.files, options.bundles), options.in_flight, &mut summary).await;
    summary.under_two = shared.patients.under_two();
    summary.elapsed = started.elapsed();
    Ok(summary)
}

async fn run(
    shared: &Arc<Shared>,
    (files, bundles): (Vec<SourceFile>, BundlePolicy),
    in_flight: NonZero<usize>,
    summary: &mut ImportSummary,
) {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let (sender, receiver) = mpsc::channel::<Batch>(cores);
    let producer = tokio::task::spawn_blocking({
        let (shared, runtime) = (Arc::clone(shared), Handle::current());
        move || produce(&shared, (&files, bundles), &sender, runtime)
    });
    let mut done = ReceiverStream::new(receiver)
        .map(|batch| seal(Arc::clone(shared), batch))
        .buffer_unordered(cores)
        .map(|ready| submit(Arc::clone(shared), ready))
        .buffer_unordered(in_flight.get());
    while let Some(result) = done.next().await {
        match result {
            Ok(Some(done)) => summary.add(done.records),
            Ok(None) => {}
            Err(error) => {
                shared.stop.store(true, Ordering::Relaxed);
                summary.stopped_by.get_or_insert(error);
            }
        }
    }
    match producer.await {
        Ok(read) => {
            summary.bundles = read.bundles;
            summary.bundles_divided = read.bundles_divided;
            summary.records_known = read.records_known;
            summary.files_skipped = read.files_skipped;
            summary.refused = read.refused;
            summary.bundles_in_part = read.bundles_in_part;
            summary.resources_refused = read.resources_refused;
            summary.deletions = read.deletions;
            summary.findings = read.findings;
            if let Some(error) = read.failed {
                summary.stopped_by.get_or_insert(error);
            }
        }
        Err(_) => {
            summary.stopped_by.get_or_insert(ClientError::Usage("reading the files was interrupted".into()));
        }
    }
}

/// What the reading thread saw.
#[derive(Default)]
struct ReadCounts {
    bundles: u64,
    bundles_divided: u64,
    records_known: u64,
    files_skipped: u64,
    refused: u64,
    bundles_in_part: u64,
    resources_refused: u64,
    deletions: u64,
    findings: u64,
    /// Why it ended early.
    failed: Option<ClientError>,
}

impl ReadCounts {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Skipped { .. } => self.files_skipped += 1,
            Event::Refused { .. } | Event::Unreadable { .. } | Event::BundleRefused { .. } => self.refused += 1,
            Event::BundleInPart { refused, .. } => {
                self.bundles_in_part += 1;
                self.resources_refused += *refused as u64;
            }
            Event::NotValid { report, .. } => self.findings += report.count() as u64,
            Event::PassedOver { entries, .. } => self.deletions += entries.deletions.len() as u64,
            // The Bundle is told of, too.
            Event::EntryRefused { .. } => {}
            Event::Found { .. } | Event::BundleDivided { .. } | Event::Read { .. } | Event::Certified { .. } => {}
        }
    }
}

fn produce(
    shared: &Shared,
    (files, bundles): (&[SourceFile], BundlePolicy),
    sender: &mpsc::Sender<Batch>,
    runtime: Handle,
) -> ReadCounts {
    let total = files.iter().map(|f| f.bytes).sum();
    (shared.notify)(Event::Found { files: files.len(), bytes: total });
    let known = lock(&shared.journal).as_ref().map(|j| j.certified().clone()).unwrap_or_default();
    let mut packer = Packer { shared, sender, known, open: Vec::new(), counts: ReadCounts::default(), runtime };
    let mut read = ReadCounts::default();
    for file in files {
        let mut notify = |event: Event| {
            read.note(&event);
            (shared.notify)(event);
        };
        let rules = Rules { home: shared.client.home(), policy: bundles, validator: &shared.validator };
        read_documents(file, rules, &mut notify, &mut |document| packer.take(&file.path, document));
        if shared.stop.load(Ordering::Relaxed) || packer.counts.failed.is_some() {
            break;
        }
    }
    packer.flush();
    let ReadCounts { bundles, bundles_divided, records_known, failed, .. } = packer.counts;
    ReadCounts { bundles, bundles_divided, records_known, failed, ..read }
}

/// Collects loose resources into full transactions; keeps Bundles together.
struct Packer<'a> {
    shared: &'a Shared,
    sender: &'a mpsc::Sender<Batch>,
    /// Certified by earlier runs and not met yet in this one.
    known: BTreeMap<String, u64>,
    open: Batch,
    counts: ReadCounts,
    /// To look for patients from this thread.
    runtime: Handle,
}

impl Packer<'_> {
    /// Returns whether more is wanted.
    fn take(&mut self, path: &Path, document: Document) -> bool {
        let items: Vec<Item> = match self.items(&document) {
            Ok(items) => items,
            Err(error) => {
                self.counts.failed.get_or_insert(error);
                return false;
            }
        };
        let sizes: Vec<Size> = items.iter().map(|i| i.size).collect();
        let limits = *self.shared.sealer.limits();
        if document.is_bundle {
            self.counts.bundles += 1;
            let ranges = pack(&sizes, &limits);
            if ranges.len() > 1 {
                self.counts.bundles_divided += 1;
                let event = Event::BundleDivided { path: path.to_owned(), transactions: ranges.len() };
                (self.shared.notify)(event);
            }
            let mut items = items.into_iter();
            ranges.into_iter().all(|range| self.send(items.by_ref().take(range.len()).collect()))
        } else {
            items.into_iter().all(|item| {
                let with = self
                    .open
                    .iter()
                    .fold(item.size, |sum, i| Size { body: sum.body + i.size.body, total: sum.total + i.size.total });
                let wanted = limits.fits(self.open.len() + 1, with) || self.flush();
                self.open.push(item);
                wanted
            })
        }
    }

    fn items(&mut self, document: &Document) -> Result<Vec<Item>, ClientError> {
        let named = document.resources.iter().map(|r| (item(&self.shared.search_key, &r.raw), r));
        let wanted: Vec<_> = named.filter(|(name, _)| !self.is_known(name)).collect();
        let subjects = wanted.iter().filter_map(|(_, resource)| resource.subject.patient());
        let patients = self.runtime.block_on(self.shared.patients.ensure_named(subjects))?;
        let draft = |(name, resource): (String, &Resource)| {
            let patient = resource.subject.patient().and_then(|name| patients.get(name.canonical()).copied());
            let patient = patient.unwrap_or_else(records::new_pseudonym);
            (name, RecordDraft::from_resource(resource, patient, &self.shared.search_key))
        };
        let drafts: Vec<_> = wanted.into_iter().map(draft).collect();
        let keys = self.shared.writer.keys_of(drafts.iter().map(|(_, draft)| draft));
        let keys = self.runtime.block_on(keys)?;
        let item = |(name, draft): (String, RecordDraft)| {
            let size = self.shared.sealer.size_of(&draft, &keys);
            Item { draft: Draft::new(draft), size, name }
        };
        Ok(drafts.into_iter().map(item).collect())
    }

    /// Whether an earlier run has certified it.
    fn is_known(&mut self, name: &str) -> bool {
        let Some(left) = self.known.get_mut(name).filter(|left| **left > 0) else { return false };
        *left -= 1;
        self.counts.records_known += 1;
        true
    }

    fn flush(&mut self) -> bool {
        let batch = std::mem::take(&mut self.open);
        self.send(batch)
    }

    fn send(&mut self, batch: Batch) -> bool {
        if self.shared.stop.load(Ordering::Relaxed) {
            return false;
        }
        batch.is_empty() || self.sender.blocking_send(batch).is_ok()
    }
}

async fn seal(shared: Arc<Shared>, batch: Batch) -> Result<Option<Ready>, ClientError> {
    if shared.stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    shared.writer.recheck().await?;
    let keys = shared.writer.keys_of(batch.iter().map(|item| &item.draft.draft)).await?;
    let sealed = tokio::task::spawn_blocking(move || seal_now(&shared, batch, &keys)).await;
    sealed.map_err(|_| ClientError::Usage("sealing was interrupted".into()))?.map(Some)
}

fn seal_now(shared: &Shared, batch: Batch, keys: &PatientKeys) -> Result<Ready, ClientError> {
    let records = batch.iter().map(|i| (i.draft.draft.kind.clone(), i.draft.draft.plaintext.len() as u64)).collect();
    let (drafts, items): (Vec<Draft>, Vec<String>) = batch.into_iter().map(|i| (i.draft, i.name)).unzip();
    let prepared = shared.sealer.prepare(&drafts, keys)?;
    let entry = PendingEntry {
        transaction: prepared.transaction_id,
        valid_until_ms: valid_until(&prepared.transaction),
        items,
    };
    shared.note(|journal| journal.note_pending(entry, &prepared.records, &prepared.transaction))?;
    Ok(Ready { prepared, records })
}

fn valid_until(signed: &pb::SignedTransaction) -> u64 {
    signed.body.as_ref().map_or(0, |body| body.valid_until_ms)
}

async fn submit(shared: Arc<Shared>, ready: Result<Option<Ready>, ClientError>) -> Result<Option<Done>, ClientError> {
    let Some(Ready { prepared, records }) = ready? else { return Ok(None) };
    // What is noted as pending but not sent is sent by the next run.
    if shared.stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let submitted = shared.client.submit(prepared.transaction, pb::WaitFor::Certified).await?;
    let id = submitted.transaction_id;
    if submitted.outcome != pb::Outcome::Applied {
        shared.note(|journal| journal.note_refused(&id, submitted.outcome))?;
    }
    let height = submitted.into_applied()?.height;
    shared.note(|journal| journal.note_certified(&id, height))?;
    (shared.notify)(Event::Certified { records: records.len() });
    Ok(Some(Done { records }))
}

/// Finds out what became of the transactions of an earlier run, sending them
/// again, with the same bytes, where that is open.
async fn settle_open(shared: &Shared, summary: &mut ImportSummary) -> Result<(), ClientError> {
    let open = {
        let journal = lock(&shared.journal);
        journal.as_ref().map(Journal::open_transactions).transpose()
    };
    let open = open.map_err(|e| shared.journal_error(e))?.unwrap_or_default();
    for (entry, signed) in open {
        match settle(shared, &entry, signed).await? {
            Fate::Applied(height) => {
                summary.transactions += 1;
                summary.transactions_recovered += 1;
                shared.note(|journal| journal.note_certified(&entry.transaction, height))?;
            }
            Fate::Refused(outcome) => shared.note(|journal| journal.note_refused(&entry.transaction, outcome))?,
            Fate::Never => shared.note(|journal| journal.note_never(&entry.transaction))?,
        }
    }
    Ok(())
}

enum Fate {
    Applied(Height),
    Refused(pb::Outcome),
    Never,
}

impl Fate {
    fn of(height: Height, outcome: pb::Outcome) -> Self {
        if outcome == pb::Outcome::Applied { Self::Applied(height) } else { Self::Refused(outcome) }
    }
}

async fn settle(
    shared: &Shared,
    entry: &PendingEntry,
    mut signed: Option<pb::SignedTransaction>,
) -> Result<Fate, ClientError> {
    let deadline = Instant::now() + FATE_WAIT_MAX;
    while Instant::now() < deadline {
        match shared.client.transaction_fate(entry.transaction, Some(entry.valid_until_ms)).await? {
            TransactionFate::Certified(receipt) => return Ok(Fate::of(receipt.leaf.height, receipt.leaf.outcome)),
            TransactionFate::Expired => return Ok(Fate::Never),
            TransactionFate::Pending => {}
        }
        match signed.take() {
            Some(signed) => match shared.client.submit(signed, pb::WaitFor::Certified).await {
                Ok(submitted) => return Ok(Fate::of(submitted.height, submitted.outcome)),
                Err(e) if e.is_retryable() => return Err(e),
                // Refused before it was ordered, as its validity is over:
                // then the ledger's time will say so, too.
                Err(_) => {}
            },
            None => tokio::time::sleep(FATE_PAUSE).await,
        }
    }
    Err(undecided(entry.transaction))
}

fn undecided(id: TransactionId) -> ClientError {
    ClientError::Status {
        code: tonic::Code::Unavailable,
        reason: String::new(),
        message: format!("the fate of transaction {id} of an earlier run is still open; try again later"),
    }
}

impl Shared {
    fn note(&self, f: impl FnOnce(&mut Journal) -> Result<(), JournalError>) -> Result<(), ClientError> {
        match lock(&self.journal).as_mut() {
            Some(journal) => f(journal).map_err(|e| self.journal_error(e)),
            None => Ok(()),
        }
    }

    fn journal_error(&self, error: JournalError) -> ClientError {
        ClientError::file(&self.journal_path, error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
