//! `consilium patient show`: what the ledger says of a patient, proven, for people and for scripts.

use consilium_client::access_log::{MemberCare, PatientRows};
use consilium_client::pb;
use consilium_proto::ids::{PatientPseudonym, TimeMs};
use consilium_proto::purpose;
use serde::Serialize;

use crate::context::escaped;
use crate::text::{counted, time_ms};
use crate::words;
use crate::{CliError, Context};

/// What the ledger says of a patient, proven.
#[derive(Serialize)]
struct PatientView {
    pseudonym: String,
    /// Null if nobody has registered it.
    registered_by: Option<String>,
    acceptances: Vec<AcceptanceView>,
    links: Vec<LinkView>,
    /// Members that say that it has died.
    died_says: Vec<String>,
    /// Null: as for `records`.
    care: Option<Vec<CareView>>,
    /// Null: the node does not show it to this identity.
    records: Option<Vec<RecordListView>>,
    consents: usize,
    at_height: u64,
    at: String,
}

#[derive(Serialize)]
struct AcceptanceView {
    member: String,
    identity: String,
    relation: &'static str,
    may_read: bool,
    may_consent: bool,
    /// Null: never.
    until: Option<String>,
    withdrawn: bool,
    /// What it speaks for; null: everything.
    scope: Option<ScopeView>,
}

/// Empty lists and null limit nothing.
#[derive(Serialize)]
struct ScopeView {
    kinds: Vec<String>,
    /// HL7's letter.
    up_to: Option<&'static str>,
    /// Of its consents.
    purposes: Vec<String>,
}

#[derive(Serialize)]
struct LinkView {
    pseudonym: String,
    member: String,
    from_height: u64,
    /// Null: it still holds.
    to_height: Option<u64>,
}

/// That a member says that the patient is, or was, under its care.
#[derive(Serialize)]
struct CareView {
    member: String,
    /// Null: it has ended it at `said_at_height`.
    until: Option<String>,
    /// It counts at the time of the newest block.
    lasts: bool,
    said_at_height: u64,
}

#[derive(Serialize)]
struct RecordListView {
    kind: String,
    /// HL7's letter.
    confidentiality: &'static str,
}

/// `patient show`.
pub(super) async fn run(patient: PatientPseudonym, ctx: &Context) -> Result<(), CliError> {
    let rows = ctx.client().await?.patient_rows(patient).await?;
    ctx.print(&PatientView::new(&rows), PatientView::text)
}

impl PatientView {
    fn new(rows: &PatientRows) -> Self {
        let state = rows.state.clone().unwrap_or_default();
        let level = |code: u32| i32::try_from(code).ok().and_then(|code| pb::Confidentiality::try_from(code).ok());
        let list = |list: &pb::RecordListName| RecordListView {
            kind: list.kind.clone(),
            confidentiality: words::level(level(list.confidentiality).unwrap_or_default()),
        };
        Self {
            pseudonym: rows.patient.to_string(),
            registered_by: rows.state.as_ref().map(|state| state.member.clone()),
            acceptances: state.acceptances.iter().map(AcceptanceView::new).collect(),
            links: state.links.iter().map(LinkView::new).collect(),
            died_says: state.deaths.iter().map(|death| death.member.clone()).collect(),
            care: rows
                .care
                .as_ref()
                .map(|care| care.iter().map(|care| CareView::new(care, rows.header.time)).collect()),
            records: rows.lists.as_ref().map(|lists| lists.iter().map(list).collect()),
            consents: rows.consents.len(),
            at_height: rows.header.height.0,
            at: time_ms(rows.header.time.0),
        }
    }

    fn text(&self) -> String {
        let by = self.registered_by.as_deref().map_or("not registered".into(), |by| format!("registered by {by}"));
        let mut lines = vec![format!("patient {}, {by}", self.pseudonym)];
        lines.extend(self.acceptances.iter().map(AcceptanceView::text));
        lines.extend(self.links.iter().map(LinkView::text));
        lines.extend(self.died_says.iter().map(|member| format!("has died, says {member}")));
        match &self.care {
            Some(care) => lines.extend(care.iter().map(CareView::text)),
            None => lines.push("under whose care it is, is not shown".to_owned()),
        }
        match &self.records {
            Some(lists) => {
                lines.extend(lists.iter().map(|list| format!("has records: {} ({})", list.kind, list.confidentiality)));
            }
            None => lines.push("which kinds of records it has, is not shown".to_owned()),
        }
        let consents = counted(self.consents as u64, "consent", "consents");
        lines.push(format!("{consents}, see `consilium consent list`"));
        lines.push(format!("proven at height {}, {}", self.at_height, self.at));
        lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
    }
}

impl AcceptanceView {
    fn new(a: &pb::PatientAcceptance) -> Self {
        Self {
            member: a.member.clone(),
            identity: a.identity.clone(),
            relation: words::relation(a.relation()),
            may_read: a.may_read,
            may_consent: a.may_consent,
            until: (a.to_ms != 0).then(|| time_ms(a.to_ms)),
            withdrawn: a.withdrawn,
            scope: a.scope.as_ref().map(ScopeView::new),
        }
    }

    fn text(&self) -> String {
        let may = match (self.may_read, self.may_consent) {
            (true, true) => "may read and sign consents",
            (true, false) => "may read",
            (false, true) => "may sign consents",
            (false, false) => "may do nothing",
        };
        let until = self.until.as_deref().map_or(String::new(), |until| format!(", until {until}"));
        let scope = self.scope.as_ref().map_or(String::new(), ScopeView::text);
        let may = if self.withdrawn { "withdrawn".to_owned() } else { format!("{may}{until}{scope}") };
        format!("{} has accepted {} ({}): {may}", self.member, self.identity, self.relation)
    }
}

impl ScopeView {
    fn new(scope: &pb::RepresentativeScope) -> Self {
        let ceiling = scope.ceiling();
        Self {
            kinds: scope.kinds.clone(),
            up_to: (ceiling != pb::Confidentiality::Unspecified).then(|| words::level(ceiling)),
            purposes: scope.purposes().map(|purpose| purpose::code(purpose).to_owned()).collect(),
        }
    }

    fn text(&self) -> String {
        let list = |what: &str, items: &[String]| (!items.is_empty()).then(|| format!("{what} {}", items.join(", ")));
        let parts = [
            list("of kinds", &self.kinds),
            self.up_to.map(|level| format!("up to level {level}")),
            list("consents for", &self.purposes),
        ];
        format!("; only {}", parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}

impl CareView {
    fn new(care: &MemberCare, now: TimeMs) -> Self {
        let pb::CareState { to_ms, height, .. } = care.state;
        let until = (to_ms != 0).then(|| time_ms(to_ms));
        Self { member: care.member.clone(), until, lasts: now.0 < to_ms, said_at_height: height }
    }

    fn text(&self) -> String {
        let Self { member, until, said_at_height: said, .. } = self;
        match until {
            Some(until) if self.lasts => format!("under the care of {member} until {until}, it says (height {said})"),
            Some(until) => format!("was under the care of {member} until {until}, it says (height {said})"),
            None => format!("not under the care of {member}, it says (height {said})"),
        }
    }
}

impl LinkView {
    fn new(link: &pb::PatientLink) -> Self {
        Self {
            pseudonym: hex::encode(&link.other),
            member: link.member.clone(),
            from_height: link.from_height,
            to_height: (link.to_height != 0).then_some(link.to_height),
        }
    }

    fn text(&self) -> String {
        let till = self.to_height.map_or(String::new(), |height| format!(" to {height}"));
        format!("same person as {}, says {} (height {}{till})", self.pseudonym, self.member, self.from_height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn view() -> PatientView {
        let acceptance = pb::PatientAcceptance {
            member: "a.example".into(),
            identity: format!("spiffe://a.example/patient/{}", "0b".repeat(16)),
            relation: pb::PatientRelation::Guardian.into(),
            may_read: true,
            to_ms: 86_400_000,
            scope: Some(pb::RepresentativeScope {
                kinds: vec!["Immunization".into()],
                ceiling: pb::Confidentiality::Normal.into(),
                purposes: vec![pb::PurposeOfUse::Treat.into()],
            }),
            ..Default::default()
        };
        let link = pb::PatientLink {
            other: vec![2; 16].into(),
            member: "a.example".into(),
            from_height: 4,
            ..Default::default()
        };
        let care = |member: &str, to_ms| {
            let state = pb::CareState { to_ms, height: 5, ..Default::default() };
            CareView::new(&MemberCare { member: member.into(), state }, TimeMs(1_000))
        };
        PatientView {
            pseudonym: "0a".repeat(16),
            registered_by: Some("a.example".into()),
            acceptances: vec![AcceptanceView::new(&acceptance)],
            links: vec![LinkView::new(&link)],
            died_says: vec!["b.example".into()],
            care: Some(vec![care("a.example", 2_000), care("b.example", 1_000), care("c.example", 0)]),
            records: Some(vec![RecordListView { kind: "Observation".into(), confidentiality: "N" }]),
            consents: 1,
            at_height: 9,
            at: time_ms(1_000),
        }
    }

    #[test]
    fn scripts_get_who_speaks_for_a_patient() {
        json::snapshot::check("patient", &view());
    }

    #[test]
    fn people_read_what_may_be_done_until_when() {
        let text = view().text();
        assert!(text.contains("(guardian): may read, until 1970-01-02T00:00:00Z"), "{text}");
        let scope = "; only of kinds Immunization; up to level N; consents for TREAT";
        assert!(text.contains(scope), "{text}");
        assert!(text.contains("same person as 02020202"), "{text}");
        for care in [
            "\nunder the care of a.example until 1970-01-01T00:00:02Z, it says (height 5)\n",
            "\nwas under the care of b.example until 1970-01-01T00:00:01Z, it says (height 5)\n",
            "\nnot under the care of c.example, it says (height 5)\n",
        ] {
            assert!(text.contains(care), "{text}");
        }
        assert!(text.contains("\n1 consent, see"), "{text}");
    }
}
