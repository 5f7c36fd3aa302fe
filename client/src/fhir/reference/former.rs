//! The spellings that were blinded before references followed all rules of R4. Patients
//! are registered under them, so they are looked for as well. They must never change.

use crate::fhir::is_resource_type;

use super::is_uuid;

/// The canonical form of earlier releases. `None` for a search without an identifier:
/// that one was not bound to a member, so that two hospitals had one name for two people.
pub(super) fn canonical(text: &str, member: &str) -> Option<String> {
    let text = text.split_once("/_history/").map_or(text, |(before, _)| before);
    if let Some(token) = conditional_identifier(text) {
        return Some(token);
    }
    if text.split_once('?').is_some_and(|(kind, _)| is_resource_type(kind)) {
        return None;
    }
    if let Some(uuid) = text.strip_prefix("urn:uuid:") {
        return Some(format!("urn:uuid:{}", uuid.to_ascii_lowercase()));
    }
    let Some((owner, kind, id)) = parts(text) else { return Some(text.to_owned()) };
    Some(match (is_uuid(id), owner) {
        (true, _) => format!("urn:uuid:{}", id.to_ascii_lowercase()),
        (false, None) => format!("{member}/{kind}/{id}"),
        (false, Some(_)) => text.to_owned(),
    })
}

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

fn conditional_identifier(text: &str) -> Option<String> {
    let (kind, query) = text.split_once('?')?;
    let token = query.strip_prefix("identifier=")?;
    let simple = is_resource_type(kind) && !token.is_empty() && !token.contains('&');
    simple.then(|| token.replace("%7C", "|").replace("%7c", "|"))
}
