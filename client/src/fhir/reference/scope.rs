//! What a Bundle says of its own resources, and how a reference inside of it is followed
//! (R4, bundle.html#references): first to an entry of the Bundle, else to the server
//! that the entry comes from.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Home, PatientName, Reference, Target, former};

/// What a reference leads to.
#[derive(Debug, Clone)]
pub(in crate::fhir) struct Resolved {
    /// The resource type, if it is known.
    pub(in crate::fhir) kind: Option<&'static str>,
    /// What is meant, in canonical form.
    pub(in crate::fhir) name: PatientName,
}

/// The resources of a Bundle, by what refers to them.
#[derive(Debug, Default)]
pub(in crate::fhir) struct Scope {
    by_name: BTreeMap<String, Resolved>,
    by_identifier: BTreeMap<(&'static str, String), Resolved>,
}

/// A resource and the server that it comes from.
#[derive(Debug, Clone)]
pub(in crate::fhir) struct Place {
    /// What the resource itself is called.
    pub(in crate::fhir) itself: PatientName,
    /// Base URL of the server, if it is not the member's own.
    base: Option<String>,
}

impl Place {
    /// Of a resource with an id or, if it has none, the hash of its bytes (`urn:sha256:...`).
    pub(in crate::fhir) fn of(
        full_url: Option<&str>,
        kind: &str,
        resource: &Value,
        nameless: impl FnOnce() -> String,
        home: &Home,
    ) -> Self {
        let local = resource.get("id").and_then(Value::as_str).map(|id| format!("{kind}/{id}"));
        let target = full_url.map(|url| Target::parse(url, home));
        let base = match &target {
            Some(Target::Elsewhere { owner, .. }) if home.knows_its_servers() => Some(owner.clone()),
            _ => None,
        };
        let before = local.as_deref().and_then(|local| former::canonical(local, home.member()));
        let before = before.unwrap_or_else(nameless);
        let canonical = match (&local, &target) {
            (_, Some(target)) if base.is_some() => target.canonical(home),
            (Some(local), _) => Reference::new(local).canonical(home),
            // It gets its id from a server yet; the Bundle refers to it by this.
            (None, Some(target @ Target::Urn(_))) => target.canonical(home),
            (None, _) => before.clone(),
        };
        Self { itself: PatientName::new(canonical, [before], home), base }
    }
}

impl Scope {
    /// Notes an entry's resource: its URL and its business identifiers lead to it. The
    /// first one wins; a history Bundle repeats them.
    pub(in crate::fhir) fn add(
        &mut self,
        full_url: Option<&str>,
        kind: &'static str,
        resource: &Value,
        place: &Place,
        home: &Home,
    ) {
        let found = Resolved { kind: Some(kind), name: place.itself.clone() };
        if let Some(url) = full_url {
            self.by_name.entry(Reference::new(url).canonical(home)).or_insert_with(|| found.clone());
        }
        for token in identifiers(resource) {
            self.by_identifier.entry((kind, token)).or_insert_with(|| found.clone());
        }
    }

    /// What a reference means that stands in the resource at `place`.
    pub(in crate::fhir) fn resolve(&self, reference: &str, place: &Place, home: &Home) -> Resolved {
        let mut target = Target::parse(reference, home);
        if let (Target::Own { kind, id }, Some(owner)) = (&target, &place.base)
            && is_short(reference)
        {
            target = Target::Elsewhere { owner: owner.clone(), kind, id: id.clone() };
        }
        let canonical = target.canonical(home);
        let named = match &target {
            Target::Identifier { kind, token } => self.by_identifier.get(&(*kind, token.clone())),
            Target::Fragment(_)
            | Target::Own { .. }
            | Target::Elsewhere { .. }
            | Target::Urn(_)
            | Target::Conditional { .. }
            | Target::Other(_) => self.by_name.get(&canonical),
        };
        let name = PatientName::new(canonical, former::canonical(reference, home.member()), home);
        match named {
            Some(Resolved { kind, name: found }) => Resolved { kind: *kind, name: found.clone().with(name) },
            None => Resolved { kind: target.kind(), name },
        }
    }
}

/// Whether it says nothing of whose it is: `Type/id`.
fn is_short(reference: &str) -> bool {
    let path = super::without_history(reference.trim_matches('/'));
    path.matches('/').count() == 1
}

/// `system|value` of each identifier with a value; the system may be absent.
pub(in crate::fhir) fn identifiers(resource: &Value) -> Vec<String> {
    let list = match resource.get("identifier") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => &[],
    };
    list.iter().filter_map(identifier_token).collect()
}

/// `system|value` of an Identifier.
pub(in crate::fhir) fn identifier_token(identifier: &Value) -> Option<String> {
    let value = identifier.get("value")?.as_str()?;
    let system = identifier.get("system").and_then(Value::as_str).unwrap_or("");
    Some(format!("{system}|{value}"))
}
