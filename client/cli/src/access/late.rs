//! `consilium access late`: a reading without a quorum that is in no patient's list, as its reader
//! or a node has kept it; and to enter it.

use std::path::PathBuf;

use clap::Args;
use consilium_client::files;
use consilium_client::records::LateRequest;
use consilium_proto::genesis::{GENESIS_BYTES_MAX, Genesis};
use consilium_proto::limits::REQUEST_BYTES_MAX;
use consilium_proto::purpose;
use serde::Serialize;

use crate::confirm::Consent;
use crate::text::time_ms;
use crate::{CliError, Context, words};

/// Arguments of `access late`.
#[derive(Debug, Args)]
pub(crate) struct LateArgs {
    /// What `record get --without-quorum --keep` has written, or a file of a node's `late` folder
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Enter it into the ledger: as it is, or signed again by this identity, which then stands in
    /// the patient's list as the reader
    #[arg(long)]
    enter: bool,
    /// Whether to ask.
    #[command(flatten)]
    ask: Consent,
}

#[derive(Serialize)]
struct LateView {
    patient: String,
    records: Vec<RecordView>,
    /// A code of HL7.
    purpose: &'static str,
    purpose_words: &'static str,
    /// As the reader says.
    read_at: String,
    /// Of who signed it.
    author: String,
    transaction: String,
    /// The ledger would take it as it is.
    valid: bool,
    /// By which transaction it was entered; null: it was not.
    entered: Option<String>,
}

#[derive(Serialize)]
struct RecordView {
    record: String,
    /// 0: the newest.
    version: u32,
}

/// Runs `consilium access late`.
pub(super) async fn run(args: LateArgs, ctx: &Context) -> Result<(), CliError> {
    let genesis = Genesis::parse(&files::read(&ctx.genesis_path()?, GENESIS_BYTES_MAX as u64)?)?;
    let late = LateRequest::parse(&files::read(&args.file, REQUEST_BYTES_MAX as u64)?, genesis.ledger_id)?;
    let mut view = LateView::new(&late);
    if args.enter {
        let client = ctx.client().await?;
        args.ask.ask(&view.text(), "Enter it into the patient's list?")?;
        view.entered = Some(client.enter_late(&late).await?.transaction_id.to_string());
    }
    ctx.print(&view, LateView::text)
}

impl LateView {
    fn new(late: &LateRequest) -> Self {
        let request = late.request();
        let record = |of: &consilium_proto::transaction::VersionRef| RecordView {
            record: of.record.to_string(),
            version: of.version,
        };
        Self {
            patient: request.patient.to_string(),
            records: request.records.iter().map(record).collect(),
            purpose: purpose::code(request.purpose),
            purpose_words: words::purpose(request.purpose),
            read_at: time_ms(late.read_at().0),
            author: late.author().to_string(),
            transaction: late.transaction_id().to_string(),
            valid: late.is_valid(),
            entered: None,
        }
    }

    fn text(&self) -> String {
        let records: Vec<_> = self.records.iter().map(|of| of.record.as_str()).collect();
        let state = match (&self.entered, self.valid) {
            (Some(transaction), _) => format!("entered by transaction {transaction}"),
            (None, true) => "not over: a node that has it still enters it by itself".to_owned(),
            (None, false) => "over: it is entered only if somebody signs it again, with --enter".to_owned(),
        };
        format!(
            "patient {}: read {} without a quorum, for {}\nrecords: {}\nsigned by the key {}, transaction {}\n{state}",
            self.patient,
            self.read_at,
            self.purpose_words,
            records.join(", "),
            self.author,
            self.transaction
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_what_was_read_and_whether_it_is_entered() {
        let view = LateView {
            patient: "0a".repeat(16),
            records: vec![RecordView { record: "02".repeat(16), version: 0 }],
            purpose: "TREAT",
            purpose_words: "treatment",
            read_at: time_ms(1_000),
            author: "05".repeat(32),
            transaction: "06".repeat(32),
            valid: false,
            entered: None,
        };
        assert!(view.text().ends_with("over: it is entered only if somebody signs it again, with --enter"));
        json::snapshot::check("access-late", &view);
    }
}
