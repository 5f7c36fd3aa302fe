//! Sensitivity labels under the salts that are known of a patient: of several members, and of none.

use super::export::context;
use super::*;

/// What a mapping that knows these salts reads.
fn under(salts: &'static [u8], consent: &Value) -> Result<Translation, ConsentProblem> {
    let labels = |code: &str| salts.iter().map(|salt| tag_under(*salt, "label", code)).collect();
    translate(consent.to_string().as_bytes(), &mapping().with_labels(labels))
}

fn consent(effect: &str, label: Value) -> Value {
    pcf(ALL_NORMAL, json!({ "type": "permit", "provision": [{ "type": effect, "securityLabel": [label] }] }))
}

/// What it says of a record that is labelled so.
fn said(grant: &Grant, labels: &[(u8, &str)]) -> Said {
    let tags = labels.iter().map(|(salt, code)| tag_under(*salt, "label", code)).collect();
    says(grant, &Ask { tags, ..TREATING })
}

#[test]
fn a_denied_label_is_denied_under_every_salt_and_under_those_that_are_not_known() {
    let grant = under(&[1, 2], &consent("deny", sensitive("MH"))).unwrap().grant;
    assert_eq!(grant.rules[0].tags.len(), 6, "MH, PSY and PSYTHPN under both");
    for labels in
        [&[(1, "MH")][..], &[(2, "PSYTHPN")], &[(1, "HIV"), (2, "PSY")], &[(3, "HIV")], &[(1, "HIV"), (3, "B")]]
    {
        assert_eq!(said(&grant, labels), Said::RuleDenies, "{labels:?}");
    }
    for labels in [&[][..], &[(1, "HIV")], &[(1, "HIV"), (2, "B")]] {
        assert_eq!(said(&grant, labels), Said::BasePermits, "{labels:?}");
    }
}

#[test]
fn a_permitted_label_is_permitted_under_the_known_salts_alone() {
    let consent =
        pcf(DENY, json!({ "type": "deny", "provision": [{ "type": "permit", "securityLabel": [sensitive("PSY")] }] }));
    let grant = under(&[1, 2], &consent).unwrap().grant;
    for (labels, expected) in [
        (&[(1, "PSY")][..], PERMITS),
        (&[(2, "PSY"), (2, "HIV")], PERMITS),
        (&[], Said::AllDenied),
        (&[(1, "HIV")], Said::AllDenied),
        (&[(3, "PSY")], Said::AllDenied),
    ] {
        assert_eq!(said(&grant, labels), expected, "{labels:?}");
    }
}

#[test]
fn without_a_salt_a_permit_is_refused_and_a_denial_is_one_of_all_that_is_labelled() {
    let problem = under(&[], &consent("permit", sensitive("PSY"))).unwrap_err();
    assert_eq!(problem.problem, Problem::Unrepresentable(Gap::UnknownSalt));
    assert_eq!(problem.path, "Consent.provision.provision[0].securityLabel[0]");
    let found = under(&[], &consent("deny", sensitive("PSY"))).unwrap();
    let widened: Vec<_> = found.widened.iter().map(|w| (w.path.as_str(), w.why)).collect();
    assert_eq!(widened, [("Consent.provision.provision[0].securityLabel", Gap::UnknownSalt)]);
    assert_eq!(said(&found.grant, &[(1, "HIV")]), Said::RuleDenies);
    assert_eq!(said(&found.grant, &[]), Said::BasePermits, "nothing says that this one is");
    let unknown = under(&[1], &consent("deny", sensitive("NOLABEL"))).unwrap();
    assert_eq!(unknown.widened[0].why, Gap::UnknownCode);
    assert_eq!(said(&unknown.grant, &[]), Said::RuleDenies, "it may be any record's");
}

#[test]
fn labels_are_named_where_the_viewer_knows_their_salts_and_come_back_in_any_case() {
    let written = |grant: &Grant, known: &'static [u8]| {
        let labels = |code: &str| known.iter().map(|salt| tag_under(*salt, "label", code)).collect();
        to_fhir(grant, &Context { labels: Box::new(labels), ..context() }).unwrap()
    };
    for (salts, label) in
        [(&[1, 2][..], sensitive("MH")), (&[1, 2], sensitive("SPI")), (&[1], sensitive("HIV")), (&[], sensitive("PSY"))]
    {
        let grant = under(salts, &consent("deny", label.clone())).unwrap().grant;
        if !salts.is_empty() {
            let named = written(&grant, salts);
            assert_eq!(named["provision"]["provision"][0]["securityLabel"], json!([label]));
        }
        for known in [&[][..], &[1], &[1, 2], &[1, 2, 3]] {
            let found = under(known, &written(&grant, known)).unwrap();
            assert_eq!((found.grant, found.widened), (grant.clone(), vec![]), "{salts:?} {known:?}");
        }
    }
    // Who knows no salt sees no name.
    let grant = under(&[1], &consent("deny", sensitive("HIV"))).unwrap().grant;
    assert!(!written(&grant, &[2]).to_string().contains("HIV"));
}
