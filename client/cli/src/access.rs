//! `consilium access`: who has asked to read a patient's records, what for, and what was decided;
//! with proof that no entry was left out, changed or swapped. Shown are member, role and purpose;
//! the name of a reader only where it is asked for.

mod accounting;
mod changes;
mod export;
mod feed;
mod holders;
mod html;
mod late;
mod linked;
mod qr;
mod readers;
mod requests;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use consilium_client::access_log::{
    AccessEvent, AccessLog, Decision, DecisionReport, DisclosedTo, KeptAccess, KeptLog, ProvenDecision, SealedEntry,
    verify_decision,
};
use consilium_client::files;
use consilium_client::receipts::{RECEIPT_BYTES_MAX, ReceiptReport};
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::ids::{PatientPseudonym, TransactionId};
use consilium_proto::pb::AccessGround;
use consilium_proto::purpose;
use prost::Message;
use serde::Serialize;

use crate::context::escaped;
use crate::text::{Zone, counted, table, time_ms};
use crate::{CliError, Context, petition, words};
use requests::Requests;

/// Who has read what
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: AccessCommand,
}

/// Who has asked to read a patient's records, for auditors, and for the patient and those who
/// speak for it; and what has changed since, for who has read it.
#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// The list of accesses to a patient's records, proven to be whole
    Log(LogArgs),
    /// What was decided of one request (also for who made it, if all of it was permitted)
    Decision {
        /// The transaction of the request
        #[arg(value_name = "TRANSACTION")]
        transaction: TransactionId,
        /// Show the reader's name, too: opaque, as the ledger has it
        #[arg(long)]
        names: bool,
        /// Write a receipt of the decision, which `access verify` and others verify offline; an
        /// existing file is left alone. It names the reader and the records
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
    },
    /// Verify the receipt of a decision offline, against --genesis alone
    Verify {
        /// Receipt made by `access decision --receipt`
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Show the reader's name, too: opaque, as the ledger has it
        #[arg(long)]
        names: bool,
    },
    /// Write the list as FHIR R4 AuditEvents (IHE BALP) into a file
    Export(export::ExportArgs),
    /// To whom a member has given a patient's records: HIPAA's accounting of disclosures
    Accounting(accounting::AccountingArgs),
    /// What people of the own member have asked for, and which of it somebody should look at
    Feed(feed::FeedArgs),
    /// Whose keys open a patient's records
    Holders(holders::HoldersArgs),
    /// Who has read a record, to be told that it was amended or entered in error
    FormerReaders(readers::FormerReadersArgs),
    /// A reading without a quorum that may be in no list: shows it, and enters it
    Late(late::LateArgs),
    /// What has changed since this identity has read it (for services: or others of their hospital)
    Changes(changes::ChangesArgs),
    /// The same, as it happens
    Watch(changes::WatchArgs),
}

/// Arguments of `access log`.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    pub(crate) patient: PatientPseudonym,
    /// What was kept last time: checks that it is still the beginning of the list, and shows what
    /// came since
    #[arg(long, value_name = "COUNT:ROOT")]
    pub(crate) since: Option<KeptAccess>,
    /// Show readers' names, too: opaque, as the ledger has them
    #[arg(long)]
    pub(crate) names: bool,
    /// Write a page to print; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Hours and minutes that times are ahead of UTC, such as +01:00
    #[arg(long, value_name = "OFFSET", default_value_t, allow_hyphen_values = true)]
    pub(crate) utc_offset: Zone,
    /// Show the lists of all pseudonyms that are linked with this one now, as one
    #[arg(long, conflicts_with_all = ["since", "html"])]
    pub(crate) linked: bool,
}

/// A list of accesses, proven.
#[derive(Serialize)]
struct LogView {
    patient: String,
    ledger: String,
    /// Entries that were known before: the first that is shown has this number.
    from: u64,
    /// Entries of the whole list.
    count: u64,
    root: String,
    /// To be kept, and given as --since next time.
    keep: String,
    /// It is the list at this height.
    at_height: u64,
    at: String,
    events: Vec<EventView>,
    /// Lawfully kept from this identity until a date.
    sealed: Vec<SealedView>,
    /// Were sealed when the list was looked at before, and are open now.
    opened: Vec<EventView>,
    #[serde(skip)]
    at_ms: u64,
    #[serde(skip)]
    zone: Zone,
    /// What the patient has asked about it: lines of the page.
    #[serde(skip)]
    petitions: Vec<[String; 4]>,
}

/// An entry that is sealed.
#[derive(Serialize)]
struct SealedView {
    number: u64,
    until: String,
    #[serde(skip)]
    until_shown: String,
    /// Its hash: what is shown then must have it.
    sha256: String,
}

/// An access.
#[derive(Serialize)]
pub(crate) struct EventView {
    /// From 0.
    number: u64,
    time: String,
    /// The same where people are.
    #[serde(skip)]
    time_shown: String,
    #[serde(skip)]
    time_ms: u64,
    member: String,
    /// As in a SPIFFE id.
    role: &'static str,
    role_words: &'static str,
    /// Null unless names were asked for.
    name: Option<String>,
    /// HL7's code.
    purpose: &'static str,
    purpose_words: &'static str,
    /// An AccessKind of access.proto.
    kind: &'static str,
    kind_words: &'static str,
    /// Of a list (ACCESS_GROUND_EACH): it was answered, with what may be read, perhaps nothing.
    permitted: bool,
    decisions: Vec<DecisionView>,
    emergency: Option<String>,
    project: Option<String>,
    /// Only where records were handed on under a legal duty.
    disclosure: Option<DisclosureView>,
    /// Until when it is, or was, kept from the patient.
    sealed_until: Option<String>,
    /// Salted hash of the person for whom a system asked.
    acting_sha256: Option<String>,
    transaction: String,
    height: u64,
    policy_version: u32,
    /// When it was read without a quorum, as the reader says; null: it was not.
    late: Option<String>,
}

/// Records that were handed on under a legal duty.
#[derive(Serialize)]
struct DisclosureView {
    disclosure: String,
    /// A DisclosureBasis of disclosure.proto.
    basis: &'static str,
    /// A DisclosureRecipient of disclosure.proto.
    recipient: &'static str,
    words: String,
}

/// What was decided of some records.
#[derive(Serialize)]
struct DecisionView {
    permitted: bool,
    ground: &'static str,
    words: String,
    consent: Option<String>,
    consent_version: Option<u32>,
    records: Vec<VersionView>,
}

#[derive(Serialize)]
struct VersionView {
    record: String,
    version: u32,
}

/// One decision, proven.
#[derive(Serialize)]
struct DecidedView {
    /// There is no such patient: it stands in the log of the reader's member.
    unmatched: bool,
    patient: String,
    at_height: u64,
    event: EventView,
}

/// What the receipt of a decision proves.
#[derive(Serialize)]
struct ReceiptView {
    decision: DecidedView,
    /// Of the text of the access policy; null: the policy that the rules hold.
    policy_sha256: Option<String>,
    /// Of the request.
    receipt: ReceiptReport,
}

/// Runs `consilium access`.
pub(crate) async fn run(args: AccessArgs, ctx: &Context) -> Result<(), CliError> {
    match args.command {
        AccessCommand::Log(args) if args.linked => linked::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Log(args) => {
            let client = ctx.client().await?;
            let since = args.since.clone().unwrap_or_else(|| KeptLog::nothing().into());
            let log = client.access_log(args.patient, since).await?;
            let ledger = client.genesis().ledger_id.to_string();
            let mut view = LogView::new(&args, ledger, &log);
            let Some(path) = &args.html else { return ctx.print(&view, |view| view.text(args.names)) };
            let (petitions, now) = client.petitions(Some(args.patient)).await?;
            view.petitions = petitions.iter().map(|known| petition::view::cells(known, now, args.utc_offset)).collect();
            files::write_new(path, html::page(&view, args.names).as_bytes(), files::SECRET_MODE)?;
            ctx.print(&view, |view| format!("written to {}\n{}", path.display(), view.proof()))
        }
        AccessCommand::Decision { transaction, names, receipt: None } => {
            let view = DecidedView::new(&ctx.client().await?.decision(transaction).await?, names);
            ctx.print(&view, DecidedView::text)
        }
        AccessCommand::Decision { transaction, names, receipt: Some(file) } => {
            let client = ctx.client().await?;
            let receipt = client.decision_receipt(transaction).await?.encode_to_vec();
            let report = verify_decision(&receipt, client.genesis())?;
            files::write_new(&file, &receipt, files::SECRET_MODE)?;
            ctx.print(&ReceiptView::new(&report, names), ReceiptView::text)
        }
        AccessCommand::Verify { file, names } => {
            let genesis = Genesis::parse(&files::read(&ctx.genesis_path()?, GENESIS_BYTES_MAX as u64)?)?;
            let report = verify_decision(&files::read(&file, RECEIPT_BYTES_MAX)?, &genesis)?;
            ctx.print(&ReceiptView::new(&report, names), ReceiptView::text)
        }
        AccessCommand::Export(args) => export::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Accounting(args) => accounting::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Feed(args) => feed::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Holders(args) => holders::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::FormerReaders(args) => readers::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Late(args) => late::run(args, ctx).await,
        AccessCommand::Changes(args) => changes::run(&ctx.client().await?, &args, ctx).await,
        AccessCommand::Watch(args) => changes::watch(&ctx.client().await?, &args, ctx).await,
    }
}

impl LogView {
    fn new(args: &LogArgs, ledger: String, log: &AccessLog) -> Self {
        Self {
            patient: args.patient.to_string(),
            ledger,
            from: log.from,
            count: log.count,
            root: log.root.to_string(),
            keep: log.kept_access().to_string(),
            at_height: log.header.height.0,
            at: time_ms(log.header.time.0),
            events: log.events.iter().map(|e| EventView::new(e, args.names).shown_in(args.utc_offset)).collect(),
            sealed: log.sealed.iter().map(|entry| SealedView::new(entry, args.utc_offset)).collect(),
            opened: log.opened.iter().map(|e| EventView::new(e, args.names).shown_in(args.utc_offset)).collect(),
            at_ms: log.header.time.0,
            zone: args.utc_offset,
            petitions: Vec::new(),
        }
    }

    fn head(&self, names: bool) -> Vec<String> {
        head(self.zone, names)
    }

    fn text(&self, names: bool) -> String {
        let head = self.head(names);
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let shown = match self.events.is_empty() {
            true if self.from == 0 => "nobody has asked\n".to_owned(),
            true => "nobody has asked since\n".to_owned(),
            false => table(&head, self.events.iter().map(|event| event.cells(names))),
        };
        let opened = match self.opened.is_empty() {
            true => String::new(),
            false => {
                let rows = self.opened.iter().map(|event| event.cells(names));
                format!("these were sealed, and are open now:\n{}\n", table(&head, rows))
            }
        };
        format!("{shown}\n{opened}{}{}", self.requests().text(), self.proof())
    }

    fn requests(&self) -> Requests {
        Requests::of(self.events.iter().chain(&self.opened))
    }

    /// Of each entry that is sealed, until when.
    fn seals(&self) -> Vec<String> {
        let told = |entry: &SealedView| {
            let SealedView { number, until_shown, .. } = entry;
            format!("entry {number} is sealed until {until_shown}: it counts, and must be shown then")
        };
        self.sealed.iter().map(told).collect()
    }

    /// What is proven of the list, and what to keep.
    fn proof(&self) -> String {
        let since = match self.from {
            0 => String::new(),
            from => format!(" The first {from} are those that you had kept."),
        };
        let seals: String = self.seals().iter().map(|line| format!("{line}\n")).collect();
        format!(
            "{seals}{} in all up to {} (block {}), proven: none is missing, changed or swapped.{since}\n\
             keep this for the next time: --since {}",
            counted(self.count, "entry", "entries"),
            self.zone.time_ms(self.at_ms),
            self.at_height,
            self.keep
        )
    }
}

/// Where the column of the names goes.
const NAME_COLUMN: usize = 4;

/// Columns of a list.
fn head(zone: Zone, names: bool) -> Vec<String> {
    let time = zone.head("TIME");
    let mut head: Vec<_> =
        ["NO", &time, "HOSPITAL", "ROLE", "PURPOSE", "ASKED TO", "DECIDED"].map(str::to_owned).into();
    if names {
        head.insert(NAME_COLUMN, "NAME".to_owned());
    }
    head
}

impl EventView {
    pub(crate) fn new(event: &AccessEvent, names: bool) -> Self {
        Self {
            number: event.sequence,
            time: time_ms(event.time.0),
            time_shown: time_ms(event.time.0),
            time_ms: event.time.0,
            member: event.reader.member().to_string(),
            role: event.reader.role().as_str(),
            role_words: words::role(event.reader.role()),
            name: names.then(|| event.reader.name().to_owned()),
            purpose: purpose::code(event.purpose),
            purpose_words: words::purpose(event.purpose),
            kind: event.kind.as_str_name(),
            kind_words: words::kind(event.kind),
            permitted: event.permits(),
            decisions: event.decisions.iter().map(DecisionView::new).collect(),
            emergency: event.emergency.map(|id| id.to_string()),
            project: event.project.map(|id| id.to_string()),
            disclosure: event.disclosed.as_ref().map(DisclosureView::new),
            sealed_until: event.sealed_until.map(|until| time_ms(until.0)),
            acting_sha256: event.acting.map(|hash| hash.to_string()),
            transaction: event.transaction_id.to_string(),
            height: event.height.0,
            policy_version: event.policy_version,
            late: event.late.map(|late| time_ms(late.0)),
        }
    }

    fn decided(&self) -> String {
        let decided = match &self.disclosure {
            Some(disclosure) => disclosure.words.clone(),
            None => self.decisions.iter().map(DecisionView::text).collect::<Vec<_>>().join("; "),
        };
        match &self.late {
            Some(late) if self.permitted => format!("{decided} (entered LATE: read {late} while the network was down)"),
            // It was decided twice: by what was known when it was read, and when it was entered.
            Some(late) => format!(
                "{decided} (entered LATE: asked for {late} while the network was down, when it may have been shown)"
            ),
            None => decided,
        }
    }

    /// Neither permitted nor denied: a list was asked for, which shows only what may be read.
    fn is_list(&self) -> bool {
        self.decisions.iter().any(|decision| decision.ground == AccessGround::Each.as_str_name())
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let name = self.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
        let decided = self.decided();
        format!(
            "access {}: {} a {}{name} of {} asked to {} for {}: {decided}",
            self.number, self.time, self.role_words, self.member, self.kind_words, self.purpose_words
        )
    }

    /// The same with its time as people see it there.
    fn shown_in(self, zone: Zone) -> Self {
        Self { time_shown: zone.time_ms(self.time_ms), ..self }
    }

    /// A line of the list, in the order of [`head`].
    fn cells(&self, names: bool) -> Vec<String> {
        let decided = self.decided();
        let mut cells = vec![
            self.number.to_string(),
            self.time_shown.clone(),
            self.member.clone(),
            self.role_words.to_owned(),
            self.purpose_words.to_owned(),
            self.kind_words.to_owned(),
            decided,
        ];
        if names {
            cells.insert(NAME_COLUMN, self.name.clone().unwrap_or_default());
        }
        cells
    }
}

impl SealedView {
    fn new(entry: &SealedEntry, zone: Zone) -> Self {
        let (until, until_shown) = (time_ms(entry.until.0), zone.time_ms(entry.until.0));
        Self { number: entry.sequence, until, until_shown, sha256: entry.leaf.to_string() }
    }
}

impl DisclosureView {
    fn new(disclosed: &DisclosedTo) -> Self {
        Self {
            disclosure: disclosed.id.to_string(),
            basis: disclosed.basis.as_str_name(),
            recipient: disclosed.recipient.as_str_name(),
            words: words::disclosed(disclosed.recipient, disclosed.basis),
        }
    }
}

impl DecisionView {
    fn new(decision: &Decision) -> Self {
        let version = |v: &consilium_proto::transaction::VersionRef| VersionView {
            record: v.record.to_string(),
            version: v.version,
        };
        Self {
            permitted: decision.permits(),
            ground: decision.ground.as_str_name(),
            words: words::ground(decision.ground),
            consent: decision.consent.map(|(id, _)| id.to_string()),
            consent_version: decision.consent.map(|(_, version)| version),
            records: decision.records.iter().map(version).collect(),
        }
    }

    fn text(&self) -> String {
        match self.records.len() {
            0 => self.words.clone(),
            1 => format!("1 record {}", self.words),
            number => format!("{number} records {}", self.words),
        }
    }
}

impl DecidedView {
    fn new(proven: &ProvenDecision, names: bool) -> Self {
        Self {
            unmatched: proven.unmatched,
            patient: proven.event.patient.to_string(),
            at_height: proven.header.height.0,
            event: EventView::new(&proven.event, names),
        }
    }

    fn text(&self) -> String {
        let event = &self.event;
        let name = event.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
        let mut lines = vec![
            format!(
                "{}: a {}{name} of {} asked to {} of patient {}",
                event.time, event.role_words, event.member, event.kind_words, self.patient
            ),
            format!("for {}", event.purpose_words),
        ];
        lines.extend(event.emergency.iter().map(|id| format!("in emergency {id}")));
        lines.extend(event.disclosure.iter().map(|disclosure| disclosure.words.clone()));
        lines.extend(event.sealed_until.iter().map(|until| format!("kept from the patient until {until}")));
        lines.extend(event.decisions.iter().map(DecisionView::text));
        lines
            .extend(event.late.iter().map(|late| format!("entered LATE: asked for {late} while the network was down")));
        lines.extend(event.decisions.iter().filter_map(|decision| {
            let id = decision.consent.as_ref()?;
            Some(format!("consent {id} version {}", decision.consent_version.unwrap_or_default()))
        }));
        if self.unmatched {
            lines.push("there is no such patient: it stands in the log of the reader's member".to_owned());
        }
        lines.push(format!("number {} of its log, proven at height {}", event.number, self.at_height));
        lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
    }
}

impl ReceiptView {
    fn new(report: &DecisionReport, names: bool) -> Self {
        Self {
            decision: DecidedView::new(&report.decision, names),
            policy_sha256: report.policy_sha256.map(|hash| hash.to_string()),
            receipt: report.receipt.clone(),
        }
    }

    fn text(&self) -> String {
        let policy = match &self.policy_sha256 {
            Some(hash) => format!("access policy {}, SHA-256 {hash}", self.decision.event.policy_version),
            None => "the access policy of the rules themselves".to_owned(),
        };
        let ReceiptReport { ledger_id, signed_power, total_power, .. } = &self.receipt;
        let signed = format!("certified on ledger {ledger_id} by {signed_power} of {total_power} voting power");
        format!("verified\n{}\ndecided by {policy}\n{signed}", self.decision.text())
    }
}

#[cfg(test)]
pub(crate) mod tests;
