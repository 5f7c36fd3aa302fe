//! `consilium emergency drill`: an emergency on a patient that there is not, over a live network,
//! from the declaration to the decrypted record and the review. It measures, and judges nothing
//! but whether the record was read.

use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use consilium_client::access_log::KeptLog;
use consilium_client::documents::DocumentHash;
use consilium_client::emergencies::Declaration;
use consilium_client::records::{Draft, RecordDraft, RecordReader, RecordWriter};
use consilium_client::{Client, pb};
use consilium_proto::ids::PatientPseudonym;
use pb::action::Action;
use serde::Serialize;

use crate::confirm::Consent;
use crate::{CliError, Context};

/// From the declaration to the decrypted record, milliseconds: what a person in an emergency room
/// waits for without looking elsewhere.
const GOAL_MS: u128 = 2_000;
const DOCUMENT: &[u8] = b"a drill: this is no patient's record";

/// Arguments of `emergency drill`.
#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    /// Profile of a service that writes the record: of another member, so that its custodian has
    /// to make the key. The reader is the identity of the present profile
    #[arg(long, value_name = "PROFILE")]
    pub(crate) writer: String,
    /// Profile of an auditor of the reader's member, who reviews it
    #[arg(long, value_name = "PROFILE")]
    pub(crate) reviewer: String,
    /// Whether to ask.
    #[command(flatten)]
    pub(crate) ask: Consent,
}

/// What the drill showed.
#[derive(Serialize)]
struct DrillView {
    patient: String,
    record: String,
    emergency: String,
    /// SPIFFE ids.
    writer: String,
    reader: String,
    reviewer: String,
    /// From sending the declaration to the decrypted document.
    declared_to_read_ms: u64,
    goal_ms: u64,
    within_goal: bool,
    transactions: Transactions,
}

/// On the ledger, for good: what was done.
#[derive(Serialize)]
struct Transactions {
    registered: String,
    written: String,
    /// The declaration, and the request to read in it; as the patient's log has it, proven.
    declared_and_read: String,
    reviewed: String,
}

/// Runs `consilium emergency drill`.
pub(super) async fn run(args: DrillArgs, ctx: &Context) -> Result<(), CliError> {
    let reader = ctx.client().await?;
    let writer = ctx.client_of(&args.writer).await?;
    let reviewer = ctx.client_of(&args.reviewer).await?;
    let id = |client: &Client| client.identity().spiffe_id().to_string();
    let about = format!(
        "{} registers a patient that there is not and writes a record\n{} declares an emergency and reads it\n\
         {} reviews it\nall of it stays on the ledger",
        id(&writer),
        id(&reader),
        id(&reviewer)
    );
    args.ask.ask(&about, "Drill?")?;
    let patient = PatientPseudonym(rand::random());
    let register = pb::RegisterPatient { patient: patient.0.to_vec().into(), lookups_sha256: Vec::new() };
    let registered = writer.perform(Action::RegisterPatient(register)).await?;
    let draft = RecordDraft::document("drill", patient, Bytes::from_static(DOCUMENT));
    let drafts = vec![Draft::new(draft)];
    let written = RecordWriter::new(writer.clone()).await?.write(drafts, pb::WaitFor::Certified).await?;
    let (written, ids) = written.into_iter().next().ok_or_else(|| CliError::failed("nothing was written"))?;
    let record = *ids.first().ok_or_else(|| CliError::failed("nothing was written"))?;

    let declaration = Declaration::new(patient, pb::EmergencyReason::Danger);
    // A system must name a person; in a drill that is nobody.
    let declaration = declaration.acting(DocumentHash::of(b"drill").hash());
    let begun = Instant::now();
    let opened = RecordReader::with(reader.clone(), declaration.access()).get_of(patient, record, None).await?;
    let took = begun.elapsed().as_millis();
    if opened.plaintext.is_none_or(|document| document[..] != DOCUMENT[..]) {
        return Err(CliError::failed("the record that was read is not the one that was written"));
    }
    let reviewed = reviewer.review_emergency(declaration.id(), pb::ReviewVerdict::Justified, None).await?;
    let log = reviewer.access_log(patient, KeptLog::nothing()).await?;
    // Before it stands that it was declared, and behind it that it was reviewed.
    let event = log.events.iter().find(|event| event.emergency == Some(declaration.id()) && event.permits());
    let event = event.ok_or_else(|| CliError::failed("the reading is not in the patient's log"))?;
    let view = DrillView {
        patient: patient.to_string(),
        record: record.to_string(),
        emergency: declaration.id().to_string(),
        writer: id(&writer),
        reader: id(&reader),
        reviewer: id(&reviewer),
        declared_to_read_ms: u64::try_from(took).unwrap_or(u64::MAX),
        goal_ms: GOAL_MS as u64,
        within_goal: took <= GOAL_MS,
        transactions: Transactions {
            registered: registered.transaction_id.to_string(),
            written: written.transaction_id.to_string(),
            declared_and_read: event.transaction_id.to_string(),
            reviewed: reviewed.transaction_id.to_string(),
        },
    };
    ctx.print(&view, DrillView::text)
}

impl DrillView {
    fn text(&self) -> String {
        let judged = if self.within_goal { "within" } else { "LATER THAN" };
        format!(
            "from the declaration to the decrypted record: {} ms, {judged} the goal of {} ms\n\
             patient {}, emergency {}: reviewed, and in the patient\'s log",
            self.declared_to_read_ms, self.goal_ms, self.patient, self.emergency
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn scripts_get_what_it_took_and_the_transactions() {
        let id = |n: &str| n.repeat(32);
        let view = DrillView {
            patient: "01".repeat(16),
            record: "02".repeat(16),
            emergency: "0e".repeat(16),
            writer: "spiffe://a.example/service/ehr".into(),
            reader: "spiffe://b.example/clinician/c-1".into(),
            reviewer: "spiffe://b.example/auditor/privacy".into(),
            declared_to_read_ms: 312,
            goal_ms: 2_000,
            within_goal: true,
            transactions: Transactions {
                registered: id("03"),
                written: id("04"),
                declared_and_read: id("05"),
                reviewed: id("06"),
            },
        };
        assert!(view.text().starts_with("from the declaration to the decrypted record: 312 ms, within the goal"));
        json::snapshot::check("drill", &view);
    }
}
