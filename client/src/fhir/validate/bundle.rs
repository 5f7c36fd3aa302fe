//! Bundles: what their entries say of each other, and the lines on which the resources start.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Finding;

/// Types of the resources of a Bundle, by their URL.
#[derive(Debug, Default)]
pub(super) struct Entries<'v>(HashMap<&'v str, &'v str>);

impl<'v> Entries<'v> {
    pub(super) fn of(bundle: &'v serde_json::Map<String, Value>) -> Self {
        let list = bundle.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let named = |entry: &'v Value| {
            let url = entry.get("fullUrl")?.as_str()?;
            Some((url, entry.get("resource")?.get("resourceType")?.as_str()?))
        };
        Self(list.iter().filter_map(named).collect())
    }

    pub(super) fn type_of(&self, url: &str) -> Option<&'v str> {
        self.0.get(url).copied()
    }
}

#[derive(Deserialize)]
struct Shell<'a> {
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

/// Gives each finding the line on which its resource starts, if `document` starts on `first`. Only
/// a document with findings is read for it.
pub(super) fn place(findings: &mut [Finding], document: &[u8], first: usize) {
    let shell = match findings.iter().any(|f| f.path.starts_with("Bundle.entry[")) {
        true => serde_json::from_slice::<Shell<'_>>(document).ok(),
        false => None,
    };
    // Findings come in the order of the document, so that its lines are counted once.
    let (mut at, mut line) = (0, first);
    for finding in findings {
        let entry = finding.path.strip_prefix("Bundle.entry[").and_then(|rest| rest.split(']').next()?.parse().ok());
        let raw = entry.and_then(|i: usize| shell.as_ref()?.entry.get(i)?.resource);
        let start = raw.map_or(at, |raw| (raw.get().as_ptr() as usize).saturating_sub(document.as_ptr() as usize));
        if let Some(passed) = document.get(at..start) {
            line += passed.iter().filter(|b| **b == b'\n').count();
            at = start;
        }
        finding.line = if raw.is_some() { line } else { first };
    }
}
