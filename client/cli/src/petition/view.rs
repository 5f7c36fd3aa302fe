//! Petitions as they are shown.

use consilium_client::pb;
use consilium_client::petitions::KnownPetition;
use consilium_proto::ids::TimeMs;
use consilium_proto::names::MemberId;
use serde::Serialize;

use crate::SubmittedView;
use crate::context::escaped;
use crate::text::{Zone, counted, quoted, time_ms};
use crate::words;

/// A petition that was opened.
#[derive(Serialize)]
pub(super) struct OpenedView {
    pub(super) petition: String,
    pub(super) transaction: SubmittedView,
}

impl OpenedView {
    pub(super) fn text(&self) -> String {
        format!("petition {}\n{}", self.petition, self.transaction.text())
    }
}

/// Petitions, each proven: the overdue ones first, then in the order in which they were opened.
#[derive(Serialize)]
pub(super) struct ListView {
    petitions: Vec<PetitionView>,
}

impl ListView {
    pub(super) fn new(known: &[KnownPetition], now: TimeMs) -> Self {
        let mut petitions: Vec<_> = known.iter().map(|petition| PetitionView::new(petition, now)).collect();
        petitions.sort_by_key(|petition| !petition.overdue);
        Self { petitions }
    }

    pub(super) fn text(&self) -> String {
        match self.petitions.is_empty() {
            true => "no petitions".to_owned(),
            false => self.petitions.iter().map(PetitionView::text).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// A petition.
#[derive(Serialize)]
pub(super) struct PetitionView {
    petition: String,
    patient: String,
    member: String,
    /// A PetitionKind of petition.proto.
    kind: &'static str,
    kind_words: &'static str,
    record: Option<String>,
    version: Option<u32>,
    /// The transaction of an entry of the access log.
    entry: Option<String>,
    author: String,
    on_paper: bool,
    opened: String,
    /// Null if no answer is due.
    due: Option<String>,
    overdue: bool,
    /// A PetitionVerdict of petition.proto; null if nobody has answered.
    verdict: Option<&'static str>,
    /// A PetitionRefusal of petition.proto.
    refusal: Option<&'static str>,
    amended_version: Option<u32>,
    answered_by: Option<String>,
    answered: Option<String>,
    answer_words: String,
    /// Only of `petition show`, for whom it is sealed.
    pub(super) text: Option<String>,
    pub(super) answer: Option<String>,
}

impl PetitionView {
    pub(super) fn new(known: &KnownPetition, now: TimeMs) -> Self {
        let state = &known.state;
        let answered = !state.answered_by.is_empty();
        let hex = |bytes: &[u8]| (!bytes.is_empty()).then(|| hex::encode(bytes));
        let refused = state.refusal() != pb::PetitionRefusal::Unspecified;
        Self {
            petition: known.id.to_string(),
            patient: hex::encode(&state.patient),
            member: state.member.clone(),
            kind: state.kind().as_str_name(),
            kind_words: words::petition(state.kind()),
            record: state.record.as_ref().and_then(|record| hex(&record.record_id)),
            version: state.record.as_ref().map(|record| record.version),
            entry: hex(&state.entry_id),
            author: state.author.clone(),
            on_paper: !state.document_sha256.is_empty(),
            opened: time_ms(state.opened_ms),
            due: (state.due_ms != 0).then(|| time_ms(state.due_ms)),
            overdue: known.is_overdue(now),
            verdict: answered.then(|| state.verdict().as_str_name()),
            refusal: refused.then(|| state.refusal().as_str_name()),
            amended_version: (state.amended_version != 0).then_some(state.amended_version),
            answered_by: answered.then(|| state.answered_by.clone()),
            answered: answered.then(|| time_ms(state.answered_ms)),
            answer_words: words::answered(state),
            text: None,
            answer: None,
        }
    }

    fn about(&self) -> String {
        match (&self.record, &self.entry) {
            (Some(record), _) => format!("record {record} version {}", self.version.unwrap_or_default()),
            (None, Some(entry)) => format!("entry of transaction {entry}"),
            (None, None) => "nothing".to_owned(),
        }
    }

    pub(super) fn text(&self) -> String {
        let about = self.about();
        let paper = if self.on_paper { ", on paper" } else { "" };
        let due = match (&self.due, self.overdue) {
            (Some(due), true) => format!(", OVERDUE since {due}"),
            (Some(due), false) if self.verdict.is_none() => format!(", due {due}"),
            (Some(_) | None, _) => String::new(),
        };
        let mut lines = vec![
            format!("petition {} of patient {} to {}: {}", self.petition, self.patient, self.member, self.kind_words),
            format!("  about {about}, {}{paper}, by {}", self.opened, self.author),
            format!("  {}{due}", self.answer_words),
        ];
        lines.iter_mut().for_each(|line| *line = escaped(line));
        lines.extend(self.text.iter().map(|text| quoted("  it says", text)));
        lines.extend(self.answer.iter().map(|answer| quoted("  the answer", answer)));
        lines.join("\n")
    }
}

/// Columns of a list of petitions.
pub(crate) fn head(zone: Zone) -> [String; 4] {
    [zone.head("ASKED"), "WHAT".to_owned(), "ABOUT".to_owned(), "ANSWER".to_owned()]
}

/// A line of it.
pub(crate) fn cells(known: &KnownPetition, now: TimeMs, zone: Zone) -> [String; 4] {
    let view = PetitionView::new(known, now);
    let due = match (view.overdue, view.due.is_some() && view.verdict.is_none()) {
        (true, _) => format!(", OVERDUE since {}", zone.time_ms(known.state.due_ms)),
        (false, true) => format!(", due {}", zone.time_ms(known.state.due_ms)),
        (false, false) => String::new(),
    };
    [
        zone.time_ms(known.state.opened_ms),
        format!("{}: {}", view.member, view.kind_words),
        view.about(),
        format!("{}{due}", view.answer_words),
    ]
}

/// What a member owes answers to, proven.
#[derive(Serialize)]
pub(super) struct DueView {
    member: String,
    petitions: Vec<DuePetitionView>,
    /// How many more are not listed: they are overdue.
    dropped: u64,
}

#[derive(Serialize)]
struct DuePetitionView {
    petition: String,
    due: String,
    /// By the time of the newest certified block.
    overdue: bool,
}

impl DueView {
    pub(super) fn new(member: &MemberId, due: &pb::PetitionsDueState, now: TimeMs) -> Self {
        let one = |due: &pb::PetitionDue| DuePetitionView {
            petition: hex::encode(&due.petition_id),
            due: time_ms(due.due_ms),
            overdue: due.due_ms <= now.0,
        };
        Self { member: member.to_string(), petitions: due.petitions.iter().map(one).collect(), dropped: due.dropped }
    }

    pub(super) fn text(&self) -> String {
        let answers = counted(self.petitions.len() as u64 + self.dropped, "answer", "answers");
        let mut lines = vec![format!("{} owes {answers}", self.member)];
        lines.extend(self.petitions.iter().map(|due| match due.overdue {
            true => format!("petition {}: OVERDUE since {}", due.petition, due.due),
            false => format!("petition {}: due {}", due.petition, due.due),
        }));
        if self.dropped > 0 {
            lines.push(format!("{} older ones, which are overdue, are not listed", self.dropped));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use consilium_proto::ids::PetitionId;

    use super::*;
    use crate::json;

    fn state() -> pb::PetitionState {
        pb::PetitionState {
            patient: vec![1; 16].into(),
            member: "a.example".into(),
            kind: pb::PetitionKind::Correction.into(),
            record: Some(pb::VersionRef { record_id: vec![2; 16].into(), version: 1 }),
            author: format!("spiffe://a.example/patient/{}", "0a".repeat(16)),
            opened_ms: 1_000,
            due_ms: 86_400_000,
            ..Default::default()
        }
    }

    fn known(state: pb::PetitionState) -> KnownPetition {
        KnownPetition { id: PetitionId([9; 16]), state, texts: pb::PetitionTexts::default() }
    }

    fn view(state: pb::PetitionState, now: u64) -> PetitionView {
        PetitionView::new(&known(state), TimeMs(now))
    }

    #[test]
    fn what_is_overdue_comes_first() {
        let later = pb::PetitionState { due_ms: 9_000, ..state() };
        let soon = pb::PetitionState { due_ms: 4_000, ..state() };
        let list = ListView::new(&[known(later), known(soon)], TimeMs(5_000));
        let due: Vec<_> = list.petitions.iter().map(|petition| (petition.due.as_deref(), petition.overdue)).collect();
        assert_eq!(due, [(Some("1970-01-01T00:00:04Z"), true), (Some("1970-01-01T00:00:09Z"), false)]);
    }

    #[test]
    fn scripts_get_petitions_and_what_is_due() {
        let refused = pb::PetitionState {
            verdict: pb::PetitionVerdict::Refused.into(),
            refusal: pb::PetitionRefusal::Accurate.into(),
            answered_by: "spiffe://a.example/auditor/privacy".into(),
            answered_ms: 5_000,
            ..state()
        };
        json::snapshot::check("petitions", &ListView::new(&[known(state()), known(refused)], TimeMs(5_000)));
        let opened = OpenedView { petition: "0e".repeat(16), transaction: crate::tests::submitted() };
        json::snapshot::check("petition-opened", &opened);
        let due = |id, due_ms| {
            let (petition_id, patient, registered_by) = (vec![id; 16].into(), vec![1; 16].into(), String::new());
            pb::PetitionDue { petition_id, patient, due_ms, registered_by }
        };
        let due = pb::PetitionsDueState { petitions: vec![due(3, 86_400_000), due(4, 86_401_000)], dropped: 1 };
        let Ok(member) = "a.example".parse() else { unreachable!("a member's id") };
        let view = DueView::new(&member, &due, TimeMs(86_400_000));
        json::snapshot::check("petitions-due", &view);
        let lines = [
            "a.example owes 3 answers".to_owned(),
            format!("petition {}: OVERDUE since 1970-01-02T00:00:00Z", "03".repeat(16)),
            format!("petition {}: due 1970-01-02T00:00:01Z", "04".repeat(16)),
            "1 older ones, which are overdue, are not listed".to_owned(),
        ];
        assert_eq!(view.text(), lines.join("\n"));
    }

    #[test]
    fn people_read_what_is_due_and_what_is_late() {
        let text = view(state(), 5_000).text();
        assert!(text.contains("nobody has answered, due 1970-01-02T00:00:00Z"), "{text}");
        let late = view(state(), 86_400_000).text();
        assert!(late.contains("nobody has answered, OVERDUE since 1970-01-02T00:00:00Z"), "{late}");
        let mut opened = view(state(), 5_000);
        opened.text = Some("it was\u{1b}[2J\r\nthe left arm\n\nAnna".into());
        opened.answer = Some("no".into());
        let text = opened.text();
        assert!(
            text.ends_with(
                "\n  it says:\n    it was\\u{1b}[2J\n    the left arm\n    \n    Anna\n  the answer:\n    no"
            ),
            "{text}"
        );
    }
}
