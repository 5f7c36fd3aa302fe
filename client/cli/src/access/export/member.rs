//! `consilium access export --member`: every access by people of the own hospital, as FHIR
//! AuditEvents. It reads all blocks, so it writes as it reads, and says beside the file how far it
//! is: whoever starts it again goes on there, and no event is written twice.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use consilium_client::access_log::ProvenDecision;
use consilium_client::fhir::audit::{AuditStyle, audit_events};
use consilium_client::{Client, files};
use consilium_proto::ids::{Height, TimeMs};
use serde::{Deserialize, Serialize};

use super::left_out;
use crate::{CliError, Context};

/// Blocks after which it says how far it is.
const MARK_EVERY: u64 = 1_000;
/// Events after which it says so, too.
const MARK_EVERY_EVENTS: u64 = 256;

/// How far a file is; beside it until it is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    ledger: String,
    member: String,
    names: bool,
    /// Whether what is kept from patients is in it, too.
    #[serde(default)]
    with_sealed: bool,
    /// Where it began.
    after: u64,
    /// All up to this block is in the file.
    up_to: u64,
    /// That are so many bytes of it.
    bytes: u64,
    events: u64,
    resources: u64,
    /// Events that were left out: they are kept from the patient still.
    #[serde(default)]
    sealed: u64,
}

/// What was written.
#[derive(Serialize)]
struct MemberExportView {
    file: String,
    member: String,
    after: u64,
    /// All up to this block; to be given as --after next time.
    up_to: u64,
    events: u64,
    /// One event has a resource for each thing that was decided.
    resources: u64,
    /// Events that were left out: they are kept from the patient still.
    sealed: u64,
}

pub(super) async fn run(
    client: &Client,
    (path, after): (&Path, Height),
    (style, with_sealed): (AuditStyle, bool),
    ctx: &Context,
) -> Result<(), CliError> {
    let member = client.identity().spiffe_id().member().clone();
    let mark = Mark {
        ledger: style.ledger.to_string(),
        member: member.to_string(),
        names: style.names,
        with_sealed,
        after: after.0,
        up_to: after.0,
        bytes: 0,
        events: 0,
        resources: 0,
        sealed: 0,
    };
    let now = client.certified_head().await?.header.time;
    let mut out = MarkedFile::open(path, mark)?;
    let spinner = ctx.spinner("reading blocks");
    let mut log = client.staff_log(&member, Height(out.mark.up_to)).await?;
    while let Some((height, decisions)) = log.next().await? {
        out.block(height, &decisions, (style, now))?;
    }
    spinner.finish_and_clear();
    let mark = out.finish()?;
    let view = MemberExportView {
        file: path.display().to_string(),
        member: mark.member,
        after: mark.after,
        up_to: mark.up_to,
        events: mark.events,
        resources: mark.resources,
        sealed: mark.sealed,
    };
    ctx.print(&view, MemberExportView::text)
}

/// A file that grows, and the mark of how far it is.
struct MarkedFile {
    path: PathBuf,
    out: BufWriter<File>,
    mark: Mark,
    /// What the mark on the disk says.
    marked: (u64, u64),
}

impl MarkedFile {
    /// A new file, or one that was not finished: what stands in it behind its mark is cut off.
    fn open(path: &Path, new: Mark) -> Result<Self, CliError> {
        let failed = |e: std::io::Error| CliError::failed(format!("{}: {e}", path.display()));
        let marked = mark_path(path);
        let mark = match std::fs::exists(&marked).map_err(failed)? {
            false => {
                files::write_new(path, b"", files::SECRET_MODE)?;
                new
            }
            true => {
                let mark: Mark = serde_json::from_str(&files::read_text(&marked)?)
                    .map_err(|e| CliError::failed(format!("{}: {e}", marked.display())))?;
                let same = (&mark.ledger, &mark.member, mark.names, mark.with_sealed, mark.after)
                    == (&new.ledger, &new.member, new.names, new.with_sealed, new.after);
                if !same {
                    return Err(CliError::failed(format!(
                        "{} was begun by another ledger, hospital or --after, or differs in --names or --sealed: finish it as it was \
                         begun, or name another file",
                        path.display()
                    )));
                }
                mark
            }
        };
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < mark.bytes {
            return Err(CliError::failed(format!("{} is shorter than it was: begin anew", path.display())));
        }
        file.set_len(mark.bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        let out = Self { path: path.to_owned(), out: BufWriter::new(file), marked: (mark.up_to, mark.events), mark };
        out.write_mark()?;
        Ok(out)
    }

    /// Adds what was decided in the next block, but what is kept from patients beyond `now`.
    fn block(
        &mut self,
        height: Height,
        decisions: &[ProvenDecision],
        (style, now): (AuditStyle, TimeMs),
    ) -> Result<(), CliError> {
        for decision in decisions {
            if !self.mark.with_sealed && decision.event.sealed_until.is_some_and(|until| now < until) {
                self.mark.sealed += 1;
                continue;
            }
            for resource in audit_events(&decision.event, style) {
                let line = format!("{resource}\n");
                self.out.write_all(line.as_bytes()).map_err(|e| self.failed(&e))?;
                self.mark.bytes += line.len() as u64;
                self.mark.resources += 1;
            }
            self.mark.events += 1;
        }
        self.mark.up_to = height.0;
        let (up_to, events) = self.marked;
        if self.mark.up_to - up_to >= MARK_EVERY || self.mark.events - events >= MARK_EVERY_EVENTS {
            self.sync()?;
            self.write_mark()?;
            self.marked = (self.mark.up_to, self.mark.events);
        }
        Ok(())
    }

    /// It is whole: nothing stands beside it any more.
    fn finish(mut self) -> Result<Mark, CliError> {
        self.sync()?;
        std::fs::remove_file(mark_path(&self.path)).map_err(|e| self.failed(&e))?;
        Ok(self.mark)
    }

    fn sync(&mut self) -> Result<(), CliError> {
        self.out.flush().and_then(|()| self.out.get_ref().sync_all()).map_err(|e| self.failed(&e))
    }

    /// Never half of one: it is renamed into its place.
    fn write_mark(&self) -> Result<(), CliError> {
        let (place, new) = (mark_path(&self.path), beside(&self.path, ".progress.new"));
        let text = serde_json::to_vec(&self.mark).map_err(|e| CliError::failed(e.to_string()))?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(files::SECRET_MODE).open(&new);
        let written = file.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.and_then(|()| std::fs::rename(&new, &place)).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &std::io::Error) -> CliError {
        CliError::failed(format!("{}: {error}", self.path.display()))
    }
}

fn mark_path(path: &Path) -> PathBuf {
    beside(path, ".progress")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl MemberExportView {
    fn text(&self) -> String {
        format!(
            "{} AuditEvents of {} accesses by people of {} in the blocks {} to {}, proven to be all of them{}, written to \
             {}{}\nkeep this for the next time: --after {}",
            self.resources,
            self.events,
            self.member,
            self.after.saturating_add(1),
            self.up_to,
            if self.sealed == 0 { "" } else { " but those that are left out" },
            self.file,
            left_out(self.sealed),
            self.up_to
        )
    }
}

#[cfg(test)]
mod tests;
