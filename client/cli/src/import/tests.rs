#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn scripts_get_the_summary() {
    let told = Told {
        skipped: vec![json!({ "file": "a.txt", "reason": "not FHIR" })],
        refused: vec![],
        bundles: vec![bundle(Path::new("b.json"), BundleKind::Searchset, 1, 54)],
        findings: vec![],
        deletions: vec![json!({ "file": "b.json", "resource": "Observation/7" })],
    };
    let summary = ImportSummary {
        kinds: Default::default(),
        transactions: 0,
        transactions_recovered: 0,
        bundles: 1,
        bundles_divided: 0,
        records_known: 4,
        files_skipped: 1,
        refused: 0,
        bundles_in_part: 1,
        resources_refused: 1,
        deletions: 1,
        under_two: [(PatientPseudonym([1; 16]), PatientPseudonym([2; 16]))].into(),
        findings: 0,
        elapsed: std::time::Duration::ZERO,
        stopped_by: None,
    };
    crate::json::snapshot::check("import", &to_json(&summary, &told));
}

#[test]
fn an_import_of_nothing_says_what_was_found() {
    let found = Found {
        others: ["/x/notes.txt", "/x/a.pdf", "/x/b.pdf", "/x/c.pdf"].map(PathBuf::from).into(),
        hidden: 1,
        links: 2,
        ..Found::default()
    };
    assert_eq!(
        nothing_found(&["/x".into()], &found).to_string(),
        "nothing to import: /x holds no .json, .ndjson, .json.gz or .ndjson.gz file \
         (4 other files: notes.txt, a.pdf, b.pdf, ...; 1 hidden; 2 links)"
    );
    let nothing = nothing_found(&["/x".into(), "/y".into()], &Found::default()).to_string();
    assert_eq!(nothing, "nothing to import: /x, /y hold no .json, .ndjson, .json.gz or .ndjson.gz file");
}

#[test]
fn what_was_imported_before_is_not_nothing() {
    assert!(conclude(&ImportSummary::default(), true).unwrap_err().to_string().contains("no FHIR resource"));
    assert!(conclude(&ImportSummary { records_known: 3, ..ImportSummary::default() }, true).is_ok());
    assert!(conclude(&ImportSummary { transactions: 1, ..ImportSummary::default() }, false).is_ok());
}

#[test]
fn refusals_are_counted_by_what_they_are() {
    let told = |refused, bundles_in_part, resources_refused| {
        let summary = ImportSummary { refused, bundles_in_part, resources_refused, ..ImportSummary::default() };
        conclude(&summary, true).unwrap_err().to_string()
    };
    assert_eq!(told(1, 0, 0), "1 document was refused; all others are certified");
    assert_eq!(told(0, 1, 1), "1 resource of 1 Bundle was refused; all others are certified");
    assert_eq!(told(2, 2, 3), "2 documents and 3 resources of 2 Bundles were refused; all others are certified");
}
