use super::*;
use crate::json::snapshot;

#[test]
fn a_person_whose_name_is_no_number_is_warned_about() {
    assert!(is_telling(Role::Clinician, "miller") && is_telling(Role::Researcher, "dr-who"));
    assert!(!is_telling(Role::Clinician, "c-4711") && !is_telling(Role::Service, "ehr"));
}

#[test]
fn scripts_get_what_was_issued_revoked_and_found() {
    let ca = CaView { member: "a.example".into(), certificate: "ca.pem".into(), not_after: time_s(0) };
    snapshot::check("ca", &ca);
    let issued = IssuedView {
        spiffe_id: "spiffe://a.example/node/n1".into(),
        serial: "0a".into(),
        certificate: "node-n1.pem".into(),
        key: Some("node-n1.key".into()),
        not_after: time_s(0),
    };
    snapshot::check("issued", &issued);
    snapshot::check("revoked", &RevokedView { revoked: vec!["0a".into()] });
    snapshot::check("revocation-list", &CrlView { file: "ca.crl".into() });
    let (not_before, not_after) = (time_s(0), time_s(1));
    let identity = Inspected::Identity {
        spiffe_id: "spiffe://a.example/node/n1".into(),
        serial: "0a".into(),
        fingerprint: "ab".repeat(32),
        not_before: not_before.clone(),
        not_after: not_after.clone(),
    };
    let ca = Inspected::Ca { member: "a.example".into(), serial: "0b".into(), path_length: 0, not_before, not_after };
    let crl = Inspected::Crl {
        number: "1".into(),
        this_update: time_s(0),
        next_update: time_s(1),
        revoked: vec!["0a".into()],
    };
    let problems = vec!["extension keyUsage is missing".into()];
    let outside = Inspected::Outside { problem: "no identity: extension keyUsage is missing".into(), problems };
    snapshot::check("inspected", &[identity, ca, crl, outside]);
}

#[test]
fn a_certificate_outside_the_profile_is_told_with_all_reasons() {
    let Inspected::Outside { problem, problems } = outside(b"x") else { panic!("found to be inside") };
    assert_eq!(problems, ["not a DER certificate: structure"]);
    assert_eq!(problem, "no certificate: not a DER certificate: structure");
    let two = Inspected::Outside { problem: String::new(), problems: vec!["one".into(), "two".into()] };
    assert_eq!(describe(&two), "outside the profile:\n  one\n  two");
}
