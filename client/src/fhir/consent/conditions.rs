//! The conditions of one provision, read for what a grant can hold.
//!
//! Every reader here says of its element: absent, held, or a gap. What becomes of a gap is
//! decided in one place, [`Conditions::read`]: a permit is refused, a denial goes without.

use std::collections::BTreeSet;

use consilium_proto::consent::{Grantee, Period};
use consilium_proto::hash::sha256;
use consilium_proto::ids::{PolicyTag, ProjectTag, RecordId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{Confidentiality, ConsentEffect, PurposeOfUse};
use consilium_proto::purpose;

use super::node::Node;
use super::systems::{
    ACCESS, ACT_CODE, ACT_REASON, ACTION, ANY_TAG, CONFIDENTIALITY, OWN_PROJECT, OWN_RECORD, OWN_ROLE, OWN_TAG,
    PARTICIPATION, RECIPIENTS, RESOURCE_TYPES, URI, below, confidentiality, sensitivity,
};
use super::{ConsentProblem, Gap, Mapping, Problem, Widening, mapping, period};
use crate::fhir::is_resource_type;

/// Elements of a provision; an extension is none of them.
pub(super) const ELEMENTS: [&str; 12] = [
    "id",
    "type",
    "period",
    "actor",
    "action",
    "securityLabel",
    "purpose",
    "class",
    "code",
    "dataPeriod",
    "data",
    "provision",
];
/// Those that restrict it, but for its period.
pub(super) const RESTRICTING: [&str; 8] =
    ["actor", "action", "securityLabel", "purpose", "class", "code", "dataPeriod", "data"];

type Read<T> = Result<Option<T>, ConsentProblem>;

/// What a provision asks for. What is absent fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) grantees: Option<Vec<Grantee>>,
    pub(super) purposes: Option<Purposes>,
    pub(super) kinds: Option<Vec<String>>,
    pub(super) labels: Option<Labels>,
    pub(super) data: Option<Data>,
    pub(super) period: Option<Period>,
}

/// Any of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Purposes {
    pub(super) known: Vec<PurposeOfUse>,
    pub(super) projects: Vec<ProjectTag>,
}

/// At most this level, and one of these tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) ceiling: Option<Confidentiality>,
    pub(super) tags: Vec<PolicyTag>,
    /// A denial of every record that is labelled.
    pub(super) any: bool,
    /// It is one because no salt of a label is known.
    unknown: bool,
}

/// Any of these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) records: Vec<RecordId>,
    pub(super) authors: Vec<SpiffeId>,
    pub(super) members: Vec<String>,
    pub(super) encounters: Vec<PolicyTag>,
}

impl Conditions {
    /// Reads those of a provision, but for its period if that is of the whole consent.
    pub(super) fn read(
        provision: &Node<'_>,
        effect: ConsentEffect,
        mapping: &Mapping<'_>,
        widened: &mut Vec<Widening>,
    ) -> Result<Self, ConsentProblem> {
        let mut gaps = Gaps { effect, widened };
        let labels = gaps.held(labels(provision, effect, mapping))?;
        let labels = gaps.of_known_salts(provision, labels)?;
        gaps.held(action(provision))?;
        gaps.held(no_place(provision, "code"))?;
        gaps.held(no_place(provision, "dataPeriod"))?;
        let mut out = Self {
            grantees: gaps.held(actors(provision, mapping))?,
            purposes: gaps.held(purposes(provision))?,
            kinds: gaps.held(kinds(provision))?,
            labels,
            data: gaps.held(data(provision, mapping))?,
            period: None,
        };
        if out.two_kinds_of_tags() {
            let gap = provision.need("data")?.gap(Gap::LabelsAndEncounter);
            out.data = gaps.held(Err(gap))?;
        }
        Ok(out)
    }

    /// Reads the period of a nested provision.
    pub(super) fn read_period(&mut self, provision: &Node<'_>, effect: ConsentEffect) -> Result<(), ConsentProblem> {
        let Some(node) = provision.get("period")? else { return Ok(()) };
        self.period = Some(match effect {
            ConsentEffect::Permit => period::of_permit(&node)?,
            ConsentEffect::Deny | ConsentEffect::Unspecified => period::periods(&node)?.wide,
        });
        Ok(())
    }

    /// A rule has one list of tags, of which a record carries one.
    pub(super) fn two_kinds_of_tags(&self) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.any || !labels.tags.is_empty())
            && self.data.as_ref().is_some_and(|data| !data.encounters.is_empty())
    }

    /// Whether it restricts nothing, but for its period.
    pub(super) fn none(&self) -> bool {
        Self { period: None, ..self.clone() } == Self::default()
    }

    /// These, and of another provision around it what this one does not speak of.
    pub(super) fn within(self, outer: &Self) -> Self {
        Self {
            grantees: self.grantees.or_else(|| outer.grantees.clone()),
            purposes: self.purposes.or_else(|| outer.purposes.clone()),
            kinds: self.kinds.or_else(|| outer.kinds.clone()),
            labels: self.labels.or_else(|| outer.labels.clone()),
            data: self.data.or_else(|| outer.data.clone()),
            period: self.period,
        }
    }
}

struct Gaps<'a> {
    effect: ConsentEffect,
    widened: &'a mut Vec<Widening>,
}

impl Gaps<'_> {
    /// The one place where a gap is met.
    fn held<T>(&mut self, read: Read<T>) -> Read<T> {
        match (self.effect, read) {
            (ConsentEffect::Deny, Err(ConsentProblem { path, problem: Problem::Unrepresentable(why) })) => {
                self.widened.push(Widening { path, why });
                Ok(None)
            }
            (_, read) => read,
        }
    }
}

impl Gaps<'_> {
    /// Labels of which no salt is known: a denial of every record that is labelled, for a person to
    /// confirm.
    fn of_known_salts(&mut self, provision: &Node<'_>, labels: Option<Labels>) -> Read<Labels> {
        match labels {
            Some(labels) if labels.unknown => {
                let gap = provision.need("securityLabel")?.gap(Gap::UnknownSalt);
                self.held::<Labels>(Err(gap))?;
                Ok(Some(Labels { unknown: false, ..labels }))
            }
            known => Ok(known),
        }
    }
}

/// An element of which a grant knows nothing.
fn no_place(provision: &Node<'_>, element: &str) -> Read<()> {
    provision.get(element)?.map(|node| Err(node.gap(Gap::NoPlace))).transpose()
}

/// A grant is about reading, `access`. That a permit permits more, and a denial denies more, is
/// nothing to the ledger: a consent opens nothing but reading.
fn action(provision: &Node<'_>) -> Read<()> {
    let mut reads = false;
    let actions = provision.list("action")?;
    for action in &actions {
        for coding in action.codings()? {
            let (system, code) = coding.coding()?;
            reads |= (system, code) == (ACTION, ACCESS);
        }
    }
    match provision.get("action")? {
        Some(node) if !reads => Err(node.gap(Gap::Action)),
        Some(_) | None => Ok(None),
    }
}

fn actors(provision: &Node<'_>, mapping: &Mapping<'_>) -> Read<Vec<Grantee>> {
    let mut out = Vec::new();
    for actor in provision.list("actor")? {
        actor.only(&["id", "role", "reference"])?;
        let role = actor.need("role")?;
        let codings = role.codings()?.iter().map(Node::coding).collect::<Result<Vec<_>, _>>()?;
        let receives = |(system, code): &(&str, &str)| *system == PARTICIPATION && RECIPIENTS.contains(code);
        if codings.is_empty() || !codings.iter().all(receives) {
            return Err(role.gap(Gap::Role));
        }
        out.extend(who(&actor.need("reference")?, mapping)?);
    }
    Ok(distinct(out))
}

/// Whom a reference means: by its identifier or its text, and by both the same.
fn who(reference: &Node<'_>, mapping: &Mapping<'_>) -> Result<Vec<Grantee>, ConsentProblem> {
    let (text, identifier) = names(reference)?;
    let known = |name: String| mapping.grantees(&mapping.canonical(&name)).map(<[_]>::to_vec);
    let by_text = text.and_then(|text| known(text.to_owned()));
    let by_identifier = identifier.and_then(|(system, value)| match system {
        URI => mapping::grantee(value).filter(|_| value.starts_with("spiffe://")).map(|one| vec![one]),
        OWN_ROLE => mapping::grantee(value).filter(|one| matches!(one, Grantee::Role(..))).map(|one| vec![one]),
        _ => known(format!("{system}|{value}")),
    });
    match (by_text, by_identifier) {
        (Some(a), Some(b)) if a != b => Err(reference.gap(Gap::TwoNames)),
        (Some(found), _) | (None, Some(found)) => Ok(found),
        (None, None) => Err(reference.gap(Gap::Unmapped)),
    }
}

/// The text of a Reference, and system and value of its identifier.
#[expect(clippy::type_complexity, reason = "two options of borrowed names, used by two callers")]
fn names<'a>(reference: &Node<'a>) -> Result<(Option<&'a str>, Option<(&'a str, &'a str)>), ConsentProblem> {
    reference.only(&["id", "reference", "type", "identifier", "display"])?;
    let identifier = match reference.get("identifier")? {
        Some(node) => {
            node.only(&["id", "use", "type", "system", "value", "period", "assigner"])?;
            let system = node.get_text("system")?.unwrap_or("");
            node.get_text("value")?.map(|value| (system, value))
        }
        None => None,
    };
    Ok((reference.get_text("reference")?, identifier))
}

/// Purposes of HL7's value set, and projects: a code of another system, as the first 16 bytes
/// of the SHA-256 of `system|code`.
fn purposes(provision: &Node<'_>) -> Read<Purposes> {
    let mut out = Purposes::default();
    let list = provision.list("purpose")?;
    for node in &list {
        match node.coding()? {
            (ACT_REASON, code) => {
                out.known.push(purpose::of_code(code).ok_or_else(|| node.gap(Gap::UnknownCode))?);
            }
            ("", _) => return Err(node.gap(Gap::UnknownCode)),
            (OWN_PROJECT, code) => out.projects.push(code.parse().map_err(|_| node.gap(Gap::UnknownCode))?),
            (system, code) => out.projects.push(project(system, code)),
        }
    }
    let out = Purposes { known: out.known, projects: distinct(out.projects).unwrap_or_default() };
    Ok((!list.is_empty()).then(|| Purposes { known: dedup(out.known), ..out }))
}

/// The tag of a project that documents name by a code.
pub(super) fn project(system: &str, code: &str) -> ProjectTag {
    let hash = sha256(&[system.as_bytes(), b"|", code.as_bytes()]);
    let mut tag = [0; 16];
    tag.copy_from_slice(&hash[..16]);
    ProjectTag(tag)
}

fn kinds(provision: &Node<'_>) -> Read<Vec<String>> {
    let mut out = Vec::new();
    for node in provision.list("class")? {
        match node.coding()? {
            (RESOURCE_TYPES, code) if is_resource_type(code) => out.push(code.to_owned()),
            (_, _) => return Err(node.gap(Gap::UnknownCode)),
        }
    }
    Ok(distinct(out))
}

/// Levels are high-water marks: a permit of `R` is one of `R` and below, of several the highest
/// counts (R4, `Consent.provision.securityLabel`). Of labels a record carries one. Levels and
/// labels together: both, for a permit. A denial by a level is a gap ([`Gap::DeniedLevel`]).
fn labels(provision: &Node<'_>, effect: ConsentEffect, mapping: &Mapping<'_>) -> Read<Labels> {
    let mut out = Labels::default();
    for node in provision.list("securityLabel")? {
        let unknown = || node.gap(Gap::UnknownCode);
        match node.coding()? {
            (CONFIDENTIALITY, code) => {
                let level = confidentiality(code).ok_or_else(unknown)?;
                if effect == ConsentEffect::Deny {
                    return Err(node.gap(Gap::DeniedLevel));
                }
                out.ceiling = Some(out.ceiling.map_or(level, |highest: Confidentiality| highest.max(level)));
            }
            (ACT_CODE, code) => {
                let code = sensitivity(code).ok_or_else(unknown)?;
                let denied = effect == ConsentEffect::Deny;
                let more = if denied { below(code) } else { &[] };
                let tags: Vec<_> = std::iter::once(&code).chain(more).flat_map(|code| mapping.label(code)).collect();
                if tags.is_empty() && !denied {
                    return Err(node.gap(Gap::UnknownSalt));
                }
                out.unknown |= tags.is_empty();
                out.tags.extend(tags);
            }
            (OWN_TAG, ANY_TAG) if effect == ConsentEffect::Deny => out.any = true,
            (OWN_TAG, code) => out.tags.push(code.parse().map_err(|_| unknown())?),
            (_, _) => return Err(unknown()),
        }
    }
    out.tags.sort_unstable();
    out.tags.dedup();
    out.any |= out.unknown;
    if out.any {
        out.tags.clear();
    }
    Ok((out != Labels::default()).then_some(out))
}

fn data(provision: &Node<'_>, mapping: &Mapping<'_>) -> Read<Data> {
    let mut out = Data::default();
    for item in provision.list("data")? {
        item.only(&["id", "meaning", "reference"])?;
        let (meaning, reference) = (item.need("meaning")?, item.need("reference")?);
        match meaning.text()? {
            "instance" => out.records.push(record(&reference, mapping)?),
            "authoredby" => {
                for author in who(&reference, mapping)? {
                    match author {
                        Grantee::Identity(id) => out.authors.push(id),
                        Grantee::Member(member) => out.members.push(member.to_string()),
                        // A record names its author, not the author's role.
                        Grantee::Role(..) => return Err(reference.gap(Gap::NoPlace)),
                    }
                }
            }
            "related" => {
                let (text, _) = names(&reference)?;
                let tag = text.and_then(|text| mapping.encounter(&mapping.canonical(text)));
                out.encounters.push(tag.ok_or_else(|| reference.gap(Gap::Unmapped))?);
            }
            "dependents" => return Err(meaning.gap(Gap::NoPlace)),
            _ => return Err(meaning.gap(Gap::UnknownCode)),
        }
    }
    let Data { records, authors, members, encounters } = out;
    let out = Data {
        records: dedup(records),
        authors: dedup(authors),
        members: dedup(members),
        encounters: BTreeSet::from_iter(encounters).into_iter().collect(),
    };
    Ok((out != Data::default()).then_some(out))
}

fn record(reference: &Node<'_>, mapping: &Mapping<'_>) -> Result<RecordId, ConsentProblem> {
    let (text, identifier) = names(reference)?;
    let by_text = text.and_then(|text| mapping.record(&mapping.canonical(text)));
    let by_identifier = identifier.and_then(|(system, value)| match system {
        OWN_RECORD => value.parse().ok(),
        _ => mapping.record(&mapping.canonical(&format!("{system}|{value}"))),
    });
    match (by_text, by_identifier) {
        (Some(a), Some(b)) if a != b => Err(reference.gap(Gap::TwoNames)),
        (Some(found), _) | (None, Some(found)) => Ok(found),
        (None, None) => Err(reference.gap(Gap::Unmapped)),
    }
}

/// Each once, in the order in which they stand; nothing for none.
fn distinct<T: PartialEq>(list: Vec<T>) -> Option<Vec<T>> {
    Some(dedup(list)).filter(|list| !list.is_empty())
}

fn dedup<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut out: Vec<T> = Vec::new();
    for item in list {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}
