use super::*;

#[test]
fn scripts_get_an_enrolment() {
    let found = pb::GetIdentityResponse {
        identity: Some(pb::IdentityState {
            certificate_sha256: vec![1; 32].into(),
            signing_key_id: vec![2; 32].into(),
            unit: "W-07".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let id = "spiffe://a.example/service/ehr".parse().expect("a SPIFFE id");
    crate::json::snapshot::check("identity", &view(&id, &found));
}
