//! Finds the resources of a document and cuts them out, byte for byte.
//!
//! A file with one resource is one record: all of its bytes, so that reading
//! it back gives the file. Of a Bundle each `entry.resource` is a record: the
//! bytes from its `{` to its `}`. A line of NDJSON is one document.

use bytes::Bytes;
use consilium_proto::hash::sha256;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::extract::{self, Found, Reading};
use super::reference::{Place, Scope};
use super::resource_types::resource_type;
use super::{BUNDLE_DEPTH_MAX, FhirError, FhirProblem, Home, RESOURCE_BYTES_MAX, Resource, check, strict};

/// What a document turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// One resource.
    Resource,
    /// A Bundle.
    Bundle,
    /// Well-formed JSON, but not a FHIR resource: a scalar, a list, or an
    /// object without `resourceType`.
    NotFhir,
}

/// A document, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// What it is.
    pub content: Content,
    /// In the order of the document.
    pub resources: Vec<Resource>,
    /// Entries of Bundles that hold no record: deletions, responses, and
    /// outcomes of searches.
    pub entries_passed_over: usize,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "fullUrl")]
    full_url: Option<String>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    search: Option<Search>,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

/// Takes a whole file apart. `home` owns ids that say nothing of it: see
/// [`super::Reference::canonical`].
///
/// # Errors
/// The first fault; a document is taken whole or not at all.
pub fn split(file: &Bytes, home: &Home) -> Result<Split, FhirError> {
    split_at(file, home, 1, true)
}

/// Takes one line of an NDJSON file apart; `line` is its number, from 1.
///
/// # Errors
/// As [`split`].
pub fn split_line(text: &Bytes, home: &Home, line: usize) -> Result<Split, FhirError> {
    split_at(text, home, line, false)
}

fn split_at(bytes: &Bytes, home: &Home, line: usize, whole_file: bool) -> Result<Split, FhirError> {
    let text = text_of(bytes, line)?;
    let mut out = Split { content: Content::NotFhir, resources: Vec::new(), entries_passed_over: 0 };
    let Some(kind) = peek_type(text, line)? else { return Ok(out) };
    let splitter = Splitter { file: bytes, text, line_ends: line_ends(text), first_line: line, home };
    if kind == "Bundle" {
        out.content = Content::Bundle;
        splitter.bundle(text, 1, &mut out)?;
    } else {
        out.content = Content::Resource;
        let value = splitter.parse(text.trim_ascii(), Some(&kind))?;
        let raw = if whole_file { bytes.clone() } else { bytes.slice_ref(text.trim_ascii().as_bytes()) };
        let place = splitter.place(None, &kind, &value, &raw);
        out.resources.push(splitter.resource(text.trim_ascii(), raw, &value, (&Scope::default(), &place))?);
    }
    Ok(out)
}

/// The text without a byte order mark, which RFC 8259 lets readers ignore.
fn text_of(bytes: &Bytes, line: usize) -> Result<&str, FhirError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        FhirError { line: line + before, path: String::new(), problem: FhirProblem::NotUtf8 }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The resource type, or `None` for JSON that is no resource.
fn peek_type(text: &str, line: usize) -> Result<Option<String>, FhirError> {
    let malformed = |e: serde_json::Error| strict::malformed(&e, line);
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(malformed)?;
        return Ok(None);
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(malformed)?;
    let Some(raw) = envelope.resource_type else { return Ok(None) };
    let problem = FhirProblem::Type { expected: "a string" };
    let named = serde_json::from_str::<String>(raw.get());
    named.map(Some).map_err(|_| FhirError { line, path: "resourceType".into(), problem })
}

struct Splitter<'a> {
    file: &'a Bytes,
    text: &'a str,
    /// Offsets of the line ends in `text`, ascending.
    line_ends: Vec<usize>,
    first_line: usize,
    home: &'a Home,
}

impl Splitter<'_> {
    fn bundle(&self, text: &str, depth: usize, out: &mut Split) -> Result<(), FhirError> {
        let line = self.line_of(text);
        if depth > BUNDLE_DEPTH_MAX {
            return Err(FhirError { line, path: "Bundle".into(), problem: FhirProblem::BundlesTooDeep });
        }
        let bundle: Bundle<'_> = serde_json::from_str(text).map_err(|e| strict::malformed(&e, line))?;
        let mut scope = Scope::default();
        let mut parsed = Vec::with_capacity(bundle.entry.len());
        for entry in &bundle.entry {
            let outcome = entry.search.as_ref().and_then(|s| s.mode.as_deref()) == Some("outcome");
            let Some(raw) = entry.resource.filter(|_| !outcome) else {
                out.entries_passed_over += 1;
                continue;
            };
            let raw = raw.get();
            let kind = peek_type(raw, self.line_of(raw))?;
            let raw_bytes = self.file.slice_ref(raw.as_bytes());
            let read = match kind.as_deref() {
                Some("Bundle") => None,
                kind => {
                    let value = self.parse(raw, kind)?;
                    let url = entry.full_url.as_deref();
                    let place = self.place(url, kind.unwrap_or_default(), &value, &raw_bytes);
                    if let Some(kind) = kind.and_then(resource_type) {
                        scope.add(url, kind, &value, &place, self.home);
                    }
                    Some((value, place))
                }
            };
            parsed.push((raw, raw_bytes, read));
        }
        for (raw, raw_bytes, read) in parsed {
            match read {
                None => self.bundle(raw, depth + 1, out)?,
                Some((value, place)) => {
                    out.resources.push(self.resource(raw, raw_bytes, &value, (&scope, &place))?);
                }
            }
        }
        Ok(())
    }

    fn parse(&self, raw: &str, kind: Option<&str>) -> Result<Value, FhirError> {
        let root = kind.and_then(resource_type).unwrap_or("resource");
        strict::parse(raw, root, self.line_of(raw))
    }

    fn place(&self, full_url: Option<&str>, kind: &str, value: &Value, raw: &Bytes) -> Place {
        let nameless = || format!("urn:sha256:{}", hex::encode(sha256(&[raw])));
        Place::of(full_url, kind, value, nameless, self.home)
    }

    fn resource(
        &self,
        text: &str,
        raw: Bytes,
        value: &Value,
        (scope, place): (&Scope, &Place),
    ) -> Result<Resource, FhirError> {
        let line = self.line_of(text);
        let refuse = |path: String, problem| FhirError { line, path, problem };
        let object =
            value.as_object().ok_or_else(|| refuse("resource".into(), FhirProblem::Type { expected: "an object" }))?;
        let named = object.get("resourceType").and_then(Value::as_str);
        let named = named.ok_or_else(|| refuse("resourceType".into(), FhirProblem::Missing))?;
        let kind = resource_type(named).ok_or_else(|| refuse("resourceType".into(), FhirProblem::UnknownType))?;
        let below = |(path, problem): (String, FhirProblem)| refuse(join(kind, &path), problem);
        let found = |(path, problem): Found| refuse(join(kind, path), problem);
        let bytes_max = RESOURCE_BYTES_MAX;
        if raw.len() > bytes_max {
            return Err(refuse(kind.into(), FhirProblem::TooLarge { bytes: raw.len(), bytes_max }));
        }
        check::check(object, kind).map_err(below)?;
        let reading = Reading { scope, place, home: self.home };
        Ok(Resource {
            kind,
            id: object.get("id").and_then(Value::as_str).map(str::to_owned),
            subject: extract::subject(value, kind, &reading).map_err(found)?,
            confidentiality: extract::confidentiality(value).map_err(found)?,
            labels: extract::labels(value),
            tags: extract::tags(value, kind, &reading),
            raw,
            line,
        })
    }

    /// Line of the file on which a part of its text starts.
    fn line_of(&self, part: &str) -> usize {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        self.first_line + self.line_ends.partition_point(|end| *end < start)
    }
}

/// Found once: counting anew for each entry of a large Bundle would be
/// quadratic.
fn line_ends(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i).collect()
}

fn join(kind: &str, path: &str) -> String {
    if path.is_empty() { kind.to_owned() } else { format!("{kind}.{path}") }
}

#[cfg(test)]
mod tests;
