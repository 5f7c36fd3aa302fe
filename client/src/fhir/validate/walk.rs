//! The walk of a document beside the tables: elements, cardinalities, types, choices, the `_x`
//! siblings of primitives, and contained resources. What a value says is judged in the modules
//! beside this one.

use serde_json::{Map, Value};

use super::primitive::Primitive;
use super::tables::{Element, Key, Max, SetId, Shape, Tables, Type, TypeId, tables};
use super::{FINDINGS_MAX, Finding, Problem, Report, Validator, bundle, codes, narrative, rules, target};

/// Characters of a name that a finding may show: elements of FHIR are shorter, and anything else
/// might be data.
const SHOWN_NAME_CHARS_MAX: usize = 64;
/// Letters by which an unknown name may differ from the one that it is taken for.
const NEAR_LETTERS_MAX: usize = 2;

pub(super) type Object = Map<String, Value>;

#[derive(Clone, Copy)]
enum Step<'v> {
    Name(&'v str),
    At(usize),
}

/// Where a resource stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is the document, or an entry of a Bundle or of Parameters.
    Alone,
    /// In the `contained` of another one.
    Contained,
}

pub(super) struct Walk<'v> {
    pub(super) tables: &'static Tables,
    validator: &'v Validator,
    path: Vec<Step<'v>>,
    report: Report,
    /// The resource whose `contained` fragments lead to.
    pub(super) holder: &'v [Value],
    /// Fragments that were met in that resource, without `#`.
    pub(super) fragments: Vec<&'v str>,
    /// Of the innermost Bundle.
    pub(super) entries: bundle::Entries<'v>,
}

impl<'v> Walk<'v> {
    pub(super) fn new(validator: &'v Validator) -> Self {
        Self {
            tables: tables(),
            validator,
            path: Vec::new(),
            report: Report::default(),
            holder: &[],
            fragments: Vec::new(),
            entries: bundle::Entries::default(),
        }
    }

    pub(super) fn document(mut self, value: &'v Value) -> Report {
        self.resource(value, Place::Alone);
        self.report
    }

    pub(super) fn find(&mut self, problem: Problem) {
        if self.report.findings.len() >= FINDINGS_MAX {
            self.report.more += 1;
            return;
        }
        let path = self.rendered();
        self.report.findings.push(Finding { line: 1, path, problem });
    }

    /// Finds below the present place.
    pub(super) fn find_at(&mut self, name: &'v str, problem: Problem) {
        self.under(Step::Name(name), |walk| walk.find(problem));
    }

    /// Finds at an item of a list below the present place.
    pub(super) fn find_in(&mut self, name: &'v str, at: usize, problem: Problem) {
        self.under(Step::Name(name), |walk| walk.under(Step::At(at), |walk| walk.find(problem)));
    }

    fn under(&mut self, step: Step<'v>, then: impl FnOnce(&mut Self)) {
        self.path.push(step);
        then(self);
        self.path.pop();
    }

    fn rendered(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if out.is_empty() => out.push_str(shown(name)),
                Step::Name(name) => {
                    out.push('.');
                    out.push_str(shown(name));
                }
                Step::At(at) => out.push_str(&format!("[{at}]")),
            }
        }
        out
    }

    fn resource(&mut self, value: &'v Value, place: Place) {
        let Some(object) = value.as_object() else {
            return self.find(Problem::Type { expected: "an object" });
        };
        let Some(named) = object.get("resourceType") else {
            return self.find_at("resourceType", Problem::Missing);
        };
        let known = named.as_str().and_then(|name| self.tables.resource(name));
        let Some(id) = known else { return self.find_at("resourceType", Problem::UnknownType) };
        let type_ = self.tables.get(id);
        let named = self.path.is_empty();
        if named {
            self.path.push(Step::Name(type_.name));
        }
        match place {
            Place::Contained => self.object(type_, object),
            Place::Alone => self.alone(type_, object),
        }
        if named {
            self.path.pop();
        }
    }

    /// A resource with fragments of its own, and as a Bundle with entries of its own.
    fn alone(&mut self, type_: &'static Type, object: &'v Object) {
        let contained = object.get("contained").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let holder = std::mem::replace(&mut self.holder, contained);
        let fragments = std::mem::take(&mut self.fragments);
        let entries =
            (type_.name == "Bundle").then(|| std::mem::replace(&mut self.entries, bundle::Entries::of(object)));
        self.object(type_, object);
        self.contained_in_use();
        self.holder = holder;
        self.fragments = fragments;
        if let Some(entries) = entries {
            self.entries = entries;
        }
    }

    /// Contained resources serve the one around them: each has an id of its own and is referred to.
    fn contained_in_use(&mut self) {
        let holder = self.holder;
        if holder.is_empty() {
            return;
        }
        self.fragments.sort_unstable();
        let mut ids = std::collections::HashSet::new();
        for (at, resource) in holder.iter().enumerate() {
            let Some(id) = resource.get("id").and_then(Value::as_str) else {
                self.find_in("contained", at, Problem::Invariant { rule: "dom-3", meaning: rules::DOM_3 });
                continue;
            };
            if !ids.insert(id) {
                self.find_in("contained", at, Problem::ContainedTwice);
            }
            let used = self.fragments.binary_search(&id).is_ok() || refers_to_holder(resource);
            if !used {
                self.find_in("contained", at, Problem::Invariant { rule: "dom-3", meaning: rules::DOM_3 });
            }
        }
    }

    fn object(&mut self, type_: &'static Type, object: &'v Object) {
        if object.is_empty() {
            return self.find(Problem::Empty);
        }
        let siblings = object.keys().any(|key| key.starts_with('_'));
        let mut seen: Vec<(usize, &str)> = Vec::with_capacity(object.len());
        for (name, value) in object {
            let (base, is_sibling) = name.strip_prefix('_').map_or((name.as_str(), false), |base| (base, true));
            let Some(key) = type_.key(base) else {
                // The name of the type stands beside the elements of a resource alone.
                if !(name == "resourceType" && self.tables.resource(type_.name).is_some()) {
                    self.unknown(type_, name);
                }
                continue;
            };
            if !seen.contains(&(key.element, base)) {
                seen.push((key.element, base));
            }
            let element = &type_.elements[key.element];
            let (Shape::Primitive(_), true) = (&key.shape, is_sibling) else {
                if is_sibling {
                    self.find_at(name, Problem::Unknown { near: None });
                    continue;
                }
                let sibling = if siblings { object.get(&format!("_{name}")) } else { None };
                self.under(Step::Name(name), |walk| walk.element(element, key, value, sibling));
                continue;
            };
            if !object.contains_key(base) {
                self.under(Step::Name(name), |walk| walk.lone_sibling(element, value));
            }
        }
        self.complete(type_, &seen);
        rules::check(self, type_.name, object);
    }

    fn unknown(&mut self, type_: &'static Type, name: &'v str) {
        let near = nearest(type_, name);
        self.find_at(name, Problem::Unknown { near });
    }

    /// Required elements and choices.
    fn complete(&mut self, type_: &'static Type, seen: &[(usize, &str)]) {
        for (at, element) in type_.elements.iter().enumerate() {
            let count = seen.iter().filter(|(e, _)| *e == at).count();
            if count == 0 && element.required {
                self.find_at(element.name, Problem::Missing);
            } else if count > 1 {
                self.find_at(element.name, Problem::SeveralChoices { choice: element.name });
            } else if count > 0 && element.max == Max::None {
                self.find_at(element.name, Problem::NotAllowed);
            }
        }
    }

    fn element(&mut self, element: &'static Element, key: &'static Key, value: &'v Value, sibling: Option<&'v Value>) {
        match (element.max, value) {
            (Max::Many, Value::Array(list)) => self.list(element, key, list, sibling),
            (Max::Many, _) => self.find(Problem::List),
            (Max::One | Max::None, Value::Array(_)) => self.find(Problem::Single),
            (Max::One | Max::None, value) => self.item(element, key, value, sibling),
        }
    }

    fn list(&mut self, element: &'static Element, key: &'static Key, list: &'v [Value], sibling: Option<&'v Value>) {
        if list.is_empty() {
            return self.find(Problem::Empty);
        }
        let beside = match sibling {
            None => None,
            Some(Value::Array(beside)) if beside.len() == list.len() => Some(beside),
            Some(_) => return self.find(Problem::Siblings),
        };
        for (at, value) in list.iter().enumerate() {
            let sibling = beside.and_then(|b| b.get(at)).filter(|s| !s.is_null());
            self.under(Step::At(at), |walk| match (value, &key.shape) {
                (Value::Array(_), _) => walk.find(Problem::Single),
                // The extension in its place says why there is no value.
                (Value::Null, Shape::Primitive(_)) if sibling.is_some() => walk.beside(sibling),
                _ => walk.item(element, key, value, sibling),
            });
        }
    }

    fn item(&mut self, element: &'static Element, key: &'static Key, value: &'v Value, sibling: Option<&'v Value>) {
        if value.is_null() {
            return self.find(Problem::Null);
        }
        match &key.shape {
            Shape::Primitive(primitive) => {
                self.primitive(*primitive, element.set, value);
                self.beside(sibling);
            }
            Shape::Complex(id) => self.complex(*id, element.set, value),
            Shape::Reference(targets) => self.reference(targets, value),
            Shape::Resource if key.json == "contained" => self.contained(value),
            Shape::Resource => self.resource(value, Place::Alone),
        }
        if key.json == "modifierExtension" {
            self.modifier(value);
        }
    }

    fn primitive(&mut self, primitive: Primitive, set: Option<SetId>, value: &'v Value) {
        if !primitive.has_json_type(value) {
            return self.find(Problem::Type { expected: primitive.json() });
        }
        let text = value.as_str();
        if text == Some("") {
            return self.find(Problem::Empty);
        }
        if !primitive.has_form(value) {
            return self.find(Problem::Primitive { kind: primitive });
        }
        if let (Primitive::Xhtml, Some(text)) = (primitive, text) {
            narrative::check(self, text);
        }
        if let (Primitive::Uri | Primitive::Url | Primitive::Canonical, Some(text)) = (primitive, text) {
            self.fragments.extend(text.strip_prefix('#'));
        }
        if let (Some(set), Some(code)) = (set, text) {
            codes::check_code(self, set, code);
        }
    }

    /// The extensions beside a primitive's value.
    fn beside(&mut self, sibling: Option<&'v Value>) {
        let Some(sibling) = sibling else { return };
        match (sibling, self.tables.type_named("Element")) {
            (Value::Object(object), Some(id)) => self.object(self.tables.get(id), object),
            _ => self.find(Problem::Type { expected: "an object with the extensions of the value" }),
        }
    }

    /// `_x` without `x`: it must have an extension, in place of the value.
    fn lone_sibling(&mut self, element: &'static Element, value: &'v Value) {
        let one = |walk: &mut Self, value: &'v Value| {
            walk.beside(Some(value));
            if value.is_object() && value.get("extension").is_none() {
                walk.find(Problem::Invariant { rule: "ele-1", meaning: rules::ELE_1 });
            }
        };
        match (element.max, value) {
            (Max::Many, Value::Array(list)) => {
                for (at, value) in list.iter().enumerate() {
                    self.under(Step::At(at), |walk| match value {
                        Value::Null => walk.find(Problem::Null),
                        value => one(walk, value),
                    });
                }
            }
            (Max::Many, _) => self.find(Problem::List),
            (Max::One | Max::None, Value::Array(_)) => self.find(Problem::Single),
            (Max::One | Max::None, value) => one(self, value),
        }
    }

    fn complex(&mut self, id: TypeId, set: Option<SetId>, value: &'v Value) {
        let Some(object) = value.as_object() else {
            return self.find(Problem::Type { expected: "an object" });
        };
        let type_ = self.tables.get(id);
        self.object(type_, object);
        if let Some(set) = set {
            codes::check_object(self, set, type_.name, object);
        }
    }

    fn reference(&mut self, targets: &'static [&'static str], value: &'v Value) {
        let Some(id) = self.tables.type_named("Reference") else { return };
        self.complex(id, None, value);
        if let Some(object) = value.as_object() {
            target::check(self, targets, object);
        }
    }

    fn contained(&mut self, value: &'v Value) {
        let meta = value.get("meta");
        let has = |name| meta.is_some_and(|meta| meta.get(name).is_some());
        if value.get("contained").is_some() {
            self.find_at("contained", Problem::Invariant { rule: "dom-2", meaning: rules::DOM_2 });
        }
        if has("versionId") || has("lastUpdated") {
            self.find_at("meta", Problem::Invariant { rule: "dom-4", meaning: rules::DOM_4 });
        }
        if has("security") {
            self.find_at("meta", Problem::Invariant { rule: "dom-5", meaning: rules::DOM_5 });
        }
        self.resource(value, Place::Contained);
    }

    fn modifier(&mut self, extension: &Value) {
        let url = extension.get("url").and_then(Value::as_str);
        if !url.is_some_and(|url| self.validator.modifier_extensions.contains(url)) {
            self.find(Problem::Modifier);
        }
    }
}

/// Whether a contained resource refers to the one around it.
fn refers_to_holder(value: &Value) -> bool {
    match value {
        Value::Object(object) => {
            object.iter().any(|(name, value)| (name == "reference" && value == "#") || refers_to_holder(value))
        }
        Value::Array(list) => list.iter().any(refers_to_holder),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn shown(name: &str) -> &str {
    let base = name.strip_suffix("[x]").unwrap_or(name);
    let plain = base.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain && name.len() <= SHOWN_NAME_CHARS_MAX { name } else { "?" }
}

/// The element whose name is the likest, if any is like.
fn nearest(type_: &'static Type, name: &str) -> Option<&'static str> {
    if name.len() > SHOWN_NAME_CHARS_MAX {
        return None;
    }
    let near = type_.names().map(|known| (distance(known, name), known)).min()?;
    let letters_max = NEAR_LETTERS_MAX.min(name.chars().count() / 2);
    (near.0 <= letters_max).then_some(near.1)
}

/// How many letters differ: put in, left out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(before + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
