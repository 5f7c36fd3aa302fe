//! `consilium access former-readers`: who has read a record, and in which version: whom to tell
//! after an amendment, a retraction, or a record that was filed under the wrong patient.

use std::collections::BTreeMap;

use clap::Args;
use consilium_client::access_log::{AccessEvent, KeptLog};
use consilium_client::{Client, pb};
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::pb::AccessKind;
use consilium_proto::state::keys;
use prost::Message;
use serde::Serialize;

use crate::text::{table, time_ms};
use crate::{CliError, Context};

/// Arguments of `access former-readers`.
#[derive(Debug, Args)]
pub(crate) struct FormerReadersArgs {
    /// The record
    #[arg(value_name = "RECORD")]
    pub(super) record: RecordId,
    /// Show also those who have read the version that counts
    #[arg(long)]
    pub(super) all: bool,
}

/// Who has read a record.
#[derive(Serialize)]
pub(super) struct ReadersView {
    record: String,
    patient: String,
    kind: String,
    newest: u32,
    retracted: bool,
    readers: Vec<ReaderView>,
    at_height: u64,
}

#[derive(Serialize)]
struct ReaderView {
    /// SPIFFE id.
    reader: String,
    member: String,
    /// The newest that was read.
    version: u32,
    last_read: String,
    #[serde(skip)]
    last_read_ms: u64,
    /// It is not what counts now: there is a newer version, or the record was entered in error.
    outdated: bool,
    /// Commitments to the persons for whom a system read it.
    acting_sha256: Vec<String>,
}

pub(super) async fn run(client: &Client, args: &FormerReadersArgs, ctx: &Context) -> Result<(), CliError> {
    let row = client.proven_state(&keys::record(&args.record)).await?;
    let row = row.ok_or_else(|| CliError::failed("there is no such record"))?;
    let state = pb::RecordState::decode(row).map_err(|e| CliError::failed(format!("the row of the record: {e}")))?;
    let patient = PatientPseudonym::parse("patient", &state.patient)?;
    let log = client.access_log(patient, KeptLog::nothing()).await?;
    let view = ReadersView::new(args, patient, &state, &log.events, log.header.height.0);
    ctx.print(&view, ReadersView::text)
}

impl ReadersView {
    pub(super) fn new(
        args: &FormerReadersArgs,
        patient: PatientPseudonym,
        state: &pb::RecordState,
        events: &[AccessEvent],
        at_height: u64,
    ) -> Self {
        let mut readers: BTreeMap<String, ReaderView> = BTreeMap::new();
        // A query shows that there is a record, and nothing of what it says.
        for event in events.iter().filter(|event| event.kind != AccessKind::Query) {
            let permitted = event.decisions.iter().filter(|decision| decision.permits());
            for version in permitted.flat_map(|d| &d.records).filter(|version| version.record == args.record) {
                let id = event.reader.to_string();
                let reader = readers.entry(id).or_insert_with_key(|id| ReaderView::new(id, event));
                reader.add(event, version.version);
            }
        }
        for reader in readers.values_mut() {
            reader.outdated = state.retracted || reader.version < state.version;
        }
        Self {
            record: args.record.to_string(),
            patient: patient.to_string(),
            kind: state.kind.clone(),
            newest: state.version,
            retracted: state.retracted,
            readers: readers.into_values().filter(|reader| args.all || reader.outdated).collect(),
            at_height,
        }
    }

    pub(super) fn text(&self) -> String {
        let state = if self.retracted { ", entered in error" } else { "" };
        let head = format!("{} {}: newest version {}{state}", self.kind, self.record, self.newest);
        let rows = self.readers.iter().map(|reader| {
            let what = if reader.outdated { "to be told" } else { "has the newest" };
            [reader.reader.clone(), reader.version.to_string(), reader.last_read.clone(), what.to_owned()]
        });
        let shown = match self.readers.is_empty() {
            true => "nobody has read what does not count any more\n".to_owned(),
            false => table(&["READER", "VERSION", "LAST READ (UTC)", ""], rows),
        };
        format!("{head}\n{shown}from the patient's whole list up to block {}, proven", self.at_height)
    }
}

impl ReaderView {
    fn new(id: &str, event: &AccessEvent) -> Self {
        Self {
            reader: id.to_owned(),
            member: event.reader.member().to_string(),
            version: 0,
            last_read: String::new(),
            last_read_ms: 0,
            outdated: false,
            acting_sha256: Vec::new(),
        }
    }

    fn add(&mut self, event: &AccessEvent, version: u32) {
        self.version = self.version.max(version);
        if self.last_read_ms <= event.time.0 {
            (self.last_read_ms, self.last_read) = (event.time.0, time_ms(event.time.0));
        }
        if let Some(acting) = event.acting.map(|hash| hash.to_string()).filter(|a| !self.acting_sha256.contains(a)) {
            self.acting_sha256.push(acting);
        }
    }
}
