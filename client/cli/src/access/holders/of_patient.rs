//! `access holders` as the patient sees it: who was permitted to read each record, and so may have
//! kept its key. It is made from the two lists that are proven to be whole, not from the wraps:
//! these name keys, and a patient is told of persons only on request.

use std::collections::BTreeMap;

use consilium_client::Client;
use consilium_client::access_log::{AccessEvent, AccessLog, KeptLog};
use consilium_client::record_lists::{KeptLists, RecordEntry, RecordList, RecordLists};
use consilium_proto::ids::RecordId;
use consilium_proto::pb::AccessKind;
use serde::Serialize;

use super::HoldersArgs;
use crate::text::{counted, table, time_ms};
use crate::{CliError, Context, words};

/// Who may hold keys to a patient's records.
#[derive(Serialize)]
pub(in crate::access) struct PatientHoldersView {
    patient: String,
    records: Vec<RecordView>,
    /// Entries that are lawfully kept from this identity until a date: who is behind them is not shown.
    sealed: u64,
    at_height: u64,
}

#[derive(Serialize)]
struct RecordView {
    record: String,
    kind: String,
    readers: Vec<ReaderView>,
}

#[derive(Serialize)]
struct ReaderView {
    member: String,
    role: &'static str,
    #[serde(skip)]
    role_words: &'static str,
    unit: Option<String>,
    /// Null unless names were asked for.
    name: Option<String>,
    /// The newest that was permitted.
    version: u32,
    times: usize,
    last_read: String,
    #[serde(skip)]
    last_read_ms: u64,
}

pub(super) async fn run(client: &Client, args: &HoldersArgs, ctx: &Context) -> Result<(), CliError> {
    let lists = client.record_lists(args.patient, None, &KeptLists::nothing()).await?;
    let log = client.access_log(args.patient, KeptLog::nothing()).await?;
    ctx.print(&PatientHoldersView::new(&lists, &log, args.names), PatientHoldersView::text)
}

impl PatientHoldersView {
    pub(in crate::access) fn new(lists: &RecordLists, log: &AccessLog, names: bool) -> Self {
        let mut readers: BTreeMap<RecordId, Vec<ReaderView>> = BTreeMap::new();
        // A query shows that there is a record, and gives nobody its key.
        for event in log.events.iter().filter(|event| event.kind != AccessKind::Query) {
            let permitted = event.decisions.iter().filter(|decision| decision.permits());
            for version in permitted.flat_map(|decision| &decision.records) {
                add(readers.entry(version.record).or_default(), ReaderView::new(event, version.version, names));
            }
        }
        let record = |(list, entry): (&RecordList, &RecordEntry)| RecordView {
            record: entry.record.to_string(),
            kind: list.kind.clone(),
            readers: readers.remove(&entry.record).unwrap_or_default(),
        };
        Self {
            patient: lists.patient.to_string(),
            records: lists.records().into_iter().map(record).collect(),
            sealed: log.sealed.len() as u64,
            at_height: lists.header.height.0.min(log.header.height.0),
        }
    }

    pub(in crate::access) fn text(&self) -> String {
        let rows = self.records.iter().flat_map(|record| record.readers.iter().map(|reader| reader.cells(record)));
        let rows: Vec<_> = rows.collect();
        let shown = match rows.is_empty() {
            true => "nobody was permitted to read a record\n".to_owned(),
            false => table(&["RECORD", "KIND", "HOSPITAL", "WHO", "VERSION", "TIMES", "LAST READ (UTC)"], rows),
        };
        let sealed = match self.sealed {
            0 => String::new(),
            sealed => format!(
                " {} kept from you until a date: who is behind them is not shown.",
                counted(sealed, "entry is", "entries are")
            ),
        };
        format!(
            "{shown}\nfrom the whole lists of your records and of accesses to them up to block {}, proven.{sealed}\n\
             Besides these, keys are held by the hospital that wrote a record (its author, its custodian, the deputy \
             that it has named for emergencies, and who keeps its records if it has left) and by you.\n\
             Whoever has read a record may have kept it: no withdrawal changes that.",
            self.at_height
        )
    }
}

/// One line for each who, however often that one has read.
fn add(readers: &mut Vec<ReaderView>, new: ReaderView) {
    let Some(known) = readers.iter_mut().find(|known| known.is_same(&new)) else { return readers.push(new) };
    known.version = known.version.max(new.version);
    known.times += new.times;
    if known.last_read_ms <= new.last_read_ms {
        (known.last_read_ms, known.last_read) = (new.last_read_ms, new.last_read);
    }
}

impl ReaderView {
    fn new(event: &AccessEvent, version: u32, names: bool) -> Self {
        Self {
            member: event.reader.member().to_string(),
            role: event.reader.role().as_str(),
            role_words: words::role(event.reader.role()),
            unit: event.unit.as_ref().map(ToString::to_string),
            name: names.then(|| event.reader.name().to_owned()),
            version,
            times: 1,
            last_read: time_ms(event.time.0),
            last_read_ms: event.time.0,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.member, self.role, &self.unit, &self.name) == (&other.member, other.role, &other.unit, &other.name)
    }

    fn cells(&self, record: &RecordView) -> [String; 7] {
        let who = self.name.as_ref().map_or_else(|| self.role_words.to_owned(), |name| format!("{} {name}", self.role));
        [
            record.record.clone(),
            record.kind.clone(),
            words::place(&self.member, self.unit.as_deref()),
            who,
            self.version.to_string(),
            self.times.to_string(),
            self.last_read.clone(),
        ]
    }
}
