//! A strict reader of JSON: refuses duplicate keys, deep nesting, and the
//! empty objects, arrays and strings that FHIR forbids. It must never panic
//! and never say what a value is, only where.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{DEPTH_MAX, FhirError, FhirProblem};

/// Characters of a key that an error may show: element names of FHIR are
/// shorter, and anything else might be data.
const SHOWN_KEY_CHARS_MAX: usize = 64;

/// Parses one resource that starts on `line` of its file; `root` names it in paths.
pub(super) fn parse(text: &str, root: &str, line: usize) -> Result<Value, FhirError> {
    let mut place = Place { path: Vec::new(), problem: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = Element { place: &mut place, depth: 0 }.deserialize(&mut json).and_then(|v| json.end().map(|()| v));
    parsed.map_err(|e| match place.problem.take() {
        Some(problem) => FhirError { line, path: place.render(root), problem },
        None => malformed(&e, line),
    })
}

/// A syntax error, placed in the file. The parser's own text is dropped: it
/// may quote the document.
pub(super) fn malformed(error: &serde_json::Error, line: usize) -> FhirError {
    FhirError {
        line: line + error.line().saturating_sub(1),
        path: String::new(),
        problem: FhirProblem::Malformed { column: error.column() },
    }
}

/// Where the reader is, and what it found there.
struct Place {
    path: Vec<Segment>,
    problem: Option<FhirProblem>,
}

enum Segment {
    Key(String),
    Index(usize),
}

impl Place {
    fn refuse<E: serde::de::Error>(&mut self, problem: FhirProblem) -> E {
        self.problem = Some(problem);
        E::custom("refused")
    }

    fn render(&self, root: &str) -> String {
        let mut out = root.to_owned();
        for segment in &self.path {
            match segment {
                Segment::Key(key) => {
                    out.push('.');
                    out.push_str(shown_key(key));
                }
                Segment::Index(i) => out.push_str(&format!("[{i}]")),
            }
        }
        out
    }
}

fn shown_key(key: &str) -> &str {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain && key.len() <= SHOWN_KEY_CHARS_MAX { key } else { "?" }
}

struct Element<'a> {
    place: &'a mut Place,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Element<'_> {
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.depth >= DEPTH_MAX { Err(self.place.refuse(FhirProblem::TooDeep)) } else { Ok(()) }
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        if v.is_empty() { Err(self.place.refuse(FhirProblem::Empty)) } else { Ok(v.into()) }
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut out = Vec::new();
        self.place.path.push(Segment::Index(0));
        while let Some(value) = seq.next_element_seed(Element { place: &mut *self.place, depth: self.depth + 1 })? {
            out.push(value);
            if let Some(last) = self.place.path.last_mut() {
                *last = Segment::Index(out.len());
            }
        }
        self.place.path.pop();
        if out.is_empty() { Err(self.place.refuse(FhirProblem::Empty)) } else { Ok(Value::Array(out)) }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.place.path.push(Segment::Key(key.clone()));
            if out.contains_key(&key) {
                return Err(self.place.refuse(FhirProblem::DuplicateKey));
            }
            let value = map.next_value_seed(Element { place: &mut *self.place, depth: self.depth + 1 })?;
            if value.is_null() {
                return Err(self.place.refuse(FhirProblem::Null));
            }
            self.place.path.pop();
            out.insert(key, value);
        }
        if out.is_empty() { Err(A::Error::custom(self.note_empty())) } else { Ok(Value::Object(out)) }
    }
}

impl Element<'_> {
    fn note_empty(self) -> &'static str {
        self.place.problem = Some(FhirProblem::Empty);
        "refused"
    }
}

#[cfg(test)]
mod tests;
