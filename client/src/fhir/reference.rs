//! References of FHIR, brought to one spelling, so that all records of one
//! patient get one pseudonym. Pure text work; it must never panic on any text.

use std::collections::BTreeMap;

use serde_json::Value;

use super::resource_types::is_resource_type;

/// A reference as it stands in a document or on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a>(&'a str);

impl<'a> Reference<'a> {
    /// Any text: see [`Self::canonical`].
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The one spelling that is blinded; the table is in [`crate::fhir`].
    /// `member` owns ids that are not unique in the world. A text that is no
    /// reference, such as `system|value`, stays as it is.
    #[must_use]
    pub fn canonical(self, member: &str) -> String {
        let text = self.without_history();
        if let Some(token) = conditional_identifier(text) {
            return token;
        }
        if let Some(uuid) = text.strip_prefix("urn:uuid:") {
            return format!("urn:uuid:{}", uuid.to_ascii_lowercase());
        }
        let Some((owner, kind, id)) = parts(text) else { return text.to_owned() };
        match (is_uuid(id), owner) {
            (true, _) => format!("urn:uuid:{}", id.to_ascii_lowercase()),
            (false, None) => format!("{member}/{kind}/{id}"),
            (false, Some(_)) => text.to_owned(),
        }
    }

    /// The resource type that the reference names, if it says so.
    #[must_use]
    pub fn kind(self) -> Option<&'a str> {
        let text = self.without_history();
        match text.split_once('?') {
            Some((kind, _)) => Some(kind).filter(|k| is_resource_type(k)),
            None => parts(text).map(|(_, kind, _)| kind),
        }
    }

    fn without_history(self) -> &'a str {
        self.0.split_once("/_history/").map_or(self.0, |(before, _)| before)
    }
}

/// Owner, type and id of `[owner/]Type/id`, where the owner is a URL or a
/// member's trust domain.
fn parts(text: &str) -> Option<(Option<&str>, &str, &str)> {
    if text.contains(['|', '?', '#']) {
        return None;
    }
    let (before, id) = text.rsplit_once('/')?;
    let (owner, kind) = match before.rsplit_once('/') {
        Some((owner, kind)) => (Some(owner), kind),
        None => (None, before),
    };
    (is_resource_type(kind) && !id.is_empty()).then_some((owner, kind, id))
}

/// `system|value` of `Type?identifier=system|value`.
fn conditional_identifier(text: &str) -> Option<String> {
    let (kind, query) = text.split_once('?')?;
    let token = query.strip_prefix("identifier=")?;
    let simple = is_resource_type(kind) && !token.is_empty() && !token.contains('&');
    simple.then(|| token.replace("%7C", "|").replace("%7c", "|"))
}

/// 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// What a Bundle says of its own resources.
#[derive(Debug, Default)]
pub(super) struct Scope {
    by_url: BTreeMap<String, String>,
    by_identifier: BTreeMap<(String, String), String>,
}

impl Scope {
    /// Notes an entry's resource: its URL and its business identifiers lead to
    /// `Type/id`. The first one wins; a history Bundle repeats them.
    pub(super) fn add(&mut self, full_url: Option<&str>, resource: &Value) {
        let text = |key| resource.get(key).and_then(Value::as_str);
        let (Some(kind), Some(id)) = (text("resourceType"), text("id")) else { return };
        let local = format!("{kind}/{id}");
        if let Some(url) = full_url {
            self.by_url.entry(url.to_owned()).or_insert_with(|| local.clone());
        }
        for token in identifiers(resource) {
            self.by_identifier.entry((kind.to_owned(), token)).or_insert_with(|| local.clone());
        }
    }

    /// The resource of this Bundle that a reference means, else the reference.
    pub(super) fn resolve<'a>(&'a self, reference: &'a str) -> &'a str {
        if let Some(local) = self.by_url.get(reference) {
            return local;
        }
        let named = reference.split_once('?').and_then(|(kind, _)| {
            let token = conditional_identifier(reference)?;
            self.by_identifier.get(&(kind.to_owned(), token))
        });
        named.map_or(reference, String::as_str)
    }
}

/// `system|value` of each identifier with a value; the system may be absent.
pub(super) fn identifiers(resource: &Value) -> Vec<String> {
    let list = match resource.get("identifier") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => &[],
    };
    list.iter().filter_map(identifier_token).collect()
}

/// `system|value` of an Identifier.
pub(super) fn identifier_token(identifier: &Value) -> Option<String> {
    let value = identifier.get("value")?.as_str()?;
    let system = identifier.get("system").and_then(Value::as_str).unwrap_or("");
    Some(format!("{system}|{value}"))
}

#[cfg(test)]
mod tests;
