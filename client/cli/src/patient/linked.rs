//! `consilium patient linked`: what happened while two pseudonyms were taken for one person's.

use consilium_client::access_log::AccessEvent;
use consilium_client::links::WhileLinked;
use consilium_client::pb;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::purpose;
use serde::Serialize;

use crate::context::escaped;
use crate::text::time_ms;
use crate::words;
use crate::{CliError, Context};

#[derive(Serialize)]
struct LinkedView {
    pseudonym: String,
    links: Vec<LinkView>,
}

#[derive(Serialize)]
struct LinkView {
    other: String,
    /// Who said that they are one person's.
    member: String,
    from_height: u64,
    /// Null: it still holds.
    to_height: Option<u64>,
    reads: Vec<ReadView>,
    writes: Vec<WriteView>,
}

/// A request to read records of either.
#[derive(Serialize)]
struct ReadView {
    patient: String,
    /// Its place in that patient's log, from 0.
    number: u64,
    height: u64,
    time: String,
    member: String,
    role: &'static str,
    /// Of which unit of the member that one was then; null: its administrator has named none.
    unit: Option<String>,
    /// Null unless names were asked for.
    name: Option<String>,
    /// HL7's code.
    purpose: &'static str,
    permitted: bool,
    transaction: String,
}

/// A version of a record of either.
#[derive(Serialize)]
struct WriteView {
    patient: String,
    record: String,
    version: u32,
    kind: String,
    author: String,
    retraction: bool,
    height: u64,
    time: String,
}

pub(super) async fn run(patient: PatientPseudonym, names: bool, ctx: &Context) -> Result<(), CliError> {
    let links = ctx.client().await?.while_linked(patient).await?;
    ctx.claims("completeness", "what was read is proven to be all; that nothing else was written is the node's word");
    ctx.print(&LinkedView::new(patient, &links, names), LinkedView::text)
}

impl LinkedView {
    fn new(patient: PatientPseudonym, links: &[WhileLinked], names: bool) -> Self {
        let links = links.iter().map(|link| LinkView::new(link, names)).collect();
        Self { pseudonym: patient.to_string(), links }
    }

    fn text(&self) -> String {
        if self.links.is_empty() {
            return format!("{} was never linked with another pseudonym", self.pseudonym);
        }
        let lines = self.links.iter().flat_map(LinkView::lines);
        lines.map(|line| escaped(&line)).collect::<Vec<_>>().join("\n")
    }
}

impl LinkView {
    fn new(link: &WhileLinked, names: bool) -> Self {
        Self {
            other: link.other.to_string(),
            member: link.member.clone(),
            from_height: link.from.0,
            to_height: link.to.map(|to| to.0),
            reads: link.events.iter().map(|event| ReadView::new(event, names)).collect(),
            writes: link.versions.iter().map(WriteView::new).collect(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let until = self.to_height.map_or("and still".into(), |to| format!("to {to}"));
        let mut lines = vec![format!(
            "one person with {}, says {}: from height {} {until}",
            self.other, self.member, self.from_height
        )];
        lines.extend(self.reads.iter().map(|read| {
            let permitted = if read.permitted { "read" } else { "was denied" };
            let who = read.name.as_deref().unwrap_or(read.role);
            let place = words::place(&read.member, read.unit.as_deref());
            format!("  {} {who} of {place} {permitted} for {}, of {}", read.time, read.purpose, read.patient)
        }));
        lines.extend(self.writes.iter().map(|written| {
            let what = if written.retraction { "retracted" } else { "wrote" };
            let WriteView { time, author, kind, record, version, patient, .. } = written;
            format!("  {time} {author} {what} {kind} {record} version {version}, of {patient}")
        }));
        lines
    }
}

impl ReadView {
    fn new(event: &AccessEvent, names: bool) -> Self {
        Self {
            patient: event.patient.to_string(),
            number: event.sequence,
            height: event.height.0,
            time: time_ms(event.time.0),
            member: event.reader.member().to_string(),
            role: words::role(event.reader.role()),
            unit: event.unit.as_ref().map(ToString::to_string),
            name: names.then(|| event.reader.name().to_owned()),
            purpose: purpose::code(event.purpose),
            permitted: event.permits(),
            transaction: event.transaction_id.to_string(),
        }
    }
}

impl WriteView {
    fn new(version: &pb::RecordVersion) -> Self {
        Self {
            patient: hex::encode(&version.patient),
            record: hex::encode(&version.record_id),
            version: version.version,
            kind: version.kind.clone(),
            author: version.author.clone(),
            retraction: version.retraction,
            height: version.height,
            time: time_ms(version.time_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::ids::Height;

    use super::*;
    use crate::json;

    fn view(names: bool) -> LinkedView {
        let event = pb::AccessEvent {
            sequence: 3,
            transaction_id: vec![3; 32].into(),
            reader: "spiffe://b.example/clinician/c-4711".into(),
            patient: vec![1; 16].into(),
            purpose: pb::PurposeOfUse::Treat.into(),
            kind: pb::AccessKind::Read.into(),
            height: 5,
            unit: "W-07".into(),
            time_ms: 1_000,
            ..Default::default()
        };
        let version = pb::RecordVersion {
            patient: vec![2; 16].into(),
            record_id: vec![4; 16].into(),
            version: 1,
            kind: "Observation".into(),
            author: "spiffe://a.example/service/ehr".into(),
            height: 6,
            time_ms: 2_000,
            ..Default::default()
        };
        let link = WhileLinked {
            other: PatientPseudonym([2; 16]),
            member: "a.example".into(),
            from: Height(4),
            to: Some(Height(9)),
            events: vec![AccessEvent::try_from(&event).unwrap()],
            versions: vec![version],
        };
        LinkedView::new(PatientPseudonym([1; 16]), &[link], names)
    }

    #[test]
    fn scripts_get_what_happened_while_pseudonyms_were_linked() {
        json::snapshot::check("patient-linked", &view(true));
    }

    #[test]
    fn people_read_who_and_when_and_names_only_if_they_ask() {
        let text = view(false).text();
        assert!(text.contains("says a.example: from height 4 to 9") && !text.contains("c-4711"), "{text}");
        assert!(text.contains("of b.example (unit W-07) was denied for TREAT, of 01010101"), "{text}");
        assert!(text.contains("wrote Observation 04040404"), "{text}");
        assert!(view(true).text().contains("c-4711"));
        let none = LinkedView { pseudonym: "01".into(), links: vec![] };
        assert_eq!(none.text(), "01 was never linked with another pseudonym");
    }
}
