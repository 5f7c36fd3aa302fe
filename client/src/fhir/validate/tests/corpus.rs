//! Published examples and synthetic records pass, and single defects put into them are found.

use super::*;

/// Whether it is a file of the corpus that is no resource by intent.
fn is_vector(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "primitives")
}

fn files() -> Vec<PathBuf> {
    let shared = std::env::var_os("CONSILIUM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let folder = shared.join("data/fhir");
    // This one is always at hand: the patient of the demonstration.
    let demo = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/demo/patient-bundle.json"));
    if !folder.is_dir() {
        eprintln!("SKIPPED: FHIR data absent at {}", folder.display());
        return vec![demo];
    }
    let (mut open, mut out) = (vec![folder], vec![demo]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "json" || e == "ndjson") && !is_vector(&path) {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

fn documents(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    match path.extension().is_some_and(|e| e == "ndjson") {
        true => bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect(),
        false => vec![bytes],
    }
}

#[test]
fn published_resources_pass() {
    let mut refused = Vec::new();
    for path in files() {
        for (line, document) in documents(&path).iter().enumerate() {
            let report = Validator::default().examine(document, line + 1);
            refused.extend(report.findings.iter().map(|f| format!("{}: {f}", path.display())));
        }
    }
    assert!(refused.is_empty(), "{} findings:\n{}", refused.len(), refused.join("\n"));
}

#[test]
fn a_defect_in_a_published_resource_is_found() {
    for path in files().iter().filter(|p| p.components().any(|c| c.as_os_str() == "hl7-examples")) {
        let good: Value = serde_json::from_slice(&documents(path)[0]).unwrap();
        for (pointer, value) in places(&good) {
            let mut bad = good.clone();
            *bad.pointer_mut(&pointer).unwrap() = match value {
                Value::Array(list) => list[0].clone(),
                value => json!([value]),
            };
            assert!(!found(&bad).is_empty(), "{}: {pointer} of the other cardinality is not found", path.display());
        }
        let mut bad = good.clone();
        bad["nonesuch"] = json!("x");
        assert!(!found(&bad).is_empty(), "{}", path.display());
    }
}

/// Pointers to all elements of a resource and their values, without the items of lists.
pub(super) fn places(resource: &Value) -> Vec<(String, Value)> {
    let (mut open, mut out) = (vec![(String::new(), resource)], Vec::new());
    while let Some((pointer, value)) = open.pop() {
        match value {
            Value::Object(object) => {
                for (name, value) in object.iter().filter(|(name, _)| *name != "resourceType") {
                    out.push((format!("{pointer}/{name}"), value.clone()));
                    open.push((format!("{pointer}/{name}"), value));
                }
            }
            Value::Array(list) => open.extend(list.iter().enumerate().map(|(i, v)| (format!("{pointer}/{i}"), v))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    out
}

/// A pointer as a finding writes it.
pub(super) fn rendered(pointer: &str) -> String {
    pointer.split('/').skip(1).fold("Observation".to_owned(), |path, part| match part.parse::<usize>() {
        Ok(at) => format!("{path}[{at}]"),
        Err(_) => format!("{path}.{part}"),
    })
}
