use std::collections::BTreeMap;

use super::*;

#[test]
fn scripts_get_rows_of_numbers() {
    let none = BTreeMap::new();
    let row = stats::Tally::default().row(4, 2, Duration::from_secs(1), &none, consilium_usage::Used::default());
    crate::json::snapshot::check(
        "bench",
        &BenchView { note: "how it was measured".into(), submitted_bytes: Some(2_700), rows: vec![row] },
    );
}
