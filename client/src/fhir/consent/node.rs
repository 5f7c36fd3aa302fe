//! A place in the document: its value and its path. Everything that is read goes through
//! here, so every error has a path, and an element that nobody reads is found.

use serde_json::{Map, Value};

use super::{ConsentProblem, Gap, Problem};
use crate::fhir::{FhirError, FhirProblem, RESOURCE_BYTES_MAX, check, strict};

/// Characters of a key that an error may show: anything longer might be data.
const SHOWN_KEY_CHARS_MAX: usize = 64;

/// The resource, read strictly: <https://hl7.org/fhir/R4/json.html>, no duplicate keys, nothing
/// empty, its id, and what R4 requires of a Consent.
pub(super) fn read(bytes: &[u8]) -> Result<Value, ConsentProblem> {
    let bytes_max = RESOURCE_BYTES_MAX;
    if bytes.len() > bytes_max {
        return Err(fhir("Consent".to_owned(), 1, FhirProblem::TooLarge { bytes: bytes.len(), bytes_max }));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| fhir("Consent".to_owned(), 1, FhirProblem::NotUtf8))?;
    let resource = strict::parse(text, "Consent", 1).map_err(of_reader)?;
    let map = Node::root(&resource).map()?;
    if map.get("resourceType").and_then(Value::as_str) != Some("Consent") {
        return Err(fhir("Consent.resourceType".to_owned(), 1, FhirProblem::Type { expected: "Consent" }));
    }
    check::check(map, "Consent").map_err(|(below, problem)| fhir(format!("Consent.{below}"), 1, problem))?;
    Ok(resource)
}

fn of_reader(error: FhirError) -> ConsentProblem {
    let path = if error.path.is_empty() { "Consent".to_owned() } else { error.path };
    fhir(path, error.line, error.problem)
}

fn fhir(path: String, line: usize, problem: FhirProblem) -> ConsentProblem {
    ConsentProblem { path, problem: Problem::Fhir { line, problem } }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, path: "Consent".to_owned() }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn problem(&self, problem: Problem) -> ConsentProblem {
        ConsentProblem { path: self.path.clone(), problem }
    }

    /// A condition that a grant cannot hold, here.
    pub(super) fn gap(&self, gap: Gap) -> ConsentProblem {
        self.problem(Problem::Unrepresentable(gap))
    }

    fn typed(&self, expected: &'static str) -> ConsentProblem {
        fhir(self.path.clone(), 1, FhirProblem::Type { expected })
    }

    fn map(&self) -> Result<&'a Map<String, Value>, ConsentProblem> {
        self.value.as_object().ok_or_else(|| self.typed("an object"))
    }

    /// Refuses every element that is not in the list.
    pub(super) fn only(&self, elements: &[&str]) -> Result<(), ConsentProblem> {
        match self.map()?.keys().find(|key| !elements.contains(&key.as_str())) {
            Some(key) => Err(self.below(key).problem(Problem::UnknownElement)),
            None => Ok(()),
        }
    }

    fn below(&self, key: &str) -> Self {
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && key.len() <= SHOWN_KEY_CHARS_MAX;
        Self { value: self.value, path: format!("{}.{}", self.path, if plain { key } else { "?" }) }
    }

    /// An element, if it is there.
    pub(super) fn get(&self, key: &str) -> Result<Option<Self>, ConsentProblem> {
        let found = self.map()?.get(key);
        Ok(found.map(|value| Self { value, path: format!("{}.{key}", self.path) }))
    }

    /// An element that must be there.
    pub(super) fn need(&self, key: &str) -> Result<Self, ConsentProblem> {
        let missing = || fhir(format!("{}.{key}", self.path), 1, FhirProblem::Missing);
        self.get(key)?.ok_or_else(missing)
    }

    /// The items of an array element; none where it is absent.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, ConsentProblem> {
        let Some(array) = self.get(key)? else { return Ok(Vec::new()) };
        let items = array.value.as_array().ok_or_else(|| array.typed("an array"))?;
        let item = |(i, value)| Self { value, path: format!("{}[{i}]", array.path) };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// A string.
    pub(super) fn text(&self) -> Result<&'a str, ConsentProblem> {
        self.value.as_str().ok_or_else(|| self.typed("a string"))
    }

    /// A string element, if it is there.
    pub(super) fn get_text(&self, key: &str) -> Result<Option<&'a str>, ConsentProblem> {
        self.get(key)?.map(|node| node.text()).transpose()
    }

    /// A boolean.
    pub(super) fn boolean(&self) -> Result<bool, ConsentProblem> {
        self.value.as_bool().ok_or_else(|| self.typed("true or false"))
    }

    /// System and code of a Coding; the system may be absent.
    pub(super) fn coding(&self) -> Result<(&'a str, &'a str), ConsentProblem> {
        self.only(&["id", "system", "version", "code", "display", "userSelected"])?;
        let code = self.need("code")?.text()?;
        Ok((self.get_text("system")?.unwrap_or(""), code))
    }

    /// The codings of a CodeableConcept.
    pub(super) fn codings(&self) -> Result<Vec<Self>, ConsentProblem> {
        self.only(&["id", "coding", "text"])?;
        self.list("coding")
    }
}
