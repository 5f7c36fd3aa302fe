//! Required bindings: the code must be one of a value set's. Bindings that are extensible,
//! preferred or examples leave the choice to the author, and are not looked at.

use serde_json::Value;

use super::Problem;
use super::tables::{Codes, Set, SetId};
use super::walk::{Object, Walk};

/// A `code` on its own, which has no system.
pub(super) fn check_code(walk: &mut Walk<'_>, set: SetId, code: &str) {
    let set = walk.tables.set(set);
    let known = match &set.codes {
        Codes::Listed(systems) => systems.iter().any(|(_, codes)| codes.contains(code)),
        Codes::Form => has_form(set.name, code),
    };
    if !known {
        walk.find(Problem::Code { set: set.name });
    }
}

/// A Coding, CodeableConcept or Quantity.
pub(super) fn check_object<'v>(walk: &mut Walk<'v>, set: SetId, type_: &str, object: &'v Object) {
    let set = walk.tables.set(set);
    match type_ {
        "Coding" if object.contains_key("code") && !has_coding(set, object) => {
            walk.find(Problem::Code { set: set.name });
        }
        "CodeableConcept" => {
            let codings = object.get("coding").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let coded = codings.iter().any(|coding| coding.get("code").is_some());
            if !coded && object.contains_key("text") {
                walk.find(Problem::NoCode { set: set.name });
            } else if coded && !codings.iter().filter_map(Value::as_object).any(|coding| has_coding(set, coding)) {
                walk.find(Problem::Code { set: set.name });
            }
        }
        // The unit of a Quantity: UCUM keeps its codes, and they are not looked at.
        _ => {}
    }
}

fn has_coding(set: &Set, coding: &Object) -> bool {
    let text = |name| coding.get(name).and_then(Value::as_str);
    let Some(code) = text("code") else { return false };
    match &set.codes {
        Codes::Listed(systems) => {
            systems.iter().any(|(system, codes)| text("system") == Some(*system) && codes.contains(code))
        }
        Codes::Form => has_form(set.name, code),
    }
}

/// Sets whose list another body keeps. The generator lets no other one through.
fn has_form(set: &str, code: &str) -> bool {
    match set {
        "mimetypes" => is_mime_type(code),
        "currencies" => code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()),
        // UCUM's terms are printable ASCII without spaces.
        "ucum-units" => code.bytes().all(|b| b.is_ascii_graphic()),
        _ => true,
    }
}

/// `type/subtype` of RFC 2045, perhaps with parameters; R4's examples also have the type alone.
fn is_mime_type(text: &str) -> bool {
    let name = text.split(';').next().unwrap_or("").trim_ascii();
    let token = |part: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&b);
        !part.is_empty() && part.bytes().all(allowed)
    };
    match name.split_once('/') {
        Some((type_, subtype)) => token(type_) && token(subtype),
        // `json`, `xml` and `ttl` are R4's own short names of its formats.
        None => matches!(name, "json" | "xml" | "ttl"),
    }
}
