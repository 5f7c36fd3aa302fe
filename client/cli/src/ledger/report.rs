//! What the verification of an archive found, for people and for scripts.

use consilium_client::archive::{Counts, Report};
use serde::Serialize;

/// A verification; what was not reached is null.
#[derive(Serialize)]
pub(super) struct ReportView {
    ok: bool,
    ledger_id: String,
    height: Option<u64>,
    header_hash: Option<String>,
    state_root: Option<String>,
    time_ms: Option<u64>,
    certified_height: Option<u64>,
    uncertified_blocks: u64,
    state_checked: bool,
    #[serde(flatten)]
    counts: CountsView,
    failure: Option<String>,
    failure_height: Option<u64>,
}

#[derive(Serialize)]
struct CountsView {
    blocks: u64,
    transactions: u64,
    applied: u64,
    signatures: u64,
    signatures_immaterial: u64,
    certificates: u64,
    set_changes: u64,
    enrolments: u64,
    attachments: u64,
    attachments_erased: u64,
    blocks_without_attachments: u64,
    state_rows: u64,
    versions: u64,
    log_entries: u64,
}

impl ReportView {
    pub(super) fn new(report: &Report) -> Self {
        Self {
            ok: report.is_good(),
            ledger_id: report.ledger_id.to_string(),
            height: report.head.map(|(height, ..)| height.0),
            header_hash: report.head.map(|(_, hash, ..)| hash.to_string()),
            state_root: report.head.map(|(_, _, root, _)| root.to_string()),
            time_ms: report.head.map(|(.., time)| time.0),
            certified_height: report.certified_height.map(|height| height.0),
            uncertified_blocks: report.uncertified_blocks(),
            state_checked: report.state_checked,
            counts: report.counts.into(),
            failure: report.failure.as_ref().map(ToString::to_string),
            failure_height: report.failure.as_ref().and_then(|failure| failure.height()).map(|height| height.0),
        }
    }

    pub(super) fn text(&self) -> String {
        let c = &self.counts;
        let mut lines = vec![format!("ledger       {}", self.ledger_id)];
        if let (Some(height), Some(hash)) = (self.height, &self.header_hash) {
            lines.push(format!("blocks       {} up to height {height}, header {hash}", c.blocks));
        }
        let refused = c.transactions - c.applied;
        lines.push(format!("transactions {} ({} applied, {refused} refused)", c.transactions, c.applied));
        lines.push(format!("signatures   {} by authors good, {} certificates good", c.signatures, c.certificates));
        lines.push(format!("validators   changed {} times, each time certified by those before", c.set_changes));
        lines.push(format!("attachments  {} as committed to, {} erased", c.attachments, c.attachments_erased));
        lines.push(match self.state_checked {
            true => {
                format!(
                    "state        {} rows, {} record versions and {} entries of logs agree with the last header",
                    c.state_rows, c.versions, c.log_entries
                )
            }
            false => "state        not in this archive, so its root was not recomputed".to_owned(),
        });
        lines.push(match self.certified_height {
            Some(height) => format!("certified    up to height {height}"),
            None => "certified    nothing".to_owned(),
        });
        if self.uncertified_blocks > 0 {
            lines.push(format!("             {} blocks above are not yet certified", self.uncertified_blocks));
        }
        lines.push(match &self.failure {
            Some(failure) => format!("FAILED       {failure}"),
            None if self.ok => "OK           everything that was checked is right".to_owned(),
            None => "FAILED       consistent, but no certificate makes any of it final".to_owned(),
        });
        lines.join("\n")
    }
}

impl From<Counts> for CountsView {
    fn from(c: Counts) -> Self {
        Self {
            blocks: c.blocks,
            transactions: c.transactions,
            applied: c.applied,
            signatures: c.signatures,
            signatures_immaterial: c.signatures_immaterial,
            certificates: c.certificates,
            set_changes: c.set_changes,
            enrolments: c.enrolments,
            attachments: c.attachments,
            attachments_erased: c.attachments_erased,
            blocks_without_attachments: c.blocks_without_attachments,
            state_rows: c.state_rows,
            versions: c.versions,
            log_entries: c.log_entries,
        }
    }
}
