//! Compares what scripts get with files in `tests/snapshots`, so that no field
//! changes by accident. `UPDATE_SNAPSHOTS=1` writes the files anew: then raise
//! [`super::SCHEMA`] if a field was renamed, removed or means something else,
//! and mend docs/cli-output.md.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Document;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// Fails unless `result` is printed as the file `name`.json has it.
pub(crate) fn check<T: Serialize>(name: &str, result: &T) {
    let printed = serde_json::to_string_pretty(&Document::new(result)).unwrap() + "\n";
    let path = folder().join(format!("{name}.json"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, &printed).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    // In which order the fields come, a dependency of another crate may change.
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    if value(&printed) != value(&expected) {
        assert_eq!(printed, expected, "{}: see json/snapshot.rs", path.display());
    }
}

/// Every result that is printed is described, and nothing else is.
#[test]
fn the_document_describes_every_snapshot() {
    let names = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let text = std::fs::read_to_string(folder().join("../../../../docs/cli-output.md")).unwrap();
    for name in names.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()) {
        assert!(text.contains(&format!("snapshots/{name}")), "docs/cli-output.md does not name {name}");
    }
    for link in text.split("tests/snapshots/").skip(1) {
        let name = link.split(')').next().unwrap();
        assert!(folder().join(name).is_file(), "docs/cli-output.md names {name}, which is not there");
    }
}
