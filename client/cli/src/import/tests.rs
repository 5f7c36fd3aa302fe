use super::*;

#[test]
fn scripts_get_the_summary() {
    let told = Told { skipped: vec![json!({ "file": "a.txt", "reason": "not FHIR" })], refused: vec![] };
    let summary = ImportSummary {
        kinds: Default::default(),
        transactions: 0,
        transactions_recovered: 0,
        bundles: 1,
        bundles_divided: 0,
        records_known: 4,
        files_skipped: 1,
        refused: 0,
        under_two: [(PatientPseudonym([1; 16]), PatientPseudonym([2; 16]))].into(),
        elapsed: std::time::Duration::ZERO,
        stopped_by: None,
    };
    crate::json::snapshot::check("import", &to_json(&summary, &told));
}
