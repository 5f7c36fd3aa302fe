//! References: their form, and the types that an element allows as targets. What a reference leads
//! to is looked up in the document alone: among its contained resources and its Bundle's entries.

use serde_json::Value;

use super::primitive::is_id;
use super::walk::{Object, Walk};
use super::{Problem, rules};

/// What a reference says of its target.
enum Leads<'r> {
    /// To a resource of this type.
    To(&'r str),
    /// Somewhere that the document does not tell.
    Elsewhere,
    /// To a contained resource that is not there.
    Nowhere,
    /// It is no reference.
    Malformed,
}

pub(super) fn check<'v>(walk: &mut Walk<'v>, targets: &[&str], object: &'v Object) {
    let text = |name| object.get(name).and_then(Value::as_str);
    let mut kind = None;
    if let Some(reference) = text("reference").filter(|r| !r.is_empty()) {
        match leads(walk, reference) {
            Leads::To(type_) => {
                kind = Some(type_);
                if !allows(targets, type_) {
                    walk.find_at("reference", target(targets));
                }
            }
            Leads::Elsewhere => {}
            Leads::Nowhere => {
                walk.find_at("reference", Problem::Invariant { rule: "ref-1", meaning: rules::REF_1 });
            }
            Leads::Malformed => walk.find_at("reference", Problem::Reference),
        }
        walk.fragments.extend(reference.strip_prefix('#'));
    }
    if let Some(named) = text("type") {
        // The type of a logical model is an absolute URL.
        let logical = named.contains(':');
        if !logical && walk.tables.resource(named).is_none() {
            walk.find_at("type", Problem::UnknownType);
        } else if kind.is_some_and(|kind| kind != named) {
            walk.find_at("type", Problem::TargetType);
        } else if !logical && !allows(targets, named) && kind.is_none() {
            walk.find_at("type", target(targets));
        }
    }
}

fn allows(targets: &[&str], type_: &str) -> bool {
    targets.is_empty() || targets.contains(&type_)
}

fn target(targets: &[&str]) -> Problem {
    Problem::Target { allowed: targets.join(" or ") }
}

fn leads<'v>(walk: &Walk<'v>, reference: &'v str) -> Leads<'v> {
    if let Some(fragment) = reference.strip_prefix('#') {
        if fragment.is_empty() {
            return Leads::Elsewhere;
        }
        let contained = walk.holder.iter().find(|r| r.get("id").and_then(Value::as_str) == Some(fragment));
        let type_ = contained.map(|r| r.get("resourceType").and_then(Value::as_str));
        return match type_ {
            None => Leads::Nowhere,
            Some(None) => Leads::Elsewhere,
            Some(Some(type_)) => Leads::To(type_),
        };
    }
    if reference.bytes().any(|b| b.is_ascii_whitespace()) && !reference.contains('?') {
        return Leads::Malformed;
    }
    if let Some(type_) = walk.entries.type_of(reference) {
        return Leads::To(type_);
    }
    if let Some((type_, query)) = reference.split_once('?')
        && !type_.contains('/')
    {
        // A conditional reference, which a server resolves.
        return if walk.tables.resource(type_).is_some() && !query.is_empty() {
            Leads::To(type_)
        } else {
            Leads::Malformed
        };
    }
    let absolute = reference.contains(':');
    let plain = reference.split_once("/_history/").map_or(reference, |(before, _)| before);
    let mut parts = plain.rsplit('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(id), Some(type_), before)
            if is_id(id) && walk.tables.resource(type_).is_some() && before.is_some() == absolute =>
        {
            Leads::To(type_)
        }
        _ if absolute => Leads::Elsewhere,
        _ => Leads::Malformed,
    }
}
