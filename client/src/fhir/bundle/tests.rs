#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

#[test]
fn types_are_read_and_written_alike() {
    let words = [
        "document",
        "message",
        "transaction",
        "transaction-response",
        "batch",
        "batch-response",
        "history",
        "searchset",
        "collection",
    ];
    for word in words {
        assert_eq!(BundleKind::of(Some(&json!(word))).as_str(), word);
    }
    for strange in [json!("Document"), json!(3), json!({})] {
        assert_eq!(BundleKind::of(Some(&strange)), BundleKind::Unknown);
    }
    assert!(BundleKind::of(None).belongs_together(), "what is not known is not torn apart");
    assert!(!BundleKind::Searchset.belongs_together() && BundleKind::Transaction.belongs_together());
}

#[test]
fn deletions_name_what_they_delete() {
    let home = Home::new("a.example", []);
    let of = |method: &str, url: &str, full: Option<&str>| {
        Deletion::of(Some(&json!({ "method": method, "url": url })), full, &home)
    };
    assert_eq!(of("DELETE", "Patient/1", None).unwrap().resource(), Some(("Patient", "1")));
    assert_eq!(of("DELETE", "Patient/1/_history/2", None).unwrap().resource(), Some(("Patient", "1")));
    let by_url = of("DELETE", "", Some("https://ehr.example/fhir/Observation/7")).unwrap();
    assert_eq!(by_url.resource(), Some(("Observation", "7")));
    assert_eq!(of("DELETE", "Patient?identifier=s|v", None).unwrap().resource(), None);
    assert_eq!(of("PUT", "Patient/1", None), None);
    assert_eq!(Deletion::of(None, Some("Patient/1"), &home), None);
    assert!(!format!("{by_url:?}").contains('7'));
}
