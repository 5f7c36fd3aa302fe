//! A grant as a Consent, in the shape of IHE PCF: the root agrees with the policy of the
//! base or rejects it, each rule is a provision in it. What FHIR has no name for is named by
//! the ledger: `urn:consilium:...`. [`super::translate`] reads the same grant from it.
//!
//! It goes beyond the profile in one point: `class`, which PCF does not use.

use std::collections::BTreeSet;

use consilium_proto::consent::{Grant, Grantee, Period, Rule};
use consilium_proto::ids::{PolicyTag, ProjectTag};
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::{ConsentBase, ConsentEffect, PurposeOfUse};
use consilium_proto::purpose;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::mapping::{Labeller, Lookup};
use super::systems::{
    ACT_CODE, ACT_REASON, ANY_TAG, CONFIDENTIALITY, OWN_PROJECT, OWN_RECORD, OWN_ROLE, OWN_TAG, PARTICIPATION,
    RESOURCE_TYPES, SCOPE, URI, below, confidentiality_code, sensitivities,
};
use super::{policy, root};
use crate::fhir::is_resource_type;

const INSTANT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What a Consent says that is not in its grant.
pub struct Context<'a> {
    /// Reference to the patient.
    pub patient: String,
    /// Reference to who agreed.
    pub performer: String,
    /// Reference to the organization that manages it.
    pub organization: String,
    /// Reference to the document that was signed.
    pub source: String,
    /// When it was agreed to.
    pub date_time_ms: u64,
    /// The policy tags of a sensitivity code of v3-ActCode, under the salts that are known.
    pub labels: Labeller<'a>,
    /// System and code of a project, if known.
    pub project: Lookup<'a, (String, String)>,
}

/// It names the patient.
impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// A grant that no Consent can say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct NotExpressible {
    /// Of the grant, such as `rules[2].kinds`.
    pub field: String,
    /// Why.
    pub why: &'static str,
}

type Said<T> = Result<T, NotExpressible>;

fn not(field: &str, why: &'static str) -> NotExpressible {
    NotExpressible { field: field.to_owned(), why }
}

/// A Consent that says what a grant says.
///
/// # Errors
/// If FHIR cannot say it: nothing is left out.
pub fn to_fhir(grant: &Grant, context: &Context<'_>) -> Result<Value, NotExpressible> {
    let uri = policy::uri(grant.base).ok_or_else(|| not("base", "is not a known base"))?;
    let scope = scope(grant)?;
    let mut root = Map::new();
    root.insert("type".into(), effect(policy::effect(grant.base))?.into());
    add_period(&mut root, "period", grant.period)?;
    let rule = |(i, rule)| {
        provision(rule, context).map_err(|e| NotExpressible { field: format!("rules[{i}].{}", e.field), ..e })
    };
    let rules = grant.rules.iter().enumerate().map(rule).collect::<Result<Vec<_>, _>>()?;
    add(&mut root, "provision", rules);
    Ok(json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": { "coding": [coding(SCOPE, scope)] },
        "category": [{ "coding": [coding("http://loinc.org", "59284-0")] }],
        "patient": { "reference": context.patient },
        "dateTime": instant(context.date_time_ms).ok_or_else(|| not("date_time_ms", "is beyond the year 9999"))?,
        "performer": [{ "reference": context.performer }],
        "organization": [{ "reference": context.organization }],
        "sourceReference": { "reference": context.source },
        "policy": [{ "uri": uri }],
        "provision": root,
    }))
}

/// Only a consent to research says nothing of the rest.
fn scope(grant: &Grant) -> Said<&'static str> {
    if grant.base != ConsentBase::Silent {
        return Ok("patient-privacy");
    }
    let permits = || grant.rules.iter().filter(|rule| rule.effect == ConsentEffect::Permit);
    let refuses = grant.rules.contains(&root::refusal_of_research());
    match permits().all(|rule| root::is_of_research(&rule.purposes)) && (permits().next().is_some() || refuses) {
        true => Ok("research"),
        false => Err(not("base", "says nothing of the rest, as only a consent to research does")),
    }
}

fn provision(rule: &Rule, context: &Context<'_>) -> Said<Value> {
    let mut out = Map::new();
    out.insert("type".into(), effect(rule.effect)?.into());
    add_period(&mut out, "period", rule.period)?;
    add(&mut out, "actor", rule.grantees.iter().map(actor).collect());
    add(&mut out, "securityLabel", labels(rule, context)?);
    add(&mut out, "purpose", purposes(rule, context)?);
    add(&mut out, "class", rule.kinds.iter().map(|kind| class(kind)).collect::<Result<_, _>>()?);
    add(&mut out, "data", data(rule)?);
    Ok(Value::Object(out))
}

fn effect(effect: ConsentEffect) -> Said<&'static str> {
    match effect {
        ConsentEffect::Permit => Ok("permit"),
        ConsentEffect::Deny => Ok("deny"),
        ConsentEffect::Unspecified => Err(not("effect", "is not a known effect")),
    }
}

/// FHIR has no empty arrays.
fn add(out: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        out.insert(key.to_owned(), Value::Array(list));
    }
}

/// The end is the last millisecond of it: FHIR's is inclusive.
fn add_period(out: &mut Map<String, Value>, key: &str, period: Period) -> Said<()> {
    let beyond = || not("period", "is beyond the year 9999");
    let mut said = Map::new();
    if period.from.0 > 0 {
        said.insert("start".into(), instant(period.from.0).ok_or_else(beyond)?.into());
    }
    if let Some(last) = period.to.0.checked_sub(1) {
        said.insert("end".into(), instant(last).ok_or_else(beyond)?.into());
    }
    if !said.is_empty() {
        out.insert(key.to_owned(), Value::Object(said));
    }
    Ok(())
}

fn instant(ms: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
    time.format(INSTANT).ok()
}

fn coding(system: &str, code: &str) -> Value {
    json!({ "system": system, "code": code })
}

fn identified(system: &str, value: &str) -> Value {
    json!({ "identifier": { "system": system, "value": value } })
}

fn actor(grantee: &Grantee) -> Value {
    let reference = match grantee {
        Grantee::Identity(id) => identified(URI, &id.to_string()),
        Grantee::Role(member, role) => identified(OWN_ROLE, &format!("{role}@{member}")),
        Grantee::Member(member) => identified(URI, &member.to_uri()),
    };
    json!({ "role": { "coding": [coding(PARTICIPATION, "IRCP")] }, "reference": reference })
}

fn labels(rule: &Rule, context: &Context<'_>) -> Said<Vec<Value>> {
    let mut out = Vec::new();
    if let Some(level) = rule.ceiling {
        if rule.effect == ConsentEffect::Deny {
            return Err(not("ceiling", "of a denial is read in two ways"));
        }
        let code = confidentiality_code(level).ok_or_else(|| not("ceiling", "is not a known code"))?;
        out.push(coding(CONFIDENTIALITY, code));
    }
    if rule.labelled {
        out.push(coding(OWN_TAG, ANY_TAG));
    }
    out.extend(sensitivity_labels(rule, context));
    Ok(out)
}

/// Labels by name, where exactly their tags are read from the name again: under every salt that is
/// known, and of a denial those of the codes that it reaches. What is left stands as it is.
fn sensitivity_labels(rule: &Rule, context: &Context<'_>) -> Vec<Value> {
    let tags: BTreeSet<PolicyTag> = rule.tags.iter().copied().collect();
    let reached = |code: &'static str| {
        let more = if rule.effect == ConsentEffect::Deny { below(code) } else { &[] };
        std::iter::once(code).chain(more.iter().copied()).flat_map(|code| (context.labels)(code))
    };
    let (mut out, mut named) = (Vec::new(), BTreeSet::new());
    let exact = |code: &&'static str| {
        let mut reached = reached(code).peekable();
        reached.peek().is_some() && reached.all(|tag| tags.contains(&tag))
    };
    let mut codes: Vec<_> = sensitivities().filter(exact).collect();
    // What reaches most comes first, and what it has named is not named again.
    codes.sort_by_key(|code| std::cmp::Reverse(below(code).len()));
    for code in codes {
        let reached: BTreeSet<_> = reached(code).collect();
        if !reached.is_subset(&named) {
            named.extend(reached);
            out.push(coding(ACT_CODE, code));
        }
    }
    out.extend(tags.difference(&named).map(|tag| coding(OWN_TAG, &tag.to_string())));
    out
}

fn purposes(rule: &Rule, context: &Context<'_>) -> Said<Vec<Value>> {
    if rule.projects.is_empty() {
        return Ok(rule.purposes.iter().map(|known| coding(ACT_REASON, purpose::code(*known))).collect());
    }
    let implied: &[PurposeOfUse] = match rule.effect {
        ConsentEffect::Permit => &[PurposeOfUse::Hresch],
        ConsentEffect::Deny | ConsentEffect::Unspecified => &[],
    };
    if rule.purposes != implied {
        return Err(not("purposes", "cannot be told from those of the projects"));
    }
    Ok(rule.projects.iter().map(|tag| project(tag, context)).collect())
}

fn project(tag: &ProjectTag, context: &Context<'_>) -> Value {
    let named = (context.project)(&tag.to_string());
    let named = named.filter(|(system, code)| super::conditions::project(system, code) == *tag);
    named.map_or_else(|| coding(OWN_PROJECT, &tag.to_string()), |(system, code)| coding(&system, &code))
}

fn class(kind: &str) -> Said<Value> {
    match is_resource_type(kind) {
        true => Ok(coding(RESOURCE_TYPES, kind)),
        false => Err(not("kinds", "is not a resource type of FHIR R4")),
    }
}

fn data(rule: &Rule) -> Said<Vec<Value>> {
    let item = |meaning: &str, reference: Value| json!({ "meaning": meaning, "reference": reference });
    let records = rule.records.iter().map(|id| item("instance", identified(OWN_RECORD, &id.to_string())));
    let authors = rule.authors.iter().map(|id| id.parse::<SpiffeId>().map(|id| id.to_string()));
    let members = rule.author_members.iter().map(|id| id.parse::<MemberId>().map(|id| id.to_uri()));
    let authored = authors.chain(members).map(|id| id.map(|id| item("authoredby", identified(URI, &id))));
    let authored = authored.collect::<Result<Vec<_>, _>>().map_err(|_| not("authors", "is not a SPIFFE id"))?;
    let lists = [rule.records.len(), rule.authors.len(), rule.author_members.len()];
    match lists.iter().filter(|len| **len > 0).count() {
        0 | 1 => Ok(records.chain(authored).collect()),
        _ => Err(not("records", "cannot be held together with authors, nor authors with their members")),
    }
}
