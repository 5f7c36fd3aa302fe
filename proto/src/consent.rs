//! Consents: what a grant says of a request to read. The rules of the ledger, the SDK that
//! explains a decision, and the translation from and to FHIR all ask here.
//!
//! Fail closed: of the rules that match, denials win; where none matches, the base decides;
//! what nothing speaks of is not permitted. Of several consents the strongest word counts
//! ([`Said`]). Time is the block's time.

mod custodians;
mod scope;

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use crate::access::RecordFacts;
use crate::error::{FieldError, length_in};
use crate::ids::{PolicyTag, ProjectTag, RecordId, TimeMs};
use crate::limits::{
    GRANT_BYTES_MAX, GRANT_KINDS_MAX, GRANT_NAMES_MAX, GRANT_PROJECTS_MAX, GRANT_RECORDS_MAX, GRANT_RULES_MAX,
    GRANT_TAGS_MAX,
};
use crate::names::{MemberId, Role, SpiffeId};
use crate::pb::{self, Confidentiality, ConsentBase, ConsentEffect, PurposeOfUse};
use crate::purpose;
use crate::transaction::check_kind;

pub use custodians::Custodians;
pub use scope::Reach;

/// What a consent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What holds where no rule matches.
    pub base: ConsentBase,
    /// When it is in force.
    pub period: Period,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A time of blocks: from the first moment on, up to but without the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    /// Inclusive.
    pub from: TimeMs,
    /// Exclusive; 0: never ends.
    pub to: TimeMs,
}

impl Period {
    fn parse(from_ms: u64, to_ms: u64) -> Result<Self, FieldError> {
        if to_ms != 0 && to_ms <= from_ms {
            return Err(FieldError::malformed("to_ms", "is not after from_ms"));
        }
        Ok(Self { from: TimeMs(from_ms), to: TimeMs(to_ms) })
    }

    /// Whether a moment is in it.
    #[must_use]
    pub fn contains(&self, time: TimeMs) -> bool {
        time >= self.from && (self.to.0 == 0 || time < self.to)
    }
}

/// A rule. What a list leaves empty fits everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Permit or deny.
    pub effect: ConsentEffect,
    /// Who reads.
    pub grantees: Vec<Grantee>,
    /// What for.
    pub purposes: Vec<PurposeOfUse>,
    /// For which project of research.
    pub projects: Vec<ProjectTag>,
    /// Kinds of records.
    pub kinds: Vec<String>,
    /// Records.
    pub records: Vec<RecordId>,
    /// Members that wrote the records.
    pub author_members: Vec<String>,
    /// SPIFFE ids of authors.
    pub authors: Vec<String>,
    /// Highest confidentiality.
    pub ceiling: Option<Confidentiality>,
    /// Policy tags, of which a record carries one. A denial matches a record with a tag under a
    /// salt of which none is here, too.
    pub tags: Vec<PolicyTag>,
    /// A denial without tags: of every record that carries one.
    pub labelled: bool,
    /// When it holds.
    pub period: Period,
}

/// Who a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// One identity.
    Identity(SpiffeId),
    /// Those of a role at a member.
    Role(MemberId, Role),
    /// Everybody of a member.
    Member(MemberId),
}

impl Grantee {
    fn parse(m: &pb::Grantee) -> Result<Self, FieldError> {
        use pb::grantee::Grantee as Pb;
        match m.grantee.as_ref().ok_or_else(|| FieldError::missing("grantees"))? {
            Pb::Identity(id) => id
                .parse()
                .map(Self::Identity)
                .map_err(|_| FieldError::malformed("grantees.identity", "is not a SPIFFE id")),
            Pb::Role(m) => {
                let role = m.role.parse().map_err(|_| FieldError::malformed("grantees.role.role", "is not a role"))?;
                Ok(Self::Role(MemberId::parse("grantees.role.member", &m.member)?, role))
            }
            Pb::Member(id) => MemberId::parse("grantees.member", id).map(Self::Member),
        }
    }

    /// Whether it is about a reader.
    #[must_use]
    pub fn is(&self, reader: &SpiffeId) -> bool {
        match self {
            Self::Identity(id) => id == reader,
            Self::Role(member, role) => member == reader.member() && *role == reader.role(),
            Self::Member(member) => member == reader.member(),
        }
    }
}

impl From<&Grantee> for pb::Grantee {
    fn from(grantee: &Grantee) -> Self {
        use pb::grantee::Grantee as Pb;
        let grantee = match grantee {
            Grantee::Identity(id) => Pb::Identity(id.to_string()),
            Grantee::Role(member, role) => {
                Pb::Role(pb::RoleAtMember { member: member.to_string(), role: role.to_string() })
            }
            Grantee::Member(member) => Pb::Member(member.to_string()),
        };
        Self { grantee: Some(grantee) }
    }
}

/// A request to read a record, as far as consents can speak of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who reads.
    pub reader: &'a SpiffeId,
    /// What for.
    pub purpose: PurposeOfUse,
    /// For which project of research.
    pub project: Option<ProjectTag>,
    /// Block time.
    pub time: TimeMs,
    /// What is read.
    pub record: &'a RecordFacts<'a>,
}

/// What a grant says of a request, the weakest first: of several grants the strongest counts. A
/// rule is said of something, a base of all the rest: stronger than another consent's rule is only
/// the base that denies everything, and that of a consent which permits nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// It is about other things only, and does not count.
    Silent,
    /// Nothing.
    Nothing,
    /// The base permits it.
    BasePermits,
    /// The base leaves it to emergencies.
    BaseDenies,
    /// A rule permits it.
    Permits {
        /// The rule names the very reader.
        by_name: bool,
    },
    /// The base leaves it to emergencies, and no rule permits anything: the patient opts out.
    OptedOut,
    /// The base denies everything.
    AllDenied,
    /// A rule forbids it.
    RuleDenies,
}

impl Grant {
    /// One without rules.
    #[must_use]
    pub fn of_base(base: ConsentBase) -> Self {
        Self { base, period: Period::default(), rules: Vec::new() }
    }

    /// Parses and checks.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(m: &pb::ConsentGrant) -> Result<Self, FieldError> {
        let base = ConsentBase::try_from(m.base).ok().filter(|base| *base != ConsentBase::Unspecified);
        let base = base.ok_or_else(|| FieldError::malformed("base", "is not a known base"))?;
        if m.encoded_len() > GRANT_BYTES_MAX {
            let expected = format!("at most {GRANT_BYTES_MAX} bytes");
            return Err(FieldError::length("rules", expected, m.encoded_len()));
        }
        length_in("rules", m.rules.len(), 0, GRANT_RULES_MAX)?;
        let rule = |(i, rule)| Rule::parse(rule).map_err(|e| e.within(&format!("rules[{i}]")));
        let rules = m.rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?;
        Ok(Self { base, period: Period::parse(m.from_ms, m.to_ms)?, rules })
    }

    /// When what it says changes next by itself, after a moment: it or one of its rules ends.
    #[must_use]
    pub fn next_end(&self, after: TimeMs) -> Option<TimeMs> {
        let periods = std::iter::once(&self.period).chain(self.rules.iter().map(|rule| &rule.period));
        periods.map(|period| period.to).filter(|to| *to > after).min()
    }

    /// What it says. One that is not in force says nothing.
    #[must_use]
    pub fn says(&self, asked: &Asked<'_>) -> Said {
        if !self.period.contains(asked.time) {
            return Said::Nothing;
        }
        let matching = self.rules.iter().filter(|rule| rule.matches(asked));
        matching.map(|rule| rule.says(asked)).max().unwrap_or_else(|| self.rest_says(asked))
    }

    /// What it says of that of which no rule speaks. A consent that opens nothing is there to
    /// close what others open; one that opens something must not close what another one opens.
    fn rest_says(&self, asked: &Asked<'_>) -> Said {
        let opens = self.rules.iter().any(|rule| rule.effect == ConsentEffect::Permit);
        match base_says(self.base, asked) {
            Said::BaseDenies if !opens => Said::OptedOut,
            said => said,
        }
    }

    /// Whether it may permit a record of which only kind, confidentiality and custodian are known:
    /// what it says of authors, labels and single records is not looked at.
    #[must_use]
    pub fn may_permit_such(&self, asked: &Asked<'_>) -> bool {
        let permits = |rule: &Rule| rule.effect == ConsentEffect::Permit && rule.may_match(asked);
        let by_base = || base_says(self.base, asked) == Said::BasePermits;
        self.period.contains(asked.time) && (self.rules.iter().any(permits) || by_base())
    }

    /// Whether it denies every record of which these are known, whatever else is said of it.
    #[must_use]
    pub fn denies_all_such(&self, asked: &Asked<'_>) -> bool {
        let of_all = |rule: &&Rule| rule.records.is_empty() && rule.authors.is_empty() && !rule.is_by_label();
        let denied = self.rules.iter().filter(of_all).any(|r| r.effect == ConsentEffect::Deny && r.matches(asked));
        self.period.contains(asked.time) && denied
    }

    /// Whether it forbids to read even in an emergency: its base denies everything, or a rule
    /// denies the purpose BTG by name.
    #[must_use]
    pub fn forbids_emergency(&self, asked: &Asked<'_>) -> bool {
        let named = |rule: &&Rule| rule.effect == ConsentEffect::Deny && rule.purposes.contains(&PurposeOfUse::Btg);
        let asked = Asked { purpose: PurposeOfUse::Btg, ..*asked };
        self.period.contains(asked.time)
            && (self.base == ConsentBase::Deny || self.rules.iter().filter(named).any(|rule| rule.matches(&asked)))
    }
}

/// What the overarching policies of IHE PCF say.
fn base_says(base: ConsentBase, asked: &Asked<'_>) -> Said {
    let ordinary = [PurposeOfUse::Treat, PurposeOfUse::Hpaymt, PurposeOfUse::Hoperat];
    let ordinary = ordinary.iter().any(|purpose| purpose::covers(*purpose, asked.purpose));
    let normal = asked.record.confidentiality as i32 <= Confidentiality::Normal as i32;
    match base {
        ConsentBase::BasicNormal if ordinary && normal => Said::BasePermits,
        ConsentBase::AllNormal if ordinary => Said::BasePermits,
        ConsentBase::BasicNormal | ConsentBase::AllNormal | ConsentBase::Unspecified => Said::Nothing,
        ConsentBase::BreakGlassOnly => Said::BaseDenies,
        ConsentBase::Deny => Said::AllDenied,
        ConsentBase::Silent => Said::Silent,
    }
}

impl Rule {
    /// One that permits or forbids everything.
    #[must_use]
    pub fn of_effect(effect: ConsentEffect) -> Self {
        Self {
            effect,
            grantees: Vec::new(),
            purposes: Vec::new(),
            projects: Vec::new(),
            kinds: Vec::new(),
            records: Vec::new(),
            author_members: Vec::new(),
            authors: Vec::new(),
            ceiling: None,
            tags: Vec::new(),
            labelled: false,
            period: Period::default(),
        }
    }

    fn parse(m: &pb::ConsentRule) -> Result<Self, FieldError> {
        let effect = ConsentEffect::try_from(m.effect).ok().filter(|effect| *effect != ConsentEffect::Unspecified);
        let effect = effect.ok_or_else(|| FieldError::malformed("effect", "is not a known effect"))?;
        length_in("grantees", m.grantees.len(), 0, GRANT_NAMES_MAX)?;
        length_in("purposes", m.purposes.len(), 0, GRANT_KINDS_MAX)?;
        length_in("projects", m.projects.len(), 0, GRANT_PROJECTS_MAX)?;
        length_in("kinds", m.kinds.len(), 0, GRANT_KINDS_MAX)?;
        length_in("records", m.records.len(), 0, GRANT_RECORDS_MAX)?;
        length_in("author_members", m.author_members.len(), 0, GRANT_NAMES_MAX)?;
        length_in("authors", m.authors.len(), 0, GRANT_NAMES_MAX)?;
        length_in("tags", m.tags.len(), 0, GRANT_TAGS_MAX)?;
        if m.labelled && (effect != ConsentEffect::Deny || !m.tags.is_empty()) {
            return Err(FieldError::malformed("labelled", "is for denials without tags"));
        }
        m.kinds.iter().try_for_each(|kind| check_kind(kind).map_err(|e| e.within("kinds")))?;
        m.author_members.iter().try_for_each(|id| MemberId::parse("author_members", id).map(|_| ()))?;
        let spiffe = |id: &String| id.parse::<SpiffeId>().map(|_| ());
        let spiffe = m.authors.iter().try_for_each(spiffe);
        spiffe.map_err(|_| FieldError::malformed("authors", "is not a SPIFFE id"))?;
        Ok(Self {
            effect,
            grantees: m.grantees.iter().map(Grantee::parse).collect::<Result<_, _>>()?,
            purposes: m.purposes.iter().map(|p| purpose::parse("purposes", *p)).collect::<Result<_, _>>()?,
            projects: ids("projects", &m.projects, ProjectTag::parse)?,
            kinds: m.kinds.clone(),
            records: ids("records", &m.records, RecordId::parse)?,
            author_members: m.author_members.clone(),
            authors: m.authors.clone(),
            ceiling: parse_ceiling(m.ceiling)?,
            tags: ids("tags", &m.tags, PolicyTag::parse)?,
            labelled: m.labelled,
            period: Period::parse(m.from_ms, m.to_ms)?,
        })
    }

    fn says(&self, asked: &Asked<'_>) -> Said {
        match self.effect {
            ConsentEffect::Permit => {
                let named = |grantee: &Grantee| matches!(grantee, Grantee::Identity(id) if id == asked.reader);
                Said::Permits { by_name: self.grantees.iter().any(named) }
            }
            ConsentEffect::Deny | ConsentEffect::Unspecified => Said::RuleDenies,
        }
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        let record = asked.record;
        self.may_match(asked)
            && fits(self.records.is_empty(), self.records.contains(&record.id))
            && fits(self.authors.is_empty(), self.authors.iter().any(|id| id == record.author))
            && fits(!self.is_by_label(), self.is_about_label(record.tags))
    }

    fn is_by_label(&self) -> bool {
        self.labelled || !self.tags.is_empty()
    }

    /// Whether it speaks of one of a record's labels. What a denial cannot understand, since it has
    /// nothing under that salt, it denies.
    fn is_about_label(&self, tags: &[PolicyTag]) -> bool {
        let unknown = |tag: &PolicyTag| self.tags.iter().all(|own| own.salt() != tag.salt());
        self.tags.iter().any(|own| tags.contains(own))
            || (self.effect != ConsentEffect::Permit && tags.iter().any(unknown))
    }

    /// Of research without a project a denial speaks, too: who leaves it out must not read more.
    fn is_of_project(&self, asked: &Asked<'_>) -> bool {
        match asked.project {
            Some(project) => self.projects.contains(&project),
            None => self.effect == ConsentEffect::Deny && purpose::covers(PurposeOfUse::Hresch, asked.purpose),
        }
    }

    /// The same, as far as kind, confidentiality and custodian of the record say it.
    fn may_match(&self, asked: &Asked<'_>) -> bool {
        let record = asked.record;
        fits(self.grantees.is_empty(), self.grantees.iter().any(|g| g.is(asked.reader)))
            && fits(self.purposes.is_empty(), self.purposes.iter().any(|p| purpose::covers(*p, asked.purpose)))
            && fits(self.projects.is_empty(), self.is_of_project(asked))
            && fits(self.kinds.is_empty(), self.kinds.iter().any(|kind| kind == record.kind))
            && fits(self.author_members.is_empty(), self.author_members.iter().any(|id| id == record.custodian))
            && self.ceiling.is_none_or(|ceiling| record.confidentiality as i32 <= ceiling as i32)
            && self.period.contains(asked.time)
    }
}

/// Whether a condition holds: one that is left out fits everything.
fn fits(is_left_out: bool, fits: bool) -> bool {
    is_left_out || fits
}

fn parse_ceiling(value: i32) -> Result<Option<Confidentiality>, FieldError> {
    let ceiling =
        Confidentiality::try_from(value).map_err(|_| FieldError::malformed("ceiling", "is not a known code"))?;
    Ok((ceiling != Confidentiality::Unspecified).then_some(ceiling))
}

/// Ids of a list, distinct.
fn ids<T: Ord + Copy>(
    field: &str,
    list: &[Bytes],
    parse: impl Fn(&str, &[u8]) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    let ids = list.iter().map(|id| parse(field, id)).collect::<Result<Vec<_>, _>>()?;
    match ids.iter().collect::<BTreeSet<_>>().len() == ids.len() {
        true => Ok(ids),
        false => Err(FieldError::malformed(field, "names one twice")),
    }
}

impl From<&Grant> for pb::ConsentGrant {
    fn from(grant: &Grant) -> Self {
        Self {
            base: grant.base.into(),
            from_ms: grant.period.from.0,
            to_ms: grant.period.to.0,
            rules: grant.rules.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Rule> for pb::ConsentRule {
    fn from(rule: &Rule) -> Self {
        let copy = |id: &[u8; 16]| Bytes::copy_from_slice(id);
        Self {
            effect: rule.effect.into(),
            grantees: rule.grantees.iter().map(Into::into).collect(),
            purposes: rule.purposes.iter().map(|purpose| *purpose as i32).collect(),
            projects: rule.projects.iter().map(|id| copy(&id.0)).collect(),
            kinds: rule.kinds.clone(),
            records: rule.records.iter().map(|id| copy(&id.0)).collect(),
            author_members: rule.author_members.clone(),
            authors: rule.authors.clone(),
            ceiling: rule.ceiling.map_or(0, Into::into),
            tags: rule.tags.iter().map(|tag| Bytes::copy_from_slice(&tag.0)).collect(),
            labelled: rule.labelled,
            from_ms: rule.period.from.0,
            to_ms: rule.period.to.0,
        }
    }
}

/// What several consents that bind say together, each with what names it: the strongest word, of
/// equals the first. One that is silent of it counts as if it did not bind. Where none binds, what members agreed on for that case, and no name; nor for
/// what nobody says.
#[must_use]
pub fn strongest<T>(
    binding: impl Iterator<Item = (Said, T)>,
    implicit: ConsentBase,
    asked: &Asked<'_>,
) -> (Said, Option<T>) {
    let mut speaking = binding.filter(|(said, _)| *said != Said::Silent);
    match speaking.by_ref().reduce(|best, next| if next.0 > best.0 { next } else { best }) {
        None => (base_says(implicit, asked), None),
        Some((Said::Nothing, _)) => (Said::Nothing, None),
        Some((said, by)) => (said, Some(by)),
    }
}

#[cfg(test)]
mod tests;
