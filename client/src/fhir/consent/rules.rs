//! Conditions of a provision as rules of a grant. Within a list of FHIR any item fits;
//! within a rule every list must fit. What is "or" in FHIR and has two lists in a rule
//! becomes two rules.

use consilium_proto::consent::{Period, Rule};
use consilium_proto::pb::{ConsentEffect, PurposeOfUse};

use super::conditions::{Conditions, Data, Purposes};

/// The rules of one provision; at least one.
pub(super) fn of(effect: ConsentEffect, conditions: &Conditions, period: Period) -> Vec<Rule> {
    let labels = conditions.labels.clone().unwrap_or_default();
    let whole = Rule {
        grantees: conditions.grantees.clone().unwrap_or_default(),
        kinds: conditions.kinds.clone().unwrap_or_default(),
        ceiling: labels.ceiling,
        tags: labels.tags,
        labelled: labels.any,
        period,
        ..Rule::of_effect(effect)
    };
    let by_purpose = by_purpose(&whole, conditions.purposes.as_ref());
    by_purpose.iter().flat_map(|rule| by_data(rule, conditions.data.as_ref())).collect()
}

/// A project is one of research: a permit for it does not hold for another purpose. A denial
/// of it holds for all.
fn by_purpose(rule: &Rule, purposes: Option<&Purposes>) -> Vec<Rule> {
    let Some(Purposes { known, projects }) = purposes else { return vec![rule.clone()] };
    let mut out = Vec::new();
    if !known.is_empty() {
        out.push(Rule { purposes: known.clone(), ..rule.clone() });
    }
    if !projects.is_empty() {
        let purposes = match rule.effect {
            ConsentEffect::Permit => vec![PurposeOfUse::Hresch],
            ConsentEffect::Deny | ConsentEffect::Unspecified => Vec::new(),
        };
        out.push(Rule { purposes, projects: projects.clone(), ..rule.clone() });
    }
    out
}

fn by_data(rule: &Rule, data: Option<&Data>) -> Vec<Rule> {
    let Some(Data { records, authors, members, encounters }) = data else { return vec![rule.clone()] };
    let mut out = Vec::new();
    if !records.is_empty() {
        out.push(Rule { records: records.clone(), ..rule.clone() });
    }
    if !authors.is_empty() {
        out.push(Rule { authors: authors.iter().map(ToString::to_string).collect(), ..rule.clone() });
    }
    if !members.is_empty() {
        out.push(Rule { author_members: members.clone(), ..rule.clone() });
    }
    if !encounters.is_empty() {
        // A rule with labels has no encounters: the reader of conditions sees to it.
        out.push(Rule { tags: encounters.clone(), ..rule.clone() });
    }
    out
}
