//! The definitions of R4, as the walk needs them: read once from `r4.tables`, which is part of the
//! program. The form of the file is described in client/fhir-tables/generate.py.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use super::primitive::Primitive;

const TEXT: &str = include_str!("r4.tables");

/// Types, elements and codes.
#[derive(Debug)]
pub(super) struct Tables {
    types: Vec<Type>,
    by_name: HashMap<&'static str, TypeId>,
    sets: Vec<Set>,
    /// Keys of all invariants of severity error, with the types that have them.
    pub(super) invariants: Vec<(&'static str, &'static str)>,
}

/// Place of a type in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TypeId(usize);

/// A resource, a data type, or an element with elements of its own.
#[derive(Debug)]
pub(super) struct Type {
    /// Inner ones by path: `Observation.component`.
    pub(super) name: &'static str,
    /// With those of its bases.
    pub(super) elements: Vec<Element>,
    /// By JSON name, ascending.
    keys: Vec<Key>,
    base: Option<&'static str>,
}

/// An element of a type.
#[derive(Debug, Clone)]
pub(super) struct Element {
    /// As in the definition: `value[x]` for a choice.
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) max: Max,
    /// Of a required binding.
    pub(super) set: Option<SetId>,
    types: &'static str,
}

/// How often an element may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Max {
    /// Not at all: a profile of a data type forbids it.
    None,
    /// Once, and not as a list.
    One,
    /// As a list.
    Many,
}

/// A name by which an element stands in JSON.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) json: Cow<'static, str>,
    /// Place in [`Type::elements`].
    pub(super) element: usize,
    pub(super) shape: Shape,
}

/// What stands there.
#[derive(Debug)]
pub(super) enum Shape {
    Primitive(Primitive),
    Complex(TypeId),
    /// A Reference to one of these types; empty: to any.
    Reference(Vec<&'static str>),
    /// Any resource.
    Resource,
}

/// Place of a value set in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetId(usize);

/// A value set of a required binding.
#[derive(Debug)]
pub(super) struct Set {
    /// The end of its URL.
    pub(super) name: &'static str,
    pub(super) codes: Codes,
}

/// Which codes it has.
#[derive(Debug)]
pub(super) enum Codes {
    /// By code system.
    Listed(Vec<(&'static str, HashSet<Cow<'static, str>>)>),
    /// Another body keeps the list; the form is checked.
    Form,
}

/// The tables, read at the first call.
pub(super) fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| Tables::read(TEXT).expect("r4.tables is part of the program, and a test reads it"))
}

impl Tables {
    pub(super) fn type_named(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0]
    }

    pub(super) fn set(&self, id: SetId) -> &Set {
        &self.sets[id.0]
    }

    /// The type of a resource that may stand in a document.
    pub(super) fn resource(&self, name: &str) -> Option<TypeId> {
        let id = self.type_named(name)?;
        let concrete = matches!(self.get(id).base, Some("DomainResource" | "Resource")) && name != "DomainResource";
        concrete.then_some(id)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.types.len(), self.sets.len())
    }

    /// Reads the file. The error is a line that means nothing.
    fn read(text: &'static str) -> Result<Self, &'static str> {
        let mut out = Self { types: Vec::new(), by_name: HashMap::new(), sets: Vec::new(), invariants: Vec::new() };
        let set_names = set_names(text);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            out.line(line, &set_names).ok_or(line)?;
        }
        for (at, name) in set_names.iter().enumerate().skip(out.sets.len()) {
            debug_assert_eq!(out.sets.len(), at, "listed sets come first");
            out.sets.push(Set { name, codes: Codes::Form });
        }
        out.inherit()?;
        out.name_keys()?;
        Ok(out)
    }

    fn line(&mut self, line: &'static str, set_names: &[&'static str]) -> Option<()> {
        let mut words = line.split(' ');
        match words.next()? {
            "T" => {
                let (name, base) = (words.next()?, words.next()?);
                self.by_name.insert(name, TypeId(self.types.len()));
                let base = (base != "-").then_some(base);
                self.types.push(Type { name, base, elements: Vec::new(), keys: Vec::new() });
            }
            "E" => {
                let (name, min, max, types) = (words.next()?, words.next()?, words.next()?, words.next()?);
                let set = match words.next() {
                    Some(word) => {
                        let name = word.strip_prefix('!')?;
                        Some(SetId(set_names.iter().position(|n| *n == name)?))
                    }
                    None => None,
                };
                let max = match max {
                    "0" => Max::None,
                    "1" => Max::One,
                    _ => Max::Many,
                };
                let element = Element { name, required: min != "0", max, set, types };
                self.types.last_mut()?.elements.push(element);
            }
            "V" => self.sets.push(Set { name: words.next()?, codes: Codes::Listed(Vec::new()) }),
            "S" => {
                let system = words.next()?;
                let Codes::Listed(systems) = &mut self.sets.last_mut()?.codes else { return None };
                systems.push((system, words.map(code).collect()));
            }
            "I" => self.invariants.push((words.next()?, words.next()?)),
            _ => return None,
        }
        Some(())
    }

    /// Puts the elements of the bases before a type's own.
    fn inherit(&mut self) -> Result<(), &'static str> {
        let own: HashMap<&str, (Option<&'static str>, Vec<Element>)> =
            self.types.iter().map(|t| (t.name, (t.base, t.elements.clone()))).collect();
        for type_ in &mut self.types {
            let mut base = type_.base;
            while let Some(name) = base {
                let (next, elements) = own.get(name).ok_or(name)?;
                type_.elements.splice(0..0, elements.iter().cloned());
                base = *next;
            }
        }
        Ok(())
    }

    fn name_keys(&mut self) -> Result<(), &'static str> {
        for at in 0..self.types.len() {
            let mut keys = Vec::new();
            for (element, of) in self.types[at].elements.iter().enumerate() {
                for type_ in of.types.split(',') {
                    let shape = self.shape(type_).ok_or(type_)?;
                    let json = match of.name.strip_suffix("[x]") {
                        Some(choice) => Cow::Owned(format!("{choice}{}", suffix(type_))),
                        None => Cow::Borrowed(of.name),
                    };
                    keys.push(Key { json, element, shape });
                }
            }
            keys.sort_by(|a, b| a.json.cmp(&b.json));
            self.types[at].keys = keys;
        }
        Ok(())
    }

    fn shape(&self, type_: &'static str) -> Option<Shape> {
        if let Some(targets) = type_.strip_prefix("Reference(") {
            let targets = targets.strip_suffix(')')?;
            let any = targets == "Resource";
            return Some(Shape::Reference(if any { Vec::new() } else { targets.split('|').collect() }));
        }
        if type_ == "Resource" {
            return Some(Shape::Resource);
        }
        match Primitive::named(type_) {
            Some(primitive) => Some(Shape::Primitive(primitive)),
            None => self.type_named(type_).map(Shape::Complex),
        }
    }
}

impl Type {
    /// The element that stands under a JSON name.
    pub(super) fn key(&self, json: &str) -> Option<&Key> {
        self.keys.binary_search_by(|key| key.json.as_ref().cmp(json)).ok().map(|at| &self.keys[at])
    }

    /// All JSON names, ascending.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.json.as_ref())
    }
}

/// All value sets: those that are listed in their order, then those that elements name alone.
fn set_names(text: &'static str) -> Vec<&'static str> {
    let listed = text.lines().filter_map(|line| line.strip_prefix("V ")?.split(' ').next());
    let mut out: Vec<&str> = listed.collect();
    for line in text.lines().filter(|line| line.starts_with("E ")) {
        if let Some((_, name)) = line.split_once('!')
            && !out.contains(&name)
        {
            out.push(name);
        }
    }
    out
}

fn code(word: &'static str) -> Cow<'static, str> {
    if word.contains("%20") { Cow::Owned(word.replace("%20", " ")) } else { Cow::Borrowed(word) }
}

/// What a type adds to the name of a choice. Profiles of Quantity stand as `Quantity`.
fn suffix(type_: &str) -> String {
    let name = type_.split('(').next().unwrap_or(type_);
    let name = if matches!(name, "SimpleQuantity" | "MoneyQuantity") { "Quantity" } else { name };
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}
