use super::*;

#[test]
fn tables_are_ascending_and_consistent() {
    assert!(CLINICAL.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(CLINICAL.iter().all(|kind| is_resource_type(kind)));
}

#[test]
fn names_are_exact() {
    assert!(is_resource_type("Observation") && needs_patient("Observation"));
    assert!(is_resource_type("Organization") && !needs_patient("Organization"));
    assert!(!is_resource_type("observation") && !is_resource_type("") && !is_resource_type("Observations"));
}
