//! One decision as it is shown, and what its receipt proves.

use consilium_client::access_log::{DecisionReport, ProvenDecision};
use consilium_client::receipts::ReceiptReport;
use serde::Serialize;

use super::event::{DecisionView, EventView};
use crate::context::escaped;

/// One decision, proven.
#[derive(Serialize)]
pub(super) struct DecidedView {
    /// There is no such patient: it stands in the log of the reader's member.
    pub(super) unmatched: bool,
    pub(super) patient: String,
    pub(super) at_height: u64,
    pub(super) event: EventView,
}

/// What the receipt of a decision proves.
#[derive(Serialize)]
pub(super) struct ReceiptView {
    pub(super) decision: DecidedView,
    /// Of the text of the access policy; null: the policy that the rules hold.
    pub(super) policy_sha256: Option<String>,
    /// Of the request.
    pub(super) receipt: ReceiptReport,
}

impl DecidedView {
    pub(super) fn new(proven: &ProvenDecision, names: bool) -> Self {
        Self {
            unmatched: proven.unmatched,
            patient: proven.event.patient.to_string(),
            at_height: proven.header.height.0,
            event: EventView::new(&proven.event, names),
        }
    }

    pub(super) fn text(&self) -> String {
        let event = &self.event;
        let name = event.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
        let mut lines = vec![
            format!(
                "{}: a {}{name} of {} asked to {} of patient {}",
                event.time,
                event.role_words,
                event.place(),
                event.kind_words,
                self.patient
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
    pub(super) fn new(report: &DecisionReport, names: bool) -> Self {
        Self {
            decision: DecidedView::new(&report.decision, names),
            policy_sha256: report.policy_sha256.map(|hash| hash.to_string()),
            receipt: report.receipt.clone(),
        }
    }

    pub(super) fn text(&self) -> String {
        let policy = match &self.policy_sha256 {
            Some(hash) => format!("access policy {}, SHA-256 {hash}", self.decision.event.policy_version),
            None => "the access policy of the rules themselves".to_owned(),
        };
        let ReceiptReport { ledger_id, signed_power, total_power, .. } = &self.receipt;
        let signed = format!("certified on ledger {ledger_id} by {signed_power} of {total_power} voting power");
        format!("verified\n{}\ndecided by {policy}\n{signed}", self.decision.text())
    }
}
