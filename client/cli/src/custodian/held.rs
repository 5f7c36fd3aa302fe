//! What a custodian keeps: how far the re-wrapping is, and what was wrapped for a key.

use bytes::Bytes;
use clap::Args;
use consilium_client::custodian::{Counts, HeldQuery, OwedProgress, Progress};
use consilium_client::records::custodian;
use consilium_client::{Client, pb};
use consilium_proto::ids::{Height, KeyId};
use consilium_proto::names::MemberId;
use serde::Serialize;

use crate::{CliError, Context};

/// Arguments of `custodian affected`.
#[derive(Debug, Args)]
pub(crate) struct AffectedArgs {
    /// Id of the key, 64 hexadecimal digits
    #[arg(value_name = "KEY_ID")]
    affected: KeyId,
    /// Each patient once, instead of every version of their records
    #[arg(long)]
    patients: bool,
    /// Whose records, for who keeps those of a member that has left [default: the own member]
    #[arg(long)]
    member: Option<MemberId>,
}

/// How far a custodian has come.
#[derive(Serialize)]
pub(super) struct ProgressView {
    /// Whose records.
    member: String,
    /// Whose key: the own member, or its deputy.
    keeper: String,
    /// Its newest custody key.
    pub(super) encryption_key_id: String,
    /// Versions in custody.
    pub(super) versions: u64,
    /// Of them, wrapped for the key.
    pub(super) wrapped: u64,
    /// Not wrapped for it.
    pub(super) left: u64,
    /// Met, and not opened by any key that the custodian was given.
    pub(super) unopened: u64,
    /// Since the line before; 0 in the first one.
    pub(super) per_second: u64,
    /// Nothing more can be done with these keys.
    pub(super) finished: bool,
    /// Private keys before the newest one are not needed any more.
    pub(super) older_keys_needed: bool,
}

impl ProgressView {
    pub(super) fn new(progress: &Progress, per_second: u64) -> Self {
        let Progress { member, keeper, key, counts, unopened, finished } = progress;
        Self {
            member: member.to_string(),
            keeper: keeper.to_string(),
            encryption_key_id: key.to_string(),
            versions: counts.versions,
            wrapped: counts.wrapped,
            left: counts.left(),
            unopened: *unopened,
            per_second,
            finished: *finished,
            older_keys_needed: !finished || counts.left() > 0 || *unopened > 0,
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { member, keeper, versions, wrapped, left, unopened, per_second, .. } = self;
        let told =
            format!("{wrapped} of {versions} versions of {member} are wrapped for the newest custody key of {keeper}");
        match (self.finished, self.older_keys_needed) {
            (false, _) => format!("{told}; {per_second} a second, {left} left"),
            (true, false) => format!("{told}: older private keys are not needed any more"),
            (true, true) => format!(
                "{told}; {left} are left, {unopened} do not open with these keys: give older ones with --old-key, and \
                 keep them"
            ),
        }
    }
}

/// How far a custodian has come with what is owed.
#[derive(Serialize)]
pub(super) struct OwedView {
    /// Whose records.
    member: String,
    /// Versions in custody.
    versions: u64,
    /// Of the member's versions, those that were looked at.
    looked_at: u64,
    /// Wraps for newer keys of patients and authors that are on the list of work now.
    asked: u64,
    /// Not owed any more, or asked for by another custodian.
    refused: u64,
    /// It goes on when fewer patients were met within an hour.
    paused: bool,
    /// All were looked at.
    finished: bool,
}

impl OwedView {
    pub(super) fn new(progress: &OwedProgress) -> Self {
        let OwedProgress { member, versions, looked_at, asked, refused, paused, finished } = progress.clone();
        Self { member: member.to_string(), versions, looked_at, asked, refused, paused, finished }
    }

    pub(super) fn text(&self) -> String {
        let Self { member, versions, looked_at, asked, refused, .. } = self;
        let told = format!(
            "{looked_at} versions of {member} ({versions} in custody) looked at: {asked} wraps are owed to patients \
             and authors with a newer key, and asked for; {refused} were refused"
        );
        match self.paused {
            true => format!("{told}; PAUSED: more patients within an hour than --patients-per-hour"),
            false => told,
        }
    }
}

/// What a member has in custody, proven.
#[derive(Serialize)]
struct StatusView {
    member: String,
    custodian: String,
    encryption_key_id: String,
    versions: u64,
    wrapped: u64,
    left: u64,
    open_requests: u64,
}

impl StatusView {
    fn text(&self) -> String {
        let Self { member, custodian, encryption_key_id, versions, wrapped, left, open_requests } = self;
        let older = match left {
            0 => "older private keys are not needed for them",
            _ => "older private keys are needed until none is left",
        };
        format!(
            "custodian of {member}: {custodian}\nkey {encryption_key_id}\n{wrapped} of {versions} versions in custody \
             are wrapped for it, {left} are left: {older}\nrequests that wait: {open_requests}"
        )
    }
}

/// Shows how far the re-wrapping is.
pub(super) async fn status(client: &Client, ctx: &Context) -> Result<(), CliError> {
    let member = client.identity().spiffe_id().member();
    let found = custodian(client, member).await?;
    let found = found.ok_or_else(|| CliError::failed(format!("{member} has named no custody key")))?;
    let counts = client.custody_counts(member, found.key_id(), Height(0)).await?;
    let Counts { versions, wrapped, open_requests } = counts;
    let view = StatusView {
        member: member.to_string(),
        encryption_key_id: found.key_id().to_string(),
        custodian: found.name,
        versions,
        wrapped,
        left: counts.left(),
        open_requests,
    };
    ctx.print(&view, StatusView::text)
}

/// A version that whoever has the key can open, or a patient with such versions.
#[derive(Serialize)]
struct AffectedView {
    patient: String,
    /// Null where each patient is named once.
    record_id: Option<String>,
    version: Option<u32>,
}

/// The end of the list.
#[derive(Serialize)]
struct SummaryView {
    encryption_key_id: String,
    /// How many, where each was named once; else null.
    patients: Option<u64>,
    versions: u64,
    /// Of the versions in custody, as the ledger's state counts them.
    counted: u64,
}

impl SummaryView {
    fn text(&self) -> String {
        let Self { encryption_key_id, patients, versions, counted } = self;
        let of = patients.map(|patients| crate::text::counted(patients, "patient", "patients"));
        let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
        format!(
            "versions of records{of} that were wrapped for key {encryption_key_id}: {versions}; the ledger counts \
             {counted} in custody"
        )
    }
}

/// Lists what was wrapped for a key, as it comes: nothing of it is kept.
pub(super) async fn affected(client: &Client, args: &AffectedArgs, ctx: &Context) -> Result<(), CliError> {
    let member = args.member.as_ref().unwrap_or(client.identity().spiffe_id().member()).clone();
    let counted = client.custody_counts(&member, args.affected, Height(0)).await?.wrapped;
    let (wrapped, patients) = (true, args.patients);
    let mut query = HeldQuery { wrapped, patients, ..HeldQuery::new(member, args.affected, Height(0)) };
    ctx.claims("completeness", "that no version is left out is the word of the node that was asked");
    let bar = ctx.progress(counted, "affected");
    let (mut patients, mut versions) = (0, 0);
    let mut last: Option<Bytes> = None;
    loop {
        let page = client.held_versions(&query).await?;
        for held in page.patients {
            if last.as_ref().is_some_and(|last| *last >= held.patient) {
                return Err(CliError::failed("the node names a patient again; ask another node"));
            }
            (patients, versions) = (patients + 1, versions + held.versions);
            bar.inc(held.versions);
            ctx.print(&AffectedView::patient(&held.patient), AffectedView::text)?;
            last = Some(held.patient);
        }
        for held in page.versions {
            versions += 1;
            bar.inc(1);
            ctx.print(&AffectedView::version(&held), AffectedView::text)?;
        }
        query.from = page.next;
        if query.from.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let patients = args.patients.then_some(patients);
    let view = SummaryView { encryption_key_id: args.affected.to_string(), patients, versions, counted };
    ctx.print(&view, SummaryView::text)?;
    match versions < counted {
        true => Err(CliError::failed(format!(
            "the node has shown {versions} versions, and the ledger counts {counted}: it hides some; ask another node"
        ))),
        false => Ok(()),
    }
}

impl AffectedView {
    fn version(held: &pb::HeldVersion) -> Self {
        let record_id = Some(hex::encode(&held.record_id));
        Self { patient: hex::encode(&held.patient), record_id, version: Some(held.version) }
    }

    fn patient(patient: &[u8]) -> Self {
        Self { patient: hex::encode(patient), record_id: None, version: None }
    }
}

impl AffectedView {
    fn text(&self) -> String {
        match (&self.record_id, self.version) {
            (Some(record), Some(version)) => format!("patient {}  record {record} version {version}", self.patient),
            _ => format!("patient {}", self.patient),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_how_far_the_rewrapping_is_and_what_a_stolen_key_opens() {
        let key = KeyId::from_bytes([0x0c; 32]);
        let counts = Counts { versions: 10, wrapped: 7, open_requests: 1 };
        let [member, keeper] = ["a.example", "b.example"].map(|id| id.parse().unwrap());
        let progress = Progress { member, keeper, key, counts, unopened: 0, finished: false };
        json::snapshot::check("custody-progress", &ProgressView::new(&progress, 2));
        let member = "a.example".parse().unwrap();
        let (asked, refused, paused, finished) = (64, 1, false, false);
        let owed = OwedProgress { member, versions: 900, looked_at: 400, asked, refused, paused, finished };
        json::snapshot::check("custody-owed", &OwedView::new(&owed));
        let view = StatusView {
            member: "a.example".into(),
            custodian: "spiffe://a.example/service/custodian".into(),
            encryption_key_id: key.to_string(),
            versions: 10,
            wrapped: 7,
            left: 3,
            open_requests: 1,
        };
        json::snapshot::check("custody-status", &view);
        let affected = AffectedView { patient: "04".repeat(16), record_id: Some("05".repeat(16)), version: Some(1) };
        json::snapshot::check("custody-affected", &affected);
        let summary = SummaryView { encryption_key_id: key.to_string(), patients: Some(1), versions: 2, counted: 2 };
        json::snapshot::check("custody-affected-summary", &summary);
    }

    #[test]
    fn older_keys_are_needed_until_nothing_is_left() {
        let key = KeyId::from_bytes([1; 32]);
        let needed = |wrapped, unopened, finished| {
            let counts = Counts { versions: 3, wrapped, open_requests: 0 };
            let [member, keeper] = [(); 2].map(|()| "a.example".parse().unwrap());
            ProgressView::new(&Progress { member, keeper, key, counts, unopened, finished }, 0).older_keys_needed
        };
        assert!(needed(2, 0, false) && needed(3, 0, false) && needed(2, 1, true) && needed(3, 1, true));
        assert!(!needed(3, 0, true));
    }
}
