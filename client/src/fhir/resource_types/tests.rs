use super::*;

#[test]
fn names_are_exact() {
    assert!(is_resource_type("Observation") && is_resource_type("Organization"));
    assert!(!is_resource_type("observation") && !is_resource_type("") && !is_resource_type("Observations"));
}
