#![allow(clippy::unwrap_used)]
use consilium_client::consents::{ConsentSays, Explained, Question};
use consilium_client::pb;
use consilium_proto::consent::{Grantee, Said as Word};
use consilium_proto::ids::TimeMs;
use consilium_proto::pb::{Confidentiality, ConsentBase, PurposeOfUse};

use super::check::CheckView;
use super::*;
use crate::json;

fn grant() -> Grant {
    let mut permit = Rule::of_effect(ConsentEffect::Permit);
    permit.grantees = vec![Grantee::Member("b.example".parse().unwrap())];
    permit.purposes = vec![PurposeOfUse::Treat];
    permit.ceiling = Some(Confidentiality::Normal);
    permit.period.to = TimeMs(86_400_000);
    let mut deny = Rule::of_effect(ConsentEffect::Deny);
    deny.kinds = vec!["Observation".into()];
    Grant { rules: vec![permit, deny], ..Grant::of_base(ConsentBase::BreakGlassOnly) }
}

fn consent() -> KnownConsent {
    let state = pb::ConsentState {
        version: 2,
        author: "spiffe://a.example/service/ehr".into(),
        paper_member: "a.example".into(),
        signed_ms: 1_000,
        ..Default::default()
    };
    KnownConsent { id: ConsentId([1; 16]), state, grant: grant() }
}

#[test]
fn who_lists_consents_is_reminded_of_those_that_end_soon() {
    let text = |consent: &KnownConsent, now| ConsentView::new(consent, &Labels::default(), TimeMs(now)).text();
    let mut known = consent();
    assert!(text(&known, 2_000).contains("REMINDER: what it says ends in part or in whole in 0 days, at 1970-01-02"));
    assert!(!text(&known, 86_400_000).contains("REMINDER"), "it has ended");
    known.grant.rules[0].period.to = TimeMs(31 * 86_400_000);
    assert!(!text(&known, 0).contains("REMINDER"), "not yet");
    known.grant.period.to = TimeMs(29 * 86_400_000);
    assert!(text(&known, 0).contains("in 29 days"), "the whole of it");
}

#[test]
fn what_scripts_get_of_a_withdrawal() {
    let transaction = crate::tests::submitted();
    let reach = reach::tests::view();
    json::snapshot::check("consent-reach", &reach);
    json::snapshot::check("consent-revoked", &RevokedView { transaction, certified_after_ms: 40, reach });
}

#[test]
fn a_grant_is_told_rule_by_rule() {
    let expected = [
        "  where no rule matches: nobody else may read, but in emergencies",
        "  permits b.example; for treatment (TREAT); up to level N; until 1970-01-02T00:00:00Z",
        "  denies everybody; of kinds Observation",
    ];
    assert_eq!(describe(&grant(), &Labels::default()), expected);
}

#[test]
fn what_denies_more_than_it_says_and_what_was_not_compared_is_shown() {
    let said = Said { grant: grant(), widened: vec!["Consent.provision.code: why".into()], patient_reference: None };
    let strangers = ["spiffe://b.example/clinician/c-9999".parse().unwrap()];
    let shown = plan(&said, (&Labels::default(), &strangers), false, Some(1));
    assert!(shown.starts_with("replaces version 1;") && shown.contains("\n  Consent.provision.code: why\n"), "{shown}");
    assert!(shown.contains("NOT compared"), "{shown}");
    assert!(shown.contains("NOBODY has ever enrolled as spiffe://b.example/clinician/c-9999"), "{shown}");
    assert!(!plan(&said, (&Labels::default(), &[]), true, None).contains("NOT compared"));
}

#[test]
fn scripts_get_consents() {
    json::snapshot::check(
        "consents",
        &ListView { consents: vec![ConsentView::new(&consent(), &Labels::default(), TimeMs(2_000))] },
    );
    let put = PutView {
        consent: "01".repeat(16),
        version: 1,
        widened: vec!["Consent.provision.code: is a condition that a grant cannot hold".into()],
        warnings: vec!["consent 02 of this identity stays in force".into()],
        transaction: crate::tests::submitted(),
    };
    json::snapshot::check("consent-put", &put);
}

#[test]
fn scripts_get_which_consent_decides() {
    let question = Question {
        reader: "spiffe://b.example/clinician/c-1".parse().unwrap(),
        purpose: PurposeOfUse::Treat,
        project: None,
        custodian: "a.example".parse().unwrap(),
        keepers: Vec::new(),
        author: None,
        record: None,
        kind: "Observation".into(),
        confidentiality: Confidentiality::Normal,
        tags: Vec::new(),
        time: TimeMs(1_000),
    };
    let id = ConsentId([1; 16]);
    let each = vec![ConsentSays { id, version: 2, binds: true, said: Word::RuleDenies }];
    let said = Explained { said: Word::RuleDenies, decided_by: Some((id, 2)), implicit: false, each };
    let view = CheckView::new(&question, &said, 9);
    json::snapshot::check("consent-check", &view);
    assert!(view.text().starts_with(&format!("consent {id} denies it by a rule\n")), "{}", view.text());
}
