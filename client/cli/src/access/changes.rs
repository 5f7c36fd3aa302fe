//! `consilium access changes` and `access watch`: what has changed since it was read, for who has
//! read it. Neither contents are shown, nor to which patient a record was moved.

use clap::Args;
use consilium_client::Client;
use consilium_client::changes::{Changes, Fate, KnownChange, VersionRead};
use consilium_client::notices::Notice;
use consilium_proto::ids::Height;
use serde::Serialize;

use crate::context::escaped;
use crate::text::{Zone, time_ms};
use crate::words;
use crate::{CliError, Context};

/// Arguments of `access changes`.
#[derive(Debug, Args)]
pub(crate) struct ChangesArgs {
    /// What changed up to this block is known: what was kept last time
    #[arg(long, value_name = "HEIGHT", default_value_t = 0)]
    since: u64,
    /// Hours and minutes that times are ahead of UTC, such as +01:00
    #[arg(long, value_name = "OFFSET", default_value_t, allow_hyphen_values = true)]
    utc_offset: Zone,
}

/// Arguments of `access watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Resume after this block; 0 tells all that there ever was [default: the newest block]
    #[arg(long, value_name = "HEIGHT")]
    after: Option<u64>,
    /// Hours and minutes that times are ahead of UTC, such as +01:00
    #[arg(long, value_name = "OFFSET", default_value_t, allow_hyphen_values = true)]
    utc_offset: Zone,
}

/// What has changed since it was read.
#[derive(Serialize)]
struct ChangesView {
    since: u64,
    /// All up to this block; to be given as --since next time.
    up_to: u64,
    records: Vec<ChangeView>,
}

/// One of them as it happens.
#[derive(Serialize)]
struct ToldView {
    #[serde(flatten)]
    change: ChangeView,
    /// For --after next time.
    cursor: u64,
}

/// A record that has changed.
#[derive(Serialize)]
struct ChangeView {
    record: String,
    /// What became of it.
    fate: &'static str,
    words: &'static str,
    /// Its newest version; of a retracted record, the one that says so.
    version: u32,
    changed: String,
    #[serde(skip)]
    changed_shown: String,
    height: u64,
    /// By this identity; for services, also by others of their member.
    reads: Vec<ReadView>,
}

#[derive(Serialize)]
struct ReadView {
    /// SPIFFE id.
    reader: String,
    version: u32,
    /// As in the request.
    patient: String,
    /// The request: `access decision` proves it.
    transaction: String,
    time: String,
    #[serde(skip)]
    time_shown: String,
}

pub(super) async fn run(client: &Client, args: &ChangesArgs, ctx: &Context) -> Result<(), CliError> {
    let changes = client.changes(Height(args.since)).await?;
    ctx.claims("completeness", "each of these is proven; that there are no others is the node's word");
    ctx.print(&ChangesView::new(args, &changes), ChangesView::text)
}

pub(super) async fn watch(client: &Client, args: &WatchArgs, ctx: &Context) -> Result<(), CliError> {
    let after = match args.after {
        Some(height) => Height(height),
        None => client.certified_head().await?.header.height,
    };
    let mut notices = client.change_notices(after);
    loop {
        tokio::select! {
            notice = notices.next() => {
                if let Notice::Change(change) = notice? {
                    let change = ChangeView::new(&change, args.utc_offset);
                    let told = ToldView { change, cursor: notices.cursor().0 };
                    ctx.print(&told, |told| told.change.text())?;
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

impl ChangesView {
    fn new(args: &ChangesArgs, changes: &Changes) -> Self {
        let records = changes.records.iter().map(|change| ChangeView::new(change, args.utc_offset));
        Self { since: args.since, up_to: changes.up_to.0, records: records.collect() }
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self.records.iter().map(ChangeView::text).collect();
        lines.push(match self.records.len() {
            0 => "nothing that was read has changed".to_owned(),
            1 => "1 record has changed since it was read: look at it again before you rely on it".to_owned(),
            number => {
                format!(
                    "{number} records have changed since they were read: look at them again before you rely on them"
                )
            }
        });
        lines.push(format!("keep this for the next time: --since {}", self.up_to));
        lines.join("\n")
    }
}

impl ChangeView {
    fn new(change: &KnownChange, zone: Zone) -> Self {
        Self {
            record: change.record.to_string(),
            fate: match change.fate {
                Fate::Amended => "amended",
                Fate::Retracted => "retracted",
                Fate::Misfiled => "misfiled",
            },
            words: words::fate(change.fate),
            version: change.version,
            changed: time_ms(change.time.0),
            changed_shown: zone.time_ms(change.time.0),
            height: change.height.0,
            reads: change.reads.iter().map(|read| ReadView::new(read, zone)).collect(),
        }
    }

    fn text(&self) -> String {
        let head = format!("record {}: {}; version {}, {}", self.record, self.words, self.version, self.changed_shown);
        let reads = self.reads.iter().map(|read| {
            let ReadView { reader, version, patient, time_shown, .. } = read;
            format!("  {reader} has read version {version}, as of patient {patient}, {time_shown}")
        });
        std::iter::once(head).chain(reads).map(|line| escaped(&line)).collect::<Vec<_>>().join("\n")
    }
}

impl ReadView {
    fn new(read: &VersionRead, zone: Zone) -> Self {
        Self {
            reader: read.reader.to_string(),
            version: read.version,
            patient: read.patient.to_string(),
            transaction: read.transaction_id.to_string(),
            time: time_ms(read.time.0),
            time_shown: zone.time_ms(read.time.0),
        }
    }
}

#[cfg(test)]
mod tests;
