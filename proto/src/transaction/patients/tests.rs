#![allow(clippy::unwrap_used)]

use super::*;
use crate::pb::Confidentiality;

#[test]
fn representatives_alone_have_a_scope_and_one_that_limits_something() {
    let accept = |relation: PatientRelation, scope: RepresentativeScope| {
        PatientAction::accept(&pb::AcceptPatient {
            patient: vec![1; 16].into(),
            identity: format!("spiffe://a.example/patient/{}", "0a".repeat(16)),
            relation: relation.into(),
            to_ms: 5,
            evidence_sha256: vec![2; 32].into(),
            scope: Some(scope),
            ..pb::AcceptPatient::default()
        })
    };
    let normal = || RepresentativeScope { ceiling: Confidentiality::Normal.into(), ..Default::default() };
    for relation in [PatientRelation::Guardian, PatientRelation::Proxy, PatientRelation::Executor] {
        let PatientAction::Accept(accepted) = accept(relation, normal()).unwrap() else { unreachable!() };
        assert_eq!(accepted.scope, Some(normal()));
        let refused = accept(relation, RepresentativeScope::default()).unwrap_err().to_string();
        assert!(refused.contains("scope"), "{refused}");
    }
    let refused = accept(PatientRelation::Self_, normal()).unwrap_err().to_string();
    assert!(refused.contains("scope"), "{refused}");
}
