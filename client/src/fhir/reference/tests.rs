#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use serde_json::json;

const UUID: &str = "2be9b668-847a-4437-b33a-bdc38c665e08";

fn home() -> Home {
    Home::new(
        "a.example",
        ["https://ehr.a.example/fhir".parse().unwrap(), "http://old.a.example:8080".parse().unwrap()],
    )
}

fn canonical(text: &str) -> String {
    Reference::new(text).canonical(&home())
}

/// The first of each is the canonical form; all others are the same patient.
const GROUPS: [&[&str]; 8] = [
    &[
        "urn:uuid:2be9b668-847a-4437-b33a-bdc38c665e08",
        "Patient/2be9b668-847a-4437-b33a-bdc38c665e08",
        "/Patient/2be9b668-847a-4437-b33a-bdc38c665e08",
        "Patient/2BE9B668-847A-4437-B33A-BDC38C665E08",
        "URN:UUID:2be9b668-847A-4437-b33a-bdc38c665e08",
        "Urn:Uuid:2be9b668-847a-4437-b33a-bdc38c665e08",
        "urn:uuid:2BE9B668-847A-4437-B33A-BDC38C665E08",
        "https://ehr.a.example/fhir/Patient/2be9b668-847a-4437-b33a-bdc38c665e08/_history/3",
        "https://lab.example/Patient/2be9b668-847a-4437-b33a-bdc38c665e08",
        "b.example/Patient/2be9b668-847a-4437-b33a-bdc38c665e08",
    ],
    &[
        "a.example/Patient/123",
        "Patient/123",
        "/Patient/123",
        "//Patient/123",
        "Patient/123/",
        "Patient/123/_history/9",
        "Patient/123/_history",
        "/Patient/123/_history/9",
        "Patient/%3123",
        "Patient/12%33",
        "https://ehr.a.example/fhir/Patient/123",
        "http://ehr.a.example/fhir/Patient/123",
        "HTTPS://EHR.A.Example/fhir/Patient/123",
        "https://ehr.a.example:443/fhir/Patient/123",
        "https://ehr.a.example/fhir/Patient/123/",
        "https://ehr.a.example/fhir/Patient/123/_history/1",
        "https://ehr.a.example/%66hir/Patient/123",
        "http://old.a.example:8080/Patient/123",
    ],
    &[
        "https://lab.example/r4/Patient/123",
        "HTTPS://Lab.Example/r4/Patient/123",
        "https://lab.example:443/r4/Patient/123",
        "https://lab.example/r4/Patient/123/_history/7",
        "https://lab.example/r4/Patient/123/",
        "https://lab.example/r4/Patient/%31%32%33",
    ],
    &["b.example/Patient/123", "b.example/Patient/123/_history/2"],
    &[
        "http://mrn.example|12/3",
        "Patient?identifier=http://mrn.example|12/3",
        "Patient?identifier=http://mrn.example%7C12/3",
        "Patient?identifier=http://mrn.example%7c12%2F3",
        "Patient?identifier=http%3A%2F%2Fmrn.example%7C12%2f3",
        "/Patient?identifier=http://mrn.example|12/3",
        "https://ehr.a.example/fhir/Patient?identifier=http://mrn.example|12/3",
        "Patient?identifier=http://mrn.example|12/3&",
    ],
    &["s|a b", "Patient?identifier=s|a b", "Patient?identifier=s|a%20b"],
    &[
        "a.example/Patient?family=x&given=y",
        "Patient?family=x&given=y",
        "Patient?given=y&family=x",
        "https://ehr.a.example/fhir/Patient?given=%79&family=x",
    ],
    &["urn:oid:1.2.3", "URN:OID:1.2.3", "urn:OID:1.2.3"],
];

#[test]
fn spellings_of_one_patient_agree_and_groups_differ() {
    for group in GROUPS {
        for text in group {
            assert_eq!(canonical(text), group[0], "{text}");
        }
    }
    let distinct: BTreeSet<_> = GROUPS.iter().map(|group| group[0]).collect();
    assert_eq!(distinct.len(), GROUPS.len());
}

#[test]
fn what_means_two_patients_stays_two() {
    for (one, other) in [
        ("Patient/123", "b.example/Patient/123"),
        ("Patient/123", "https://lab.example/fhir/Patient/123"),
        ("Patient/abc", "Patient/ABC"),
        ("https://lab.example/fhir/Patient/1", "https://lab.example/FHIR/Patient/1"),
        ("https://lab.example/fhir/Patient/1", "https://lab.example:8443/fhir/Patient/1"),
        ("https://ehr.a.example/fhir/Patient/1", "https://ehr.a.example/other/Patient/1"),
        ("https://ehr.a.example/fhir/Patient/1", "https://ehr.a.example/fhir/fhir/Patient/1"),
        ("Patient?identifier=s|a%2Bb", "Patient?identifier=s|a b"),
        ("Patient?identifier=s|a&birthdate=1970-01-01", "Patient?identifier=s|a"),
        ("Patient?family=a%26b", "Patient?family=a&b"),
        ("Patient/a%2Fb", "Patient/a/b"),
        ("Patient/%2531", "Patient/1"),
        ("urn:oid:1.2.3", "urn:oid:1.2.4"),
    ] {
        assert_ne!(canonical(one), canonical(other), "{one} {other}");
    }
    assert_eq!(canonical("Patient?identifier=s|a+b"), "s|a+b", "a plus sign is no space");
}

#[test]
fn what_is_no_reference_stays_as_it_is() {
    for text in ["http://mrn.example|12/3", "HTTP://mrn.example|12/3", "12345", "", "/", "Patient", "%zz", "urn:"] {
        assert_eq!(canonical(text), text);
    }
}

#[test]
fn kinds() {
    let kind = |text| Reference::new(text).kind(&home());
    assert_eq!(kind("Group/1"), Some("Group"));
    assert_eq!(kind("Practitioner?identifier=a|b"), Some("Practitioner"));
    assert_eq!(kind("https://lab.example/Practitioner/1/_history/1"), Some("Practitioner"));
    assert_eq!(kind("urn:uuid:x"), None);
    assert_eq!(kind("nonsense/1"), None);
}

#[test]
fn base_urls_are_addresses_of_servers() {
    let base = |text: &str| text.parse::<BaseUrl>();
    assert_eq!(base("HTTPS://EHR.example:443/fhir/"), base("http://ehr.example/fhir"));
    assert_ne!(base("https://ehr.example/fhir"), base("https://ehr.example/FHIR"));
    for text in
        ["", "ehr.example/fhir", "ftp://ehr.example", "https://", "https://e/x?y", "https://u@e/x", "https://e x"]
    {
        let error = base(text).unwrap_err().to_string();
        assert!(error.contains("is no base URL of a FHIR server"), "{error}");
    }
}

fn former(text: &str) -> Vec<String> {
    Reference::new(text).named(&home()).former().map(str::to_owned).collect()
}

#[test]
fn former_spellings_are_still_known() {
    assert_eq!(former("Patient/123"), [""; 0], "this one never changed");
    assert_eq!(former("/Patient/123"), ["/Patient/123"]);
    assert_eq!(former("https://ehr.a.example/fhir/Patient/123"), ["https://ehr.a.example/fhir/Patient/123"]);
    assert_eq!(former("URN:UUID:AB"), ["URN:UUID:AB"]);
    assert_eq!(former("Patient?identifier=http%3A%2F%2Fm%7C1"), ["http%3A%2F%2Fm|1"]);
    // Two hospitals had one name for two people: nobody is found by it.
    assert_eq!(former("Patient?family=x"), [""; 0]);
}

fn place(home: &Home, full_url: Option<&str>, resource: &serde_json::Value) -> Place {
    let kind = resource["resourceType"].as_str().unwrap();
    Place::of(full_url, kind, resource, || "urn:sha256:00".into(), home)
}

#[test]
fn a_bundle_resolves_urls_and_identifiers() {
    let home = Home::new("a.example", []);
    let patient = json!({"resourceType": "Patient", "id": "7", "identifier": [{"system": "s", "value": "v"}]});
    let mut scope = Scope::default();
    let at = place(&home, Some("urn:uuid:ABC"), &patient);
    scope.add(Some("urn:uuid:ABC"), "Patient", &patient, &at, &home);
    let resolve = |text: &str| scope.resolve(text, &at, &home);
    for text in ["urn:uuid:abc", "urn:uuid:ABC", "Patient?identifier=s|v", "Patient?identifier=s%7Cv", "Patient/7"] {
        assert_eq!(resolve(text).name.canonical(), "a.example/Patient/7", "{text}");
        assert_eq!(resolve(text).kind, Some("Patient"));
    }
    assert_eq!(resolve("Practitioner?identifier=s|v").name.canonical(), "s|v");
    assert_eq!(resolve("urn:uuid:other").name.canonical(), "urn:uuid:other");
}

#[test]
fn a_patient_without_an_id_is_called_as_the_bundle_calls_it() {
    let home = home();
    let patient = json!({"resourceType": "Patient", "identifier": [{"system": "s", "value": "v"}]});
    let url = Some("urn:uuid:0b");
    let at = place(&home, url, &patient);
    let mut scope = Scope::default();
    scope.add(url, "Patient", &patient, &at, &home);
    assert_eq!(at.itself.canonical(), "urn:uuid:0b");
    assert_eq!(at.itself.former().collect::<Vec<_>>(), ["urn:sha256:00"]);
    assert_eq!(scope.resolve("Patient?identifier=s|v", &at, &home).name.canonical(), "urn:uuid:0b");
    assert_eq!(place(&home, None, &patient).itself.canonical(), "urn:sha256:00");
}

#[test]
fn a_short_reference_is_of_the_server_that_the_entry_comes_from() {
    let observation = json!({"resourceType": "Observation", "id": "1"});
    let resolve = |home: &Home, url: &str| {
        let at = place(home, Some(url), &observation);
        Scope::default().resolve("Patient/2", &at, home).name
    };
    let (known, unknown) = (home(), Home::new("a.example", []));
    let (own, foreign) = ("https://ehr.a.example/fhir/Observation/1", "https://lab.example/fhir/Observation/1");
    assert_eq!(resolve(&known, own).canonical(), "a.example/Patient/2");
    assert_eq!(resolve(&known, foreign).canonical(), "https://lab.example/fhir/Patient/2");
    assert_eq!(resolve(&known, foreign).former().count(), 0, "it must not lead to the member's own patient 2");
    assert_eq!(resolve(&known, "urn:uuid:1").canonical(), "a.example/Patient/2");
    assert_eq!(resolve(&unknown, foreign).canonical(), "a.example/Patient/2", "which servers are own was not said");
    let at = place(&known, Some(foreign), &observation);
    assert_eq!(at.itself.canonical(), "https://lab.example/fhir/Observation/1");
    let other = Scope::default().resolve("b.example/Patient/2", &at, &known).name;
    assert_eq!(other.canonical(), "b.example/Patient/2");
}

proptest! {
    #[test]
    fn canonical_is_a_fixed_point(text in "[A-Za-z0-9:/?=|%#._-]{0,60}") {
        // Every form must not change again, or a person could not type back what is stored.
        let once = canonical(&text);
        prop_assert_eq!(canonical(&once), once.clone());
    }

    #[test]
    fn canonical_references_are_fixed_points(
        owner in "(https?://[A-Za-z.]{1,9}(:443|:80)?/|b.example/|/)?",
        rest in "(Patient|Group)[/?](identifier=|name=)?[A-Za-z0-9|%&=/-]{0,20}",
    ) {
        let once = canonical(&format!("{owner}{rest}"));
        // `system|value` may look like anything.
        if !once.contains('|') {
            prop_assert_eq!(canonical(&once), once.clone());
        }
    }

    #[test]
    fn never_panics(text in ".{0,100}") {
        let name = Reference::new(&text).named(&home());
        let _ = (name, Reference::new(&text).kind(&home()));
        let _ = text.parse::<BaseUrl>();
    }
}

#[test]
fn a_uuid_is_recognised() {
    assert!(is_uuid(UUID) && !is_uuid(&UUID[1..]) && !is_uuid(&UUID.replace('-', "0")));
}
