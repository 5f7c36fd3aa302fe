//! No policy widens the floor, and one that fails opens nothing.

use std::sync::LazyLock;

use consilium_policy::{DEFAULT_POLICY, Engine, Policies};
use consilium_proto::access::permits;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{AccessGround as Ground, PurposeOfUse};
use consilium_proto::purpose;
use proptest::prelude::*;
use proptest::sample::select;

use crate::case::{CONSENTS, CUSTODIAN, Case, EHR, FOREIGN, KINDS, LEVELS, RELATIONS};
use crate::model;

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::new);
static DEFAULT: LazyLock<Policies> = LazyLock::new(|| Policies::compile(DEFAULT_POLICY).unwrap());
const ALL: &str = r#"@id("all") permit (principal, action, resource);"#;
const NONE: &str = r#"@id("none") forbid (principal, action, resource);"#;
/// Fails for a reader with overdue reviews.
const FAILS: &str = r#"
    @id("all") permit (principal, action, resource);
    @id("fails") forbid (principal, action, resource)
    when { context.reader.overdueReviews + 9223372036854775807 < 0 };
"#;

fn any_case() -> impl Strategy<Value = Case> {
    let reader =
        (select(vec![CUSTODIAN, FOREIGN]), select(Role::ALL.to_vec()), select(purpose::all().collect::<Vec<_>>()));
    let record = (select(LEVELS.to_vec()), 0..4u8, any::<bool>());
    let standing = (select(RELATIONS.to_vec()), any::<bool>(), select(CONSENTS.to_vec()), any::<bool>(), any::<bool>());
    (reader, select(KINDS.to_vec()), prop_oneof![Just(0), Just(1), any::<u64>()], record, standing).prop_map(
        |((member, role, purpose), (kind, _), overdue, ((confidentiality, _), author, restricted), standing)| {
            let ((accepted_as, _), under_care, (consent, _), emergency, emergency_forbidden) = standing;
            let case = Case::new(member, role, purpose);
            let author = if author == 0 { case.reader.to_string() } else { EHR.to_owned() };
            let restricted = restricted && author == EHR;
            Case {
                kind,
                overdue,
                confidentiality,
                author,
                restricted,
                accepted_as,
                under_care,
                consent,
                emergency,
                emergency_forbidden,
                ..case
            }
        },
    )
}

/// Half of the time what emergencies are about.
fn any_purpose_of_weight() -> impl Strategy<Value = Case> {
    (any_case(), any::<bool>()).prop_map(|(case, btg)| match btg {
        true => Case { purpose: PurposeOfUse::Btg, ..case },
        false => case,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_floor_cannot_be_widened(case in any_purpose_of_weight()) {
        let engine = &ENGINE;
        let facts = case.facts();
        let floor = facts.floor();
        prop_assert_eq!(engine.decide(ALL, &facts), Ok(floor));
        let denied = if permits(floor) { Ground::Policy } else { floor };
        prop_assert_eq!(engine.decide(NONE, &facts), Ok(denied));
        let broken = if permits(floor) { Ground::PolicyError } else { floor };
        prop_assert_eq!(engine.decide("no policy", &facts), Ok(broken));
        let failing = if permits(floor) && case.overdue > 0 { Ground::PolicyError } else { floor };
        prop_assert_eq!(engine.decide(FAILS, &facts), Ok(failing));
    }

    #[test]
    fn the_default_policy_says_what_the_model_says(case in any_purpose_of_weight()) {
        prop_assert_eq!(DEFAULT.decide(&case.facts()), Ok(model::decide(&case)));
    }
}

#[test]
fn a_policy_may_name_readers_and_records() {
    let text = r#"
        @id("all") permit (principal, action, resource);
        @id("not-her") forbid (principal == Identity::"spiffe://lakeside.example/clinician/n-4711", action, resource);
        @id("not-this") forbid (principal, action in [Action::"export"], resource)
        when { resource == Record::"abababababababababababababababab" };
    "#;
    let policies = Policies::compile(text).unwrap();
    let consent = CONSENTS[1].0;
    let her = Case { consent, ..Case::new(FOREIGN, Role::Clinician, PurposeOfUse::Treat) };
    assert_eq!(policies.decide(&her.facts()), Ok(Ground::Policy));
    let reader: SpiffeId = "spiffe://lakeside.example/clinician/other".parse().unwrap();
    let other = Case { reader, ..her };
    assert_eq!(policies.decide(&other.facts()), Ok(Ground::Consent));
    let export = Case { kind: KINDS[3].0, ..other };
    assert_eq!(policies.decide(&export.facts()), Ok(Ground::Policy));
}
