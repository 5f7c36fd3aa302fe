//! `consilium access accounting`: to whom a member has given a patient's records, as 45 CFR 164.528
//! asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use consilium_client::access_log::accounting::{ACCOUNTING_MS, Disclosure, LeftOut, disclosures};
use consilium_client::access_log::{AccessLog, KeptLog};
use consilium_client::{Client, files, pb};
use consilium_proto::ids::{PatientPseudonym, RecordId, TimeMs};
use consilium_proto::names::MemberId;
use consilium_proto::pb::AccessKind;
use consilium_proto::purpose;
use consilium_proto::state::keys;
use prost::Message;
use serde::Serialize;

use super::html;
use crate::named::ensure_member;
use crate::text::{Zone, counted, table, time_ms};
use crate::when::{When, when};
use crate::{CliError, Context, words};

/// Arguments of `access accounting`.
#[derive(Debug, Args)]
pub(crate) struct AccountingArgs {
    /// The patient's pseudonym
    #[arg(value_name = "HEX")]
    patient: PatientPseudonym,
    /// The member that gives the account [default: the own member]
    #[arg(long, value_name = "MEMBER")]
    member: Option<MemberId>,
    /// From when on, as 2026-11-21T22:00:00Z [default: six years before the newest block]
    #[arg(long, value_name = "TIME", value_parser = when)]
    since: Option<When>,
    /// Until when, not included [default: the newest block]
    #[arg(long, value_name = "TIME", value_parser = when)]
    until: Option<When>,
    /// Show what the law leaves out, too, each with its reason
    #[arg(long)]
    all: bool,
    /// Hours and minutes that times are ahead of UTC, such as +01:00
    #[arg(long, value_name = "OFFSET", default_value_t, allow_hyphen_values = true)]
    utc_offset: Zone,
    /// Write a page to print; an existing file is left alone
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// To whom records were given.
#[derive(Serialize)]
pub(super) struct AccountingView {
    patient: String,
    /// Whose records, and who gives the account.
    member: String,
    since: String,
    until: String,
    entries: Vec<EntryView>,
    /// How many the law leaves out, by reason.
    left_out: LeftOutView,
    /// Of the log that it was made from, which was proven to be whole.
    log_count: u64,
    log_root: String,
    at_height: u64,
    #[serde(skip)]
    zone: Zone,
}

#[derive(Default, Serialize)]
struct LeftOutView {
    own_staff: usize,
    to_patient: usize,
    operations: usize,
}

#[derive(Serialize)]
struct EntryView {
    /// Of the log, from 0.
    number: u64,
    date: String,
    #[serde(skip)]
    date_shown: String,
    /// The member that received it.
    recipient: String,
    recipient_role: &'static str,
    /// Of which unit of it the reader was then; null: it has named none.
    recipient_unit: Option<String>,
    description: String,
    purpose: &'static str,
    purpose_words: &'static str,
    consent: Option<String>,
    /// When it was read without a quorum, as the reader says; null: it was not.
    late: Option<String>,
    /// Null: the law asks for it.
    left_out: Option<&'static str>,
    transaction: String,
}

/// What is known of a record.
type Known = BTreeMap<RecordId, pb::RecordState>;

pub(super) async fn run(client: &Client, args: &AccountingArgs, ctx: &Context) -> Result<(), CliError> {
    let member = args.member.clone().unwrap_or_else(|| client.identity().spiffe_id().member().clone());
    ensure_member(client, &member).await?;
    let log = client.access_log(args.patient, KeptLog::nothing()).await?;
    let now = log.header.time;
    // Nothing is known of what comes, and what is sealed beyond now is not told.
    let latest = now.0.saturating_add(1);
    let until = args.until.map_or(latest, |until| until.resolve(now.0).min(latest));
    let since = args.since.map_or(until.saturating_sub(ACCOUNTING_MS), |since| since.resolve(now.0));
    let all: Vec<_> = disclosures(&log.events, &member, TimeMs(since), TimeMs(until)).collect();
    let known = known_records(client, &all).await?;
    let view = AccountingView::new(args, &log, (&member, since, until), &all, &known);
    let Some(path) = &args.html else { return ctx.print(&view, AccountingView::text) };
    files::write_new(path, view.page().as_bytes(), files::SECRET_MODE)?;
    ctx.print(&view, |view| format!("written to {}\n{}", path.display(), view.foot()))
}

/// Rows of the records that were given out, each proven.
async fn known_records(client: &Client, all: &[Disclosure<'_>]) -> Result<Known, CliError> {
    let named: BTreeSet<RecordId> = all.iter().flat_map(|d| &d.decision.records).map(|v| v.record).collect();
    let mut known = Known::new();
    for id in named {
        if let Some(row) = client.proven_state(&keys::record(&id)).await? {
            let state = pb::RecordState::decode(row);
            known.insert(id, state.map_err(|e| CliError::failed(format!("the row of record {id}: {e}")))?);
        }
    }
    Ok(known)
}

impl AccountingView {
    fn new(
        args: &AccountingArgs,
        log: &AccessLog,
        (member, since, until): (&MemberId, u64, u64),
        all: &[Disclosure<'_>],
        known: &Known,
    ) -> Self {
        let mut left_out = LeftOutView::default();
        let mut entries = Vec::new();
        for disclosure in all {
            // What others gave out is in their accounts.
            let Some(description) = describe(disclosure, member, known) else { continue };
            match disclosure.left_out {
                Some(LeftOut::OwnStaff) => left_out.own_staff += 1,
                Some(LeftOut::ToPatient) => left_out.to_patient += 1,
                Some(LeftOut::Operations) => left_out.operations += 1,
                None => {}
            }
            if args.all || disclosure.left_out.is_none() {
                entries.push(EntryView::new(disclosure, description, args.utc_offset));
            }
        }
        Self {
            patient: args.patient.to_string(),
            member: member.to_string(),
            since: time_ms(since),
            until: time_ms(until),
            entries,
            left_out,
            log_count: log.count,
            log_root: log.root.to_string(),
            at_height: log.header.height.0,
            zone: args.utc_offset,
        }
    }

    fn head(&self) -> [String; 5] {
        ["NO".into(), self.zone.head("DATE"), "GIVEN TO".into(), "WHAT".into(), "PURPOSE".into()]
    }

    fn rows(&self) -> impl Iterator<Item = [String; 5]> {
        self.entries.iter().map(EntryView::cells)
    }

    fn text(&self) -> String {
        let head = self.head();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let shown = match self.entries.is_empty() {
            true => "nothing was given to others that must be told\n".to_owned(),
            false => table(&head, self.rows()),
        };
        format!("{shown}\n{}", self.foot())
    }

    /// What is not in the list, and what is proven.
    fn foot(&self) -> String {
        let LeftOutView { own_staff, to_patient, operations } = self.left_out;
        format!(
            "Records of {} from {} until before {}. The law leaves out: {operations} for treatment, payment and \
             operations, {own_staff} by own staff, {to_patient} to the patient or who stands for it.\n\
             made from the whole log up to block {} ({}), proven to be whole; disclosures outside of the ledger are \
             not in it",
            self.member,
            self.since,
            self.until,
            self.at_height,
            counted(self.log_count, "entry", "entries")
        )
    }

    fn page(&self) -> String {
        let intro =
            format!("<p>Patient <code>{}</code>. Times are in {}.</p>\n", html::text(&self.patient), self.zone.name());
        let shown = match self.entries.is_empty() {
            true => "<p>Nothing was given to others that must be told.</p>\n".to_owned(),
            false => html::table(&self.head(), self.rows().map(|row| format!("<tr>{}</tr>\n", html::cells(&row)))),
        };
        let foot = html::text(&self.foot());
        let root = html::text(&self.log_root);
        let body = format!("{intro}{shown}<p>{foot}</p>\n<p>Root of the log: <code>{root}</code></p>\n");
        html::document("To whom records were given", &body)
    }
}

/// What was given, of that which the member wrote; `None` if nothing was.
fn describe(disclosure: &Disclosure<'_>, member: &MemberId, known: &Known) -> Option<String> {
    let records = &disclosure.decision.records;
    if records.is_empty() {
        let own = disclosure.event.reader.member() == member;
        let whole = disclosure.event.kind == AccessKind::Disclosure && own;
        let listed = disclosure.event.kind == AccessKind::Query;
        return (whole || listed).then(|| if whole { "all records" } else { "a list of records" }.to_owned());
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let own = records.iter().filter_map(|version| known.get(&version.record));
    own.filter(|state| state.member == member.as_str()).for_each(|state| *kinds.entry(&state.kind).or_default() += 1);
    let parts: Vec<String> = kinds.iter().map(|(kind, number)| format!("{number} {kind}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

impl EntryView {
    fn new(disclosure: &Disclosure<'_>, description: String, zone: Zone) -> Self {
        let event = disclosure.event;
        Self {
            number: event.sequence,
            date: time_ms(event.time.0),
            date_shown: zone.time_ms(event.time.0),
            recipient: match &event.disclosed {
                Some(to) => words::recipient(to.recipient).to_owned(),
                None => event.reader.member().to_string(),
            },
            recipient_role: if event.disclosed.is_some() { "authority" } else { event.reader.role().as_str() },
            // Of a disclosure, the unit is that of who handed it on.
            recipient_unit: event.unit.as_ref().filter(|_| event.disclosed.is_none()).map(ToString::to_string),
            description,
            purpose: purpose::code(event.purpose),
            purpose_words: words::purpose(event.purpose),
            consent: disclosure.decision.consent.map(|(id, _)| id.to_string()),
            late: event.late.map(|late| time_ms(late.0)),
            left_out: disclosure.left_out.map(|why| match why {
                LeftOut::OwnStaff => "own staff",
                LeftOut::ToPatient => "to the patient",
                LeftOut::Operations => "treatment, payment or operations",
            }),
            transaction: event.transaction_id.to_string(),
        }
    }

    fn cells(&self) -> [String; 5] {
        let why = self.left_out.map_or(String::new(), |why| format!(" (left out: {why})"));
        let late = self.late.as_ref().map_or(String::new(), |late| format!(" (entered LATE: read {late})"));
        let what = match &self.consent {
            Some(id) => format!("{}, by consent {id}{late}", self.description),
            None => format!("{}{late}", self.description),
        };
        [
            self.number.to_string(),
            self.date_shown.clone(),
            match &self.recipient_unit {
                Some(unit) => format!("{} ({}, unit {unit})", self.recipient, self.recipient_role),
                None => format!("{} ({})", self.recipient, self.recipient_role),
            },
            what,
            format!("{}{why}", self.purpose_words),
        ]
    }
}

#[cfg(test)]
mod tests;
