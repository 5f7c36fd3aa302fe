//! What the default policy promises, said once more where it matters most.

use consilium_policy::{DEFAULT_POLICY, ENGINE_VERSION, Policies, check};
use consilium_proto::access::permits;
use consilium_proto::consent::Said;
use consilium_proto::names::Role;
use consilium_proto::pb::{AccessGround as Ground, Confidentiality, PatientRelation, PurposeOfUse as P};

use crate::case::{CUSTODIAN, Case, FOREIGN};

fn decide(case: &Case) -> Ground {
    Policies::compile(DEFAULT_POLICY).unwrap().decide(&case.facts()).unwrap()
}

#[test]
fn it_is_a_policy() {
    assert_eq!(check(DEFAULT_POLICY), Ok(()));
}

#[test]
fn what_the_page_for_people_shows_is_a_policy() {
    let page = include_str!("../../../../docs/access-policy.md");
    let examples: Vec<_> = page.split("```").skip(1).step_by(2).filter(|block| block.contains("@id")).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        assert_eq!(check(example), Ok(()), "{example}");
    }
    for rule in DEFAULT_POLICY.split("\n@id(\"").skip(1) {
        let id = rule.split('"').next().unwrap();
        assert!(page.contains(&format!("\n| `{id}` | ")), "{id}");
    }
}

#[test]
fn the_engine_is_the_one_that_was_agreed_on() {
    assert_eq!(format!("cedar-policy {}", cedar_policy::get_sdk_version()), ENGINE_VERSION);
}

#[test]
fn clinicians_read_at_home_while_the_patient_is_under_care() {
    for purpose in [P::Treat, P::Hpaymt, P::Hoperat, P::Recordmgt] {
        let case = Case::new(CUSTODIAN, Role::Clinician, purpose);
        assert_eq!(decide(&case), Ground::Policy, "{purpose:?}");
        assert_eq!(decide(&Case { under_care: true, ..case.clone() }), Ground::Custodian, "{purpose:?}");
        assert_eq!(decide(&Case { consent: Said::Permits { by_name: false }, ..case }), Ground::Custodian);
        assert_eq!(decide(&Case::new(CUSTODIAN, Role::Service, purpose)), Ground::Custodian, "{purpose:?}");
    }
}

#[test]
fn treatment_opens_no_emergency() {
    for purpose in [P::Btg, P::Ertreat] {
        let case = Case { consent: Said::Permits { by_name: true }, ..Case::new(FOREIGN, Role::Clinician, purpose) };
        assert_eq!(decide(&case), Ground::NoEmergency);
    }
    let case = Case { emergency: true, overdue: 9, ..Case::new(FOREIGN, Role::Clinician, P::Btg) };
    assert_eq!(decide(&Case { confidentiality: Confidentiality::VeryRestricted, ..case }), Ground::Emergency);
}

#[test]
fn patients_always_read_what_is_theirs() {
    for relation in [PatientRelation::Self_, PatientRelation::Guardian, PatientRelation::Proxy] {
        let case = Case::new(FOREIGN, Role::Patient, P::Patrqt);
        let case = Case { accepted_as: Some(relation), overdue: 3, consent: Said::RuleDenies, ..case };
        let case = Case { confidentiality: Confidentiality::VeryRestricted, ..case };
        assert!(permits(decide(&case)), "{case}");
    }
}
