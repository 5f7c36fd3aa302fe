//! What a consent says of a reader and a record: of the grants that are made here.

use std::collections::BTreeSet;

use consilium_proto::consent::{Grant, Grantee, Rule};
use consilium_proto::ids::{PolicyTag, SaltId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{ConsentBase, ConsentEffect};

/// What consents say together, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    /// Nothing that opens anything.
    Silence,
    Permit,
    DenyAll,
    DenyReader,
}

/// Somebody is let in, somebody is kept out, or all are; by rules that count.
pub(super) fn said(grant: &Grant, reader: &SpiffeId, labels: &[PolicyTag], counts: impl Fn(&Rule) -> bool) -> Word {
    let rules = || grant.rules.iter().filter(|rule| counts(rule));
    let about = rules().filter(|rule| is_about(rule, reader) && is_about_labels(rule, labels));
    let word = about.map(|rule| if rule.effect == ConsentEffect::Permit { Word::Permit } else { Word::DenyReader });
    let opens = rules().any(|rule| rule.effect == ConsentEffect::Permit);
    let opts_out = grant.base == ConsentBase::BreakGlassOnly && !opens;
    word.max().unwrap_or(if opts_out || grant.base == ConsentBase::Deny { Word::DenyAll } else { Word::Silence })
}

/// Whether a rule looks at labels.
pub(super) fn is_by_label(rule: &Rule) -> bool {
    rule.labelled || !rule.tags.is_empty()
}

fn is_about(rule: &Rule, reader: &SpiffeId) -> bool {
    let named = rule.grantees.iter().any(|grantee| match grantee {
        Grantee::Member(member) => member == reader.member(),
        Grantee::Identity(id) => id == reader,
        Grantee::Role(member, role) => member == reader.member() && *role == reader.role(),
    });
    named || rule.grantees.is_empty()
}

/// A label is understood by who knows its salt. What a rule names fits both ways; what it does not
/// understand is kept out, and never let in.
fn is_about_labels(rule: &Rule, labels: &[PolicyTag]) -> bool {
    let salts: BTreeSet<SaltId> = rule.tags.iter().map(PolicyTag::salt).collect();
    let (understood, foreign): (Vec<_>, Vec<_>) = labels.iter().partition(|label| salts.contains(&label.salt()));
    let named = understood.into_iter().any(|label| rule.tags.contains(label));
    match rule.effect {
        _ if !is_by_label(rule) => true,
        ConsentEffect::Permit => named,
        ConsentEffect::Deny | ConsentEffect::Unspecified => named || !foreign.is_empty(),
    }
}
