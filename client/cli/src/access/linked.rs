//! `consilium access log --linked`: the lists of pseudonyms that are one person's, as one.

use consilium_client::Client;
use consilium_client::access_log::{AccessLog, KeptLog};
use serde::Serialize;

use super::event::EventView;
use super::log::{LogArgs, head};
use super::requests::Requests;
use crate::text::{Zone, counted, table, time_ms};
use crate::{CliError, Context};

/// The lists as one.
#[derive(Serialize)]
pub(super) struct LinkedView {
    ledger: String,
    /// The pseudonym that was asked for, and those that are linked with it now.
    logs: Vec<ProofView>,
    /// Of all logs, in the order of their blocks.
    events: Vec<LinkedEventView>,
    #[serde(skip)]
    zone: Zone,
}

/// What is proven of one list.
#[derive(Serialize)]
struct ProofView {
    patient: String,
    /// Who says that it is the same person; none: it is the one that was asked for.
    linked_by: Vec<String>,
    count: u64,
    root: String,
    keep: String,
    /// Entries that are kept from this identity until a date: `access log` tells which.
    sealed: usize,
    at_height: u64,
    at: String,
}

#[derive(Serialize)]
struct LinkedEventView {
    /// In whose list it stands.
    patient: String,
    #[serde(flatten)]
    event: EventView,
}

pub(super) async fn run(client: &Client, args: &LogArgs, ctx: &Context) -> Result<(), CliError> {
    let pseudonyms = client.linked_patient_rows(args.patient).await?;
    let others = pseudonyms.linked.iter().map(|(rows, members)| (rows.patient, members.clone()));
    let mut logs = Vec::new();
    for (patient, members) in std::iter::once((args.patient, Vec::new())).chain(others) {
        logs.push((client.access_log(patient, KeptLog::nothing()).await?, patient.to_string(), members));
    }
    let view = LinkedView::new(client.genesis().ledger_id.to_string(), &logs, args.names, args.utc_offset);
    ctx.print(&view, |view| view.text(args.names))
}

impl LinkedView {
    /// From each log with its pseudonym, and the members that have linked that.
    pub(super) fn new(ledger: String, logs: &[(AccessLog, String, Vec<String>)], names: bool, zone: Zone) -> Self {
        let mut events: Vec<_> =
            logs.iter().flat_map(|(log, patient, _)| log.events.iter().map(move |event| (event, patient))).collect();
        events.sort_by_key(|(event, patient)| (event.height, *patient, event.sequence));
        let event = |(event, patient): (_, &String)| LinkedEventView {
            patient: patient.clone(),
            event: EventView::new(event, names).shown_in(zone),
        };
        Self {
            ledger,
            logs: logs.iter().map(ProofView::new).collect(),
            events: events.into_iter().map(event).collect(),
            zone,
        }
    }

    pub(super) fn text(&self, names: bool) -> String {
        let mut head = head(self.zone, names);
        head.insert(0, "LIST".to_owned());
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let rows = self.events.iter().map(|linked| {
            let mut cells = linked.event.cells(names);
            cells.insert(0, short(&linked.patient).to_owned());
            cells
        });
        let shown = match self.events.is_empty() {
            true => "nobody has asked\n".to_owned(),
            false => table(&head, rows),
        };
        let proofs: Vec<String> = self.logs.iter().map(ProofView::text).collect();
        let asked = self.events.iter().filter(|linked| !linked.event.is_change());
        let lists = asked.map(|linked| short(&linked.patient));
        let requests = Requests::of(self.events.iter().map(|linked| &linked.event)).in_lists(lists);
        format!("{shown}\n{}{}", requests.text(), proofs.join("\n"))
    }
}

impl ProofView {
    fn new((log, patient, members): &(AccessLog, String, Vec<String>)) -> Self {
        Self {
            patient: patient.clone(),
            linked_by: members.clone(),
            count: log.count,
            root: log.root.to_string(),
            keep: log.kept_access().to_string(),
            sealed: log.sealed.len(),
            at_height: log.header.height.0,
            at: time_ms(log.header.time.0),
        }
    }

    fn text(&self) -> String {
        let by = match self.linked_by.is_empty() {
            true => String::new(),
            false => format!(", linked by {}", self.linked_by.join(", ")),
        };
        format!(
            "{} is the list of {}{by}: {} ({} sealed) up to block {}, proven; to keep: {}",
            short(&self.patient),
            self.patient,
            counted(self.count, "entry", "entries"),
            self.sealed,
            self.at_height,
            self.keep
        )
    }
}

/// As much of a pseudonym as tells it from others at a glance.
fn short(pseudonym: &str) -> &str {
    pseudonym.get(..8).unwrap_or(pseudonym)
}
