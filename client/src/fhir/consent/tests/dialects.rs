//! Policies, policy rules, roots with and without a type, and how deep provisions nest.

use consilium_proto::consent::Rule;
use consilium_proto::pb::{ConsentBase, ConsentEffect};

use super::*;

fn base(consent: &Value) -> ConsentBase {
    let grant = read(consent).unwrap().grant;
    assert_eq!(grant.rules, [], "{consent}");
    grant.base
}

#[test]
fn a_policy_is_a_base() {
    let permit = || json!({ "type": "permit" });
    assert_eq!(base(&pcf(BASIC_NORMAL, permit())), ConsentBase::BasicNormal);
    assert_eq!(base(&pcf(ALL_NORMAL, permit())), ConsentBase::AllNormal);
    assert_eq!(base(&pcf(LOCAL, permit())), ConsentBase::AllNormal);
    let deny = || json!({ "type": "deny" });
    assert_eq!(base(&pcf(BREAK_GLASS, deny())), ConsentBase::BreakGlassOnly);
    assert_eq!(base(&pcf(DENY, deny())), ConsentBase::Deny);
    assert_eq!(base(&pcf(ALL_NORMAL, deny())), ConsentBase::BreakGlassOnly);
    assert_eq!(base(&r4("OPTIN", json!({ "id": "p" }))), ConsentBase::BasicNormal);
    assert_eq!(base(&r4("OPTOUT", json!({ "id": "p" }))), ConsentBase::BreakGlassOnly);
    let mut alone = pcf(ALL_NORMAL, permit());
    alone.as_object_mut().unwrap().remove("provision");
    assert_eq!(base(&alone), ConsentBase::AllNormal);
    let unknown = pcf("http://example.org/policies/unheard-of", permit());
    assert_eq!(refused(&unknown), ("Consent.policy[0].uri".into(), Problem::UnknownPolicy));
    assert_eq!(refused(&r4("OPTINR", permit())), ("Consent.policyRule.coding[0]".into(), Problem::UnknownPolicy));
}

#[test]
fn what_disagrees_is_refused() {
    let kind = |consent: &Value| (refused(consent).0, refused(consent).1 == Problem::Disagree);
    let at_type = ("Consent.provision.type".to_owned(), true);
    for policy in [BREAK_GLASS, DENY] {
        assert_eq!(kind(&pcf(policy, json!({ "type": "permit", "purpose": tpo() }))), at_type);
    }
    assert_eq!(kind(&r4("OPTIN", json!({ "type": "deny" }))), at_type);
    assert_eq!(kind(&r4("OPTOUT", json!({ "type": "permit", "purpose": tpo() }))), at_type);
    let mut both = r4("OPTOUT", json!({ "type": "deny" }));
    both["policy"] = json!([{ "uri": ALL_NORMAL }]);
    assert_eq!(kind(&both), ("Consent.policyRule".to_owned(), true));
    both["policy"] = json!([{ "uri": DENY }]);
    assert_eq!(base(&both), ConsentBase::Deny);
    both["policy"] = json!([{ "uri": DENY }, { "uri": BREAK_GLASS }]);
    assert_eq!(kind(&both), ("Consent.policy[1].uri".to_owned(), true));
    // More at the root than its policy permits.
    let more = |element: &str, value: Value| pcf(BASIC_NORMAL, json!({ "type": "permit", element: value }));
    assert_eq!(kind(&more("purpose", json!([act("HRESCH")]))), ("Consent.provision.purpose".to_owned(), true));
    let restricted = more("securityLabel", json!([level("R")]));
    assert_eq!(kind(&restricted), ("Consent.provision.securityLabel".to_owned(), true));
}

#[test]
fn a_permit_of_the_root_stays_within_its_policy() {
    let actor = json!([actor("IRCP", "Practitioner/ex-practitioner")]);
    let grant = read(&pcf(BASIC_NORMAL, json!({ "type": "permit", "actor": actor }))).unwrap().grant;
    assert_eq!((grant.base, grant.rules.len()), (ConsentBase::BreakGlassOnly, 1));
    assert_eq!(grant.rules[0].ceiling, Some(Confidentiality::Normal));
    assert_eq!(says(&grant, &Ask { reader: DOCTOR, ..TREATING }), PERMITS_NAMED);
    assert_eq!(says(&grant, &Ask { reader: DOCTOR, purpose: "HMARKT", ..TREATING }), Said::BaseDenies);
    assert_eq!(says(&grant, &TREATING), Said::BaseDenies);
}

#[test]
fn provisions_nest_once_and_have_types() {
    let nested = |inner: Value| pcf(ALL_NORMAL, json!({ "type": "permit", "provision": [inner] }));
    let deep = nested(json!({ "type": "deny", "provision": [{ "type": "permit" }] }));
    assert_eq!(refused(&deep), ("Consent.provision.provision[0].provision".into(), Problem::TooDeep));
    let (path, _) = refused(&nested(json!({ "purpose": tpo() })));
    assert_eq!(path, "Consent.provision.provision[0].type");
    let (path, _) = refused(&nested(json!({ "type": "maybe" })));
    assert_eq!(path, "Consent.provision.provision[0].type");
    let grant = read(&nested(json!({ "type": "deny", "purpose": [act("COC")] }))).unwrap().grant;
    assert_eq!(says(&grant, &Ask { purpose: "COC", ..TREATING }), Said::RuleDenies);
    assert_eq!(says(&grant, &TREATING), Said::BasePermits);
}

#[test]
fn the_untyped_root_of_r4() {
    let deny = json!({ "type": "deny", "actor": [actor("PRCP", "Practitioner/ex-practitioner")] });
    let grant = read(&r4("OPTIN", json!({ "provision": [deny] }))).unwrap().grant;
    assert_eq!(says(&grant, &Ask { reader: DOCTOR, ..TREATING }), Said::RuleDenies);
    assert_eq!(says(&grant, &TREATING), Said::BasePermits);
    assert_eq!(says(&grant, &Ask { level: Confidentiality::Restricted, ..TREATING }), Said::Nothing);

    let permit = json!({ "type": "permit", "purpose": [act("TREAT")] });
    let consent = r4("OPTOUT", json!({ "provision": [permit], "period": { "end": "2020-01-01T00:00:00Z" } }));
    let grant = read(&consent).unwrap().grant;
    assert_eq!(says(&grant, &TREATING), Said::BaseDenies, "it denies for ever, and permits in its period");
    assert_eq!(says(&grant, &Ask { time: 1_500_000_000_000, ..TREATING }), PERMITS);
    assert_eq!(widened(&consent), [("Consent.provision.period".into(), Gap::PeriodOfForce)]);
    assert_eq!(gap(&r4("OPTIN", json!({ "purpose": tpo() }))), ("Consent.provision.purpose".into(), Gap::UntypedRoot));
}

#[test]
fn a_denial_of_the_root_wins_over_what_is_in_it() {
    let permit = json!({ "type": "permit", "actor": [actor("IRCP", "Practitioner/ex-practitioner")] });
    let consent = pcf(ALL_NORMAL, json!({ "type": "deny", "purpose": tpo(), "provision": [permit] }));
    assert_eq!(widened(&consent), [("Consent.provision".into(), Gap::DenialWins)]);
    let grant = read(&consent).unwrap().grant;
    assert_eq!(says(&grant, &Ask { reader: DOCTOR, ..TREATING }), Said::RuleDenies);
    // A dropped condition is no reason to spare the custodian's own staff.
    let unmapped = pcf(ALL_NORMAL, json!({ "type": "deny", "actor": [actor("IRCP", "Practitioner/unheard-of")] }));
    assert_eq!(read(&unmapped).unwrap().grant.rules, [Rule::of_effect(ConsentEffect::Deny)]);
}

#[test]
fn periods_of_permits_are_narrow_and_of_denials_wide() {
    const DAY: u64 = 24 * 3_600_000;
    let day = NOW / DAY * DAY;
    let period = json!({ "start": "2026-09-21", "end": "2026-09-22" });
    assert_eq!(day, 1_789_948_800_000);
    let at = |grant: &Grant, hours: i64| {
        says(grant, &Ask { time: day.checked_add_signed(hours * 3_600_000).unwrap(), ..TREATING })
    };
    let consent = |effect: &str| {
        let rule = json!({ "type": effect, "purpose": [act("TREAT")], "period": period });
        read(&pcf(DENY, json!({ "type": "deny", "provision": [rule] }))).unwrap().grant
    };
    let (permit, deny) = (consent("permit"), consent("deny"));
    assert_eq!([at(&permit, 11), at(&permit, 12), at(&permit, 33)], [Said::AllDenied, PERMITS, PERMITS]);
    assert_eq!(at(&permit, 34), Said::AllDenied);
    assert_eq!([at(&deny, -15), at(&deny, -14), at(&deny, 59)], [Said::AllDenied, Said::RuleDenies, Said::RuleDenies]);
    assert_eq!(at(&deny, 60), Said::AllDenied);

    // A permit in a permit of the root holds only within the root's.
    let nested = json!({ "type": "permit", "purpose": [act("HRESCH")] });
    let root = json!({ "type": "permit", "purpose": [act("TREAT")], "period": period, "provision": [nested] });
    let grant = read(&pcf(ALL_NORMAL, root)).unwrap().grant;
    assert!(grant.rules.iter().all(|rule| rule.period == permit.rules[0].period));
    let day = json!({ "start": "2026-09-21", "end": "2026-09-21" });
    let root = json!({ "type": "permit", "period": day });
    assert_eq!(gap(&pcf(ALL_NORMAL, root)), ("Consent.provision.period".into(), Gap::EmptyPeriod));
    assert!(read(&pcf(ALL_NORMAL, json!({ "type": "deny", "period": day }))).is_ok());
}

#[test]
fn research_permits_research() {
    let research = |provision: Value| {
        let mut out = pcf(ALL_NORMAL, provision);
        out["scope"]["coding"][0]["code"] = "research".into();
        out
    };
    let permit = |purpose: Value| research(json!({ "type": "permit", "purpose": purpose }));
    let project = json!({ "system": "http://example.org/projects", "code": "p" });
    assert!(read(&permit(json!([act("CLINTRCH"), project]))).is_ok());
    let permitted = read(&permit(json!([act("HRESCH")]))).unwrap().grant;
    assert_eq!((permitted.base, permitted.rules.len()), (ConsentBase::Silent, 1));
    assert_eq!(permitted.rules[0].effect, ConsentEffect::Permit);
    let refused_all = read(&research(json!({ "type": "deny" }))).unwrap().grant;
    assert_eq!((refused_all.base, &refused_all.rules[..]), (ConsentBase::Silent, &[root::refusal_of_research()][..]));
    // What neither permits nor refuses research comes from no consent to research.
    for grant in [permitted, refused_all] {
        let written = to_fhir(&grant, &export::context()).unwrap();
        assert_eq!(written["scope"]["coding"][0]["code"], "research");
        assert_eq!(read(&written).unwrap().grant, grant);
    }
    let silent = Grant::of_base(ConsentBase::Silent);
    assert_eq!(to_fhir(&silent, &export::context()).unwrap_err().field, "base");
    for wrong in [permit(tpo()), permit(json!([act("HRESCH"), act("TREAT")])), research(json!({ "type": "permit" }))] {
        assert_eq!(refused(&wrong), ("Consent.provision".into(), Problem::NotResearch));
    }
}
