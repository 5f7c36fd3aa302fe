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

use super::bundle::{BundleKind, Deletion, PassedOver};
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
    Bundle(BundleKind),
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
    /// Entries of a Bundle whose resources cannot be taken, one fault each; at most [`FAULTS_MAX`].
    pub faults: Vec<FhirError>,
    /// How many such entries there are.
    pub entries_refused: usize,
    /// Entries that hold no record.
    pub passed_over: PassedOver,
}

/// Faults of one Bundle that are told, at most: whoever has made a hundred has made them by rule.
pub const FAULTS_MAX: usize = 100;

impl Split {
    fn new(content: Content) -> Self {
        let (resources, faults, passed_over) = (Vec::new(), Vec::new(), PassedOver::default());
        Self { content, resources, faults, entries_refused: 0, passed_over }
    }

    fn refuse(&mut self, fault: FhirError) {
        self.entries_refused += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(rename = "type")]
    kind: Option<Value>,
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
    request: Option<Value>,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

/// Takes a whole file apart, all of it. `home` owns ids that say nothing of it: see
/// [`super::Reference::canonical`].
///
/// # Errors
/// The first fault.
pub fn split(file: &Bytes, home: &Home) -> Result<Split, FhirError> {
    let mut split = examine(file, home)?;
    if split.faults.is_empty() { Ok(split) } else { Err(split.faults.swap_remove(0)) }
}

/// Takes a whole file apart. Of a Bundle what cannot be taken is told by entry, beside all else.
///
/// # Errors
/// What is wrong with a single resource, or with a Bundle as a whole.
pub fn examine(file: &Bytes, home: &Home) -> Result<Split, FhirError> {
    examine_at(file, home, 1, true)
}

/// Takes one line of an NDJSON file apart; `line` is its number, from 1.
///
/// # Errors
/// As [`examine`].
pub fn examine_line(text: &Bytes, home: &Home, line: usize) -> Result<Split, FhirError> {
    examine_at(text, home, line, false)
}

fn examine_at(bytes: &Bytes, home: &Home, line: usize, whole_file: bool) -> Result<Split, FhirError> {
    let text = text_of(bytes, line)?;
    let Some(kind) = peek_type(text, line)? else { return Ok(Split::new(Content::NotFhir)) };
    let splitter = Splitter { file: bytes, text, line_ends: line_ends(text), first_line: line, home };
    let mut out = Split::new(Content::Resource);
    if kind == "Bundle" {
        out.content = Content::Bundle(splitter.bundle(text, (1, "Bundle"), &mut out)?);
    } else {
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

/// An entry's resource, read.
enum Read {
    Bundle,
    Resource(Value, Place),
}

impl Splitter<'_> {
    /// Takes a Bundle apart that stands at `path`. What is wrong with an entry goes to `out`.
    fn bundle(&self, text: &str, (depth, path): (usize, &str), out: &mut Split) -> Result<BundleKind, FhirError> {
        let line = self.line_of(text);
        if depth > BUNDLE_DEPTH_MAX {
            return Err(FhirError { line, path: path.into(), problem: FhirProblem::BundlesTooDeep });
        }
        let bundle: Bundle<'_> = serde_json::from_str(text).map_err(|e| strict::malformed(&e, line))?;
        let mut scope = Scope::default();
        let mut read = Vec::with_capacity(bundle.entry.len());
        for (index, entry) in bundle.entry.iter().enumerate() {
            let Some(raw) = self.record_of(entry, out) else { continue };
            let path = format!("{path}.entry[{index}]");
            match self.read(entry, raw, &mut scope) {
                Ok(found) => read.push((path, raw, found)),
                Err(fault) => out.refuse(below(&path, fault)),
            }
        }
        for (path, raw, found) in read {
            let taken = match found {
                Read::Bundle => self.bundle(raw, (depth + 1, &format!("{path}.Bundle")), out).map(|_| ()),
                Read::Resource(value, place) => {
                    let bytes = self.file.slice_ref(raw.as_bytes());
                    let resource = self.resource(raw, bytes, &value, (&scope, &place));
                    resource.map(|resource| out.resources.push(resource)).map_err(|fault| below(&path, fault))
                }
            };
            if let Err(fault) = taken {
                out.refuse(fault);
            }
        }
        Ok(BundleKind::of(bundle.kind.as_ref()))
    }

    /// The resource of an entry that is to become a record.
    fn record_of<'a>(&self, entry: &Entry<'a>, out: &mut Split) -> Option<&'a str> {
        if let Some(deletion) = Deletion::of(entry.request.as_ref(), entry.full_url.as_deref(), self.home) {
            out.passed_over.deletions.push(deletion);
            return None;
        }
        if entry.search.as_ref().and_then(|search| search.mode.as_deref()) == Some("outcome") {
            out.passed_over.outcomes += 1;
            return None;
        }
        if entry.resource.is_none() {
            out.passed_over.without_resource += 1;
        }
        entry.resource.map(RawValue::get)
    }

    /// Reads an entry's resource, and notes for the whole Bundle what leads to it.
    fn read(&self, entry: &Entry<'_>, raw: &str, scope: &mut Scope) -> Result<Read, FhirError> {
        let kind = peek_type(raw, self.line_of(raw))?;
        if kind.as_deref() == Some("Bundle") {
            return Ok(Read::Bundle);
        }
        let value = self.parse(raw, kind.as_deref())?;
        let url = entry.full_url.as_deref();
        let bytes = self.file.slice_ref(raw.as_bytes());
        let place = self.place(url, kind.as_deref().unwrap_or_default(), &value, &bytes);
        if let Some(kind) = kind.as_deref().and_then(resource_type) {
            scope.add(url, kind, &value, &place, self.home);
        }
        Ok(Read::Resource(value, place))
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

/// The fault of an entry, with the entry.
fn below(path: &str, fault: FhirError) -> FhirError {
    FhirError { path: join(path, &fault.path), ..fault }
}

fn join(kind: &str, path: &str) -> String {
    if path.is_empty() { kind.to_owned() } else { format!("{kind}.{path}") }
}

#[cfg(test)]
mod tests;
