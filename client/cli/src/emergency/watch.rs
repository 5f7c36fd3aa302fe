//! `consilium emergency watch`: emergencies as they are declared, reviewed and forgotten to be
//! reviewed; to a patient also each access.

use clap::Args;
use consilium_client::access_log::{AccessEvent, KeptAccess, KeptLog};
use consilium_client::notices::{KnownEmergency, Notice, Notices};
use consilium_client::pb;
use consilium_proto::ids::{Height, PatientPseudonym};
use consilium_proto::names::SpiffeId;
use serde::Serialize;

use crate::access::EventView;
use crate::context::escaped;
use crate::text::time_ms;
use crate::words;
use crate::{CliError, Context};

/// Arguments of `emergency watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Of this patient alone, and each access to its records, too. Auditors may leave it out
    #[arg(long, value_name = "HEX")]
    pub(crate) patient: Option<PatientPseudonym>,
    /// Resume after this height; 0 tells all that there ever were, also of the patient's accesses
    /// [default: the newest block]
    #[arg(long, value_name = "HEIGHT")]
    pub(crate) after: Option<u64>,
    /// What was kept of the patient's list of accesses: those that came since are told, and those
    /// that were sealed when their time is over [default: those after the height]
    #[arg(long, value_name = "COUNT:ROOT", requires = "patient")]
    pub(crate) since: Option<KeptAccess>,
    /// Show the names of readers, too: opaque, as the ledger has them
    #[arg(long)]
    pub(crate) names: bool,
}

/// What is told.
#[derive(Serialize)]
struct NoticeView {
    /// Null: accesses.
    emergency: Option<EmergencyView>,
    /// Null: an emergency.
    accesses: Option<Vec<EventView>>,
    /// For --after next time.
    cursor: u64,
    /// For --since next time; null without a patient.
    keep: Option<String>,
}

/// An emergency as it stands.
#[derive(Serialize)]
struct EmergencyView {
    emergency: String,
    patient: String,
    member: String,
    role: String,
    /// Null unless names were asked for.
    name: Option<String>,
    /// An EmergencyReason of emergency.proto.
    reason: &'static str,
    reason_words: &'static str,
    from: String,
    to: String,
    review_due: String,
    /// Null: nobody has reviewed it.
    reviewed: Option<String>,
    /// A ReviewVerdict of emergency.proto.
    verdict: Option<&'static str>,
    /// The review was due, and is not done.
    overdue: bool,
    /// It is so at this height.
    at_height: u64,
}

/// Runs `consilium emergency watch`.
pub(super) async fn run(args: WatchArgs, ctx: &Context) -> Result<(), CliError> {
    let client = ctx.client().await?;
    let after = match args.after {
        Some(height) => Height(height),
        None => client.certified_head().await?.header.height,
    };
    let kept = match (args.patient, args.kept()) {
        (_, Some(kept)) => kept,
        (Some(patient), None) => client.access_log(patient, KeptLog::nothing()).await?.kept_access(),
        (None, None) => KeptLog::nothing().into(),
    };
    let mut notices = client.notices(args.patient, after, kept);
    loop {
        tokio::select! {
            notice = notices.next() => {
                let view = NoticeView::new(&notice?, &notices, &args)?;
                if !view.is_empty() {
                    ctx.print(&view, NoticeView::text)?;
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

impl WatchArgs {
    /// What is known of the log from the start; `None`: all that stands in it now. Who names a height
    /// is told what came after it, which only the whole log shows.
    fn kept(&self) -> Option<KeptAccess> {
        self.since.clone().or_else(|| self.after.map(|_| KeptLog::nothing().into()))
    }

    /// Whether an access is told: `--since` says which by itself.
    fn tells(&self, event: &AccessEvent) -> bool {
        self.since.is_some() || self.after.is_none_or(|after| event.height > Height(after))
    }
}

impl NoticeView {
    /// Nothing of it was asked for.
    fn is_empty(&self) -> bool {
        self.emergency.is_none() && self.accesses.as_ref().is_none_or(Vec::is_empty)
    }

    fn new(notice: &Notice, notices: &Notices, args: &WatchArgs) -> Result<Self, CliError> {
        let (emergency, accesses) = match notice {
            Notice::Emergency(emergency) => (Some(EmergencyView::new(emergency, args.names)?), None),
            // Is not asked for.
            Notice::Change(_) => (None, None),
            Notice::Accesses(log) => {
                // What was sealed is told when it opens, however old it is.
                let told = log.opened.iter().chain(log.events.iter().filter(|event| args.tells(event)));
                (None, Some(told.map(|event| EventView::new(event, args.names)).collect()))
            }
        };
        let keep = args.patient.map(|_| notices.kept().to_string());
        Ok(Self { emergency, accesses, cursor: notices.cursor().0, keep })
    }

    fn text(&self) -> String {
        let emergencies = self.emergency.iter().map(EmergencyView::text);
        let accesses = self.accesses.iter().flatten().map(EventView::line);
        let lines = emergencies.chain(accesses).map(|line| escaped(&line));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl EmergencyView {
    fn new(known: &KnownEmergency, names: bool) -> Result<Self, CliError> {
        let state = &known.state;
        let reader: SpiffeId =
            state.reader.parse().map_err(|_| CliError::failed("the emergency is of nobody who has a name"))?;
        let reviewed = !state.reviewer.is_empty();
        Ok(Self {
            emergency: known.id.to_string(),
            patient: hex::encode(&state.patient),
            member: reader.member().to_string(),
            role: reader.role().as_str().to_owned(),
            name: names.then(|| reader.name().to_owned()),
            reason: state.reason().as_str_name(),
            reason_words: words::reason(state.reason()),
            from: time_ms(state.from_ms),
            to: time_ms(state.to_ms),
            review_due: time_ms(state.review_due_ms),
            reviewed: reviewed.then(|| time_ms(state.reviewed_ms)),
            verdict: reviewed.then(|| state.verdict().as_str_name()),
            overdue: known.is_overdue(),
            at_height: known.height.0,
        })
    }

    fn text(&self) -> String {
        let name = self.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
        let review = match (&self.reviewed, self.verdict) {
            (Some(at), Some(verdict)) if verdict == pb::ReviewVerdict::Justified.as_str_name() => {
                format!("reviewed {at}: it was justified")
            }
            (Some(at), _) => format!("reviewed {at}: it was NOT justified, and has ended"),
            (None, _) if self.overdue => format!("OVERDUE: was to be reviewed by {}", self.review_due),
            (None, _) => format!("to be reviewed by {}", self.review_due),
        };
        format!(
            "emergency {}: a {}{name} of {} for patient {}: {}; from {} to {}; {review} (as of height {})",
            self.emergency, self.role, self.member, self.patient, self.reason_words, self.from, self.to, self.at_height
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_client::pb::EmergencyState;
    use consilium_proto::ids::{EmergencyId, TimeMs};

    use super::*;
    use crate::json;

    fn known(time_ms: u64, state: EmergencyState) -> KnownEmergency {
        KnownEmergency { id: EmergencyId([0x0e; 16]), state, height: Height(9), time: TimeMs(time_ms) }
    }

    fn state() -> EmergencyState {
        EmergencyState {
            patient: vec![1; 16].into(),
            reader: "spiffe://a.example/clinician/c-1".into(),
            reason: pb::EmergencyReason::Danger.into(),
            from_ms: 1_000,
            to_ms: 2_000,
            review_due_ms: 5_000,
            ..EmergencyState::default()
        }
    }

    #[test]
    fn scripts_get_the_emergency_and_where_to_go_on() {
        let emergency = Some(EmergencyView::new(&known(1_000, state()), true).unwrap());
        let view = NoticeView { emergency, accesses: None, cursor: 9, keep: Some("0:e3b0".into()) };
        json::snapshot::check("notice", &view);
    }

    #[test]
    fn who_names_a_height_is_told_the_accesses_after_it() {
        let args = |after, since: Option<&str>| WatchArgs {
            patient: None,
            after,
            since: since.map(|kept| kept.parse().unwrap()),
            names: false,
        };
        let kept = format!("3:{}", "0a".repeat(32));
        assert_eq!(args(None, None).kept(), None, "those that come from now on");
        assert_eq!(args(Some(0), None).kept(), Some(KeptLog::nothing().into()));
        assert_eq!(args(Some(0), Some(&kept)).kept(), Some(kept.parse().unwrap()));
        let event = crate::access::tests::event(4, pb::AccessGround::Consent);
        assert_eq!(event.height, Height(3));
        assert!(args(Some(0), None).tells(&event) && args(Some(2), None).tells(&event));
        assert!(!args(Some(3), None).tells(&event), "it was before");
        assert!(args(Some(3), Some(&kept)).tells(&event) && args(None, None).tells(&event));
        let view = |accesses| NoticeView { emergency: None, accesses, cursor: 9, keep: None };
        assert!(view(Some(Vec::new())).is_empty());
        assert!(!view(Some(vec![EventView::new(&event, false)])).is_empty());
    }

    #[test]
    fn people_read_whether_it_is_reviewed_late_or_forgotten() {
        let text = |time, state| EmergencyView::new(&known(time, state), false).unwrap().text();
        let due = text(4_999, state());
        assert!(due.contains("a clinician of a.example for") && due.contains("; to be reviewed by"), "{due}");
        assert!(text(5_000, state()).contains("OVERDUE"));
        let reviewed = |verdict: pb::ReviewVerdict| EmergencyState {
            reviewer: "spiffe://a.example/auditor/x".into(),
            verdict: verdict.into(),
            reviewed_ms: 3_000,
            ..state()
        };
        assert!(text(9_000, reviewed(pb::ReviewVerdict::Justified)).contains("it was justified"));
        assert!(text(9_000, reviewed(pb::ReviewVerdict::NotJustified)).contains("was NOT justified"));
    }
}
