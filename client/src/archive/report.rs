//! What a verification found, for people and programs.

use consilium_proto::hash::Hash;
use consilium_proto::ids::{HeaderHash, Height, LedgerId, TimeMs};

use super::failure::VerifyFailure;

/// What was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks, the genesis header included.
    pub blocks: u64,
    /// Transactions.
    pub transactions: u64,
    /// Of them, applied.
    pub applied: u64,
    /// Authors' signatures found good.
    pub signatures: u64,
    /// Transactions refused before their signature mattered (expired, unknown
    /// author): their signatures prove nothing and were not checked.
    pub signatures_immaterial: u64,
    /// Block certificates found good.
    pub certificates: u64,
    /// Changes of the validators, each certified by the set that ended.
    pub set_changes: u64,
    /// Identities enrolled.
    pub enrolments: u64,
    /// Attachments found as committed to.
    pub attachments: u64,
    /// Attachments that were erased.
    pub attachments_erased: u64,
    /// Blocks whose archive entry holds none of the attachments.
    pub blocks_without_attachments: u64,
    /// Rows of the state.
    pub state_rows: u64,
    /// Record versions.
    pub versions: u64,
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The ledger asked for.
    pub ledger_id: LedgerId,
    /// What was checked until the end or the failure.
    pub counts: Counts,
    /// Height, header hash, state root and time of the last block checked.
    pub head: Option<(Height, HeaderHash, Hash, TimeMs)>,
    /// The highest block that a certificate makes final; what is above may
    /// still be certified or never be.
    pub certified_height: Option<Height>,
    /// Whether the archive holds the state, and so the state's root and the
    /// records' histories were checked.
    pub state_checked: bool,
    /// The first thing that is wrong.
    pub failure: Option<VerifyFailure>,
}

impl Report {
    /// Whether everything is right and, if there is a block, a certificate
    /// makes one final.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let only_genesis = self.head.is_none_or(|(height, ..)| height == Height::GENESIS);
        self.failure.is_none() && (self.certified_height.is_some() || only_genesis)
    }

    /// Blocks above the last certified one.
    #[must_use]
    pub fn uncertified_blocks(&self) -> u64 {
        let head = self.head.map_or(0, |(height, ..)| height.0);
        head - self.certified_height.map_or(0, |h| h.0).min(head)
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let c = &self.counts;
        serde_json::json!({
            "ok": self.is_good(),
            "ledger_id": self.ledger_id.to_string(),
            "height": self.head.map(|(height, ..)| height.0),
            "header_hash": self.head.map(|(_, hash, ..)| hash.to_string()),
            "state_root": self.head.map(|(_, _, root, _)| root.to_string()),
            "time_ms": self.head.map(|(.., time)| time.0),
            "certified_height": self.certified_height.map(|h| h.0),
            "uncertified_blocks": self.uncertified_blocks(),
            "state_checked": self.state_checked,
            "blocks": c.blocks,
            "transactions": c.transactions,
            "applied": c.applied,
            "signatures": c.signatures,
            "signatures_immaterial": c.signatures_immaterial,
            "certificates": c.certificates,
            "set_changes": c.set_changes,
            "enrolments": c.enrolments,
            "attachments": c.attachments,
            "attachments_erased": c.attachments_erased,
            "blocks_without_attachments": c.blocks_without_attachments,
            "state_rows": c.state_rows,
            "versions": c.versions,
            "failure": self.failure.as_ref().map(ToString::to_string),
            "failure_height": self.failure.as_ref().and_then(VerifyFailure::height).map(|h| h.0),
        })
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let c = &self.counts;
        let mut lines = vec![format!("ledger       {}", self.ledger_id)];
        if let Some((height, hash, ..)) = self.head {
            lines.push(format!("blocks       {} up to height {height}, header {hash}", c.blocks));
        }
        lines.push(format!(
            "transactions {} ({} applied, {} refused)",
            c.transactions,
            c.applied,
            c.transactions - c.applied
        ));
        lines.push(format!("signatures   {} by authors good, {} certificates good", c.signatures, c.certificates));
        lines.push(format!("validators   changed {} times, each time certified by those before", c.set_changes));
        lines.push(format!("attachments  {} as committed to, {} erased", c.attachments, c.attachments_erased));
        lines.push(match self.state_checked {
            true => format!(
                "state        {} rows and {} record versions agree with the last header",
                c.state_rows, c.versions
            ),
            false => "state        not in this archive, so its root was not recomputed".to_owned(),
        });
        lines.push(match self.certified_height {
            Some(height) => format!("certified    up to height {height}"),
            None => "certified    nothing".to_owned(),
        });
        if self.uncertified_blocks() > 0 {
            lines.push(format!("             {} blocks above are not yet certified", self.uncertified_blocks()));
        }
        lines.push(match &self.failure {
            Some(failure) => format!("FAILED       {failure}"),
            None if self.is_good() => "OK           everything that was checked is right".to_owned(),
            None => "FAILED       consistent, but no certificate makes any of it final".to_owned(),
        });
        lines.join("\n")
    }
}
