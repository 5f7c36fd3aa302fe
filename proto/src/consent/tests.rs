//! Grants: parsed and written back, and what they say.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::access::RecordFacts;
use crate::ids::SaltId;
use crate::limits::GRANT_BYTES_MAX;

const READER: &str = "spiffe://b.example/clinician/c1";

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

fn record(tags: &[PolicyTag]) -> RecordFacts<'_> {
    RecordFacts {
        id: RecordId([1; 16]),
        kind: "Observation",
        confidentiality: Confidentiality::Normal,
        custodian: "a.example",
        author: "spiffe://a.example/service/ehr",
        tags,
        restricted: false,
    }
}

/// What a grant of one permitting rule over nothing says.
fn permits(change: impl FnOnce(&mut Rule), asked: &Asked<'_>) -> bool {
    let mut rule = Rule::of_effect(ConsentEffect::Permit);
    change(&mut rule);
    let grant = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
    assert_eq!(Grant::parse(&pb::ConsentGrant::from(&grant)), Ok(grant.clone()), "it comes back as it was");
    matches!(grant.says(asked), Said::Permits { .. })
}

#[test]
fn the_next_end_is_that_of_the_consent_or_of_a_rule_whichever_comes_first() {
    let mut grant = Grant::of_base(ConsentBase::BreakGlassOnly);
    assert_eq!(grant.next_end(TimeMs(0)), None, "nothing ends");
    grant.rules = [0, 50, 20]
        .map(|to| Rule { period: Period { from: TimeMs(1), to: TimeMs(to) }, ..Rule::of_effect(ConsentEffect::Permit) })
        .into();
    grant.period.to = TimeMs(70);
    let ends = [0, 19, 20, 49, 50, 69, 70].map(|now| grant.next_end(TimeMs(now)).map(|end| end.0));
    assert_eq!(ends, [Some(20), Some(20), Some(50), Some(50), Some(70), Some(70), None]);
}

#[test]
fn each_condition_narrows_a_rule() {
    let (reader, tags) = (id(READER), [PolicyTag([7; 32])]);
    let record = record(&tags);
    let asked = Asked {
        reader: &reader,
        purpose: PurposeOfUse::Coc,
        project: Some(ProjectTag([5; 16])),
        time: TimeMs(1_000),
        record: &record,
    };
    let permits = |change: fn(&mut Rule)| permits(change, &asked);
    assert!(permits(|_| ()));
    assert_eq!(
        [true, false],
        [
            permits(|r| r.grantees = vec![Grantee::Identity(id(READER))]),
            permits(|r| r.grantees = vec![Grantee::Identity(id("spiffe://b.example/clinician/c2"))]),
        ]
    );
    assert!(permits(|r| r.grantees = vec![Grantee::Member("b.example".parse().unwrap())]));
    assert!(!permits(|r| r.grantees = vec![Grantee::Member("c.example".parse().unwrap())]));
    assert!(permits(|r| r.grantees = vec![Grantee::Role("b.example".parse().unwrap(), Role::Clinician)]));
    assert!(!permits(|r| r.grantees = vec![Grantee::Role("b.example".parse().unwrap(), Role::Service)]));
    assert!(permits(|r| r.purposes = vec![PurposeOfUse::Hresch, PurposeOfUse::Treat]));
    assert!(!permits(|r| r.purposes = vec![PurposeOfUse::Etreat]));
    assert!(permits(|r| r.projects = vec![ProjectTag([5; 16])]));
    assert!(!permits(|r| r.projects = vec![ProjectTag([6; 16])]));
    assert!(permits(|r| r.kinds = vec!["Condition".into(), "Observation".into()]));
    assert!(!permits(|r| r.kinds = vec!["Condition".into()]));
    assert!(permits(|r| r.records = vec![RecordId([1; 16])]) && !permits(|r| r.records = vec![RecordId([2; 16])]));
    assert!(permits(|r| r.author_members = vec!["a.example".into()]));
    assert!(!permits(|r| r.author_members = vec!["b.example".into()]));
    assert!(permits(|r| r.authors = vec!["spiffe://a.example/service/ehr".into()]));
    assert!(!permits(|r| r.authors = vec![READER.into()]));
    assert!(permits(|r| r.ceiling = Some(Confidentiality::Normal)));
    assert!(!permits(|r| r.ceiling = Some(Confidentiality::Moderate)));
    assert!(permits(|r| r.tags = vec![PolicyTag([7; 32])]) && !permits(|r| r.tags = vec![PolicyTag([8; 32])]));
    assert!(permits(|r| r.period = Period { from: TimeMs(1_000), to: TimeMs(1_001) }));
    assert!(!permits(|r| r.period = Period { from: TimeMs(0), to: TimeMs(1_000) }));
    assert!(!permits(|r| r.period = Period { from: TimeMs(1_001), to: TimeMs(0) }));
}

#[test]
fn a_label_under_an_unknown_salt_is_denied_where_labels_are_and_permitted_by_none() {
    let reader = id(READER);
    let label = |salt: u8, code: u8| PolicyTag::new(SaltId([salt; 16]), [code; 16]);
    let (psy, hiv, unknown) = (label(1, 1), label(1, 2), label(2, 1));
    let of = |effect, tags: &[PolicyTag], labelled| {
        let rule = Rule { tags: tags.to_vec(), labelled, ..Rule::of_effect(effect) };
        let grant = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::AllNormal) };
        assert_eq!(Grant::parse(&pb::ConsentGrant::from(&grant)), Ok(grant.clone()));
        grant
    };
    let says = |grant: &Grant, tags: &[PolicyTag]| {
        let record = record(tags);
        let (purpose, time) = (PurposeOfUse::Treat, TimeMs(1));
        grant.says(&Asked { reader: &reader, purpose, project: None, time, record: &record })
    };
    let (deny, permit) = (of(ConsentEffect::Deny, &[psy], false), of(ConsentEffect::Permit, &[psy], false));
    let any = of(ConsentEffect::Deny, &[], true);
    let permits = Said::Permits { by_name: false };
    for (tags, denied, permitted, denied_if_any) in [
        (&[][..], Said::BasePermits, Said::BasePermits, Said::BasePermits),
        (&[psy], Said::RuleDenies, permits, Said::RuleDenies),
        (&[hiv], Said::BasePermits, Said::BasePermits, Said::RuleDenies),
        (&[hiv, psy], Said::RuleDenies, permits, Said::RuleDenies),
        (&[unknown], Said::RuleDenies, Said::BasePermits, Said::RuleDenies),
        (&[hiv, unknown], Said::RuleDenies, Said::BasePermits, Said::RuleDenies),
    ] {
        let said = [&deny, &permit, &any].map(|grant| says(grant, tags));
        assert_eq!(said, [denied, permitted, denied_if_any], "{tags:?}");
    }
    // With both salts it denies no more than it says.
    let both = of(ConsentEffect::Deny, &[psy, label(2, 9)], false);
    assert_eq!((says(&both, &[unknown]), says(&both, &[label(2, 9)])), (Said::BasePermits, Said::RuleDenies));
    // Nothing that is known without the labels says that all is denied.
    let record = record(&[]);
    let asked =
        Asked { reader: &reader, purpose: PurposeOfUse::Treat, project: None, time: TimeMs(1), record: &record };
    assert!([&deny, &any].iter().all(|grant| !grant.denies_all_such(&asked)));
}

#[test]
fn denials_win_and_rules_stand_before_the_base() {
    let reader = id(READER);
    let record = record(&[]);
    let asked =
        Asked { reader: &reader, purpose: PurposeOfUse::Treat, project: None, time: TimeMs(5), record: &record };
    let named = Rule { grantees: vec![Grantee::Identity(reader.clone())], ..Rule::of_effect(ConsentEffect::Permit) };
    let everybody = Rule::of_effect(ConsentEffect::Permit);
    let deny = Rule { kinds: vec!["Observation".into()], ..Rule::of_effect(ConsentEffect::Deny) };
    let says = |base, rules: &[&Rule]| {
        let rules = rules.iter().map(|rule| (*rule).clone()).collect();
        Grant { base, period: Period::default(), rules }.says(&asked)
    };
    assert_eq!(says(ConsentBase::Deny, &[&everybody]), Said::Permits { by_name: false });
    assert_eq!(says(ConsentBase::Deny, &[&everybody, &named]), Said::Permits { by_name: true });
    assert_eq!(says(ConsentBase::AllNormal, &[&named, &deny, &everybody]), Said::RuleDenies);
    let other = Rule { kinds: vec!["Condition".into()], ..everybody.clone() };
    for (base, said) in [
        (ConsentBase::BasicNormal, Said::BasePermits),
        (ConsentBase::AllNormal, Said::BasePermits),
        (ConsentBase::BreakGlassOnly, Said::BaseDenies),
        (ConsentBase::Deny, Said::AllDenied),
    ] {
        assert_eq!(says(base, &[&other]), said);
    }
    let over = Grant { period: Period { from: TimeMs(0), to: TimeMs(5) }, ..Grant::of_base(ConsentBase::AllNormal) };
    assert_eq!(over.says(&asked), Said::Nothing);
}

#[test]
fn the_ordinary_bases_are_for_ordinary_purposes_and_levels() {
    let reader = id(READER);
    for (purpose, level, basic, all) in [
        (PurposeOfUse::Treat, Confidentiality::Normal, true, true),
        (PurposeOfUse::Hoperat, Confidentiality::Restricted, false, true),
        (PurposeOfUse::Covauth, Confidentiality::Low, true, true),
        (PurposeOfUse::Hresch, Confidentiality::Normal, false, false),
        (PurposeOfUse::Btg, Confidentiality::Normal, false, false),
        (PurposeOfUse::Hmarkt, Confidentiality::Unrestricted, false, false),
    ] {
        let record = RecordFacts { confidentiality: level, ..record(&[]) };
        let asked = Asked { reader: &reader, purpose, project: None, time: TimeMs(1), record: &record };
        let permits = |base| Grant::of_base(base).says(&asked) == Said::BasePermits;
        assert_eq!([permits(ConsentBase::BasicNormal), permits(ConsentBase::AllNormal)], [basic, all], "{purpose:?}");
    }
}

#[test]
fn emergencies_are_forbidden_by_the_base_that_denies_all_and_by_name() {
    let reader = id(READER);
    let record = record(&[]);
    let asked = Asked { reader: &reader, purpose: PurposeOfUse::Btg, project: None, time: TimeMs(1), record: &record };
    let by_rule = |purposes: Vec<PurposeOfUse>| {
        let rules = vec![Rule { purposes, ..Rule::of_effect(ConsentEffect::Deny) }];
        Grant { rules, ..Grant::of_base(ConsentBase::BreakGlassOnly) }.forbids_emergency(&asked)
    };
    assert!(by_rule(vec![PurposeOfUse::Btg]) && !by_rule(vec![PurposeOfUse::Treat]) && !by_rule(vec![]));
    assert!(Grant::of_base(ConsentBase::Deny).forbids_emergency(&asked));
    assert!(!Grant::of_base(ConsentBase::BreakGlassOnly).forbids_emergency(&asked));
}

#[test]
fn malformed_grants_are_refused_by_their_field() {
    let rule = pb::ConsentRule { effect: ConsentEffect::Permit.into(), ..pb::ConsentRule::default() };
    let good = pb::ConsentGrant { base: ConsentBase::Deny.into(), rules: vec![rule.clone()], ..Default::default() };
    assert!(Grant::parse(&good).is_ok());
    type Change<'a> = &'a dyn Fn(&mut pb::ConsentGrant);
    let refused = |change: Change<'_>| {
        let mut grant = good.clone();
        change(&mut grant);
        Grant::parse(&grant).unwrap_err().to_string()
    };
    let id16 = || Bytes::from_static(&[1; 16]);
    let cases: [(&str, Change<'_>); 11] = [
        ("base", &|g| g.base = 0),
        ("to_ms", &|g| (g.from_ms, g.to_ms) = (5, 5)),
        ("rules", &|g| g.rules = vec![rule.clone(); GRANT_RULES_MAX + 1]),
        ("rules", &|g| g.rules[0].tags = vec![Bytes::from_static(&[1; 32]); GRANT_BYTES_MAX / 34 + 1]),
        ("rules[0].effect", &|g| g.rules[0].effect = 9),
        ("rules[0].purposes", &|g| g.rules[0].purposes = vec![0]),
        ("rules[0].records", &|g| g.rules[0].records = vec![id16(), id16()]),
        ("rules[0].tags", &|g| g.rules[0].tags = vec![Bytes::from_static(&[1; 31])]),
        ("rules[0].labelled", &|g| g.rules[0].labelled = true),
        ("rules[0].labelled", &|g| {
            (g.rules[0].effect, g.rules[0].labelled) = (ConsentEffect::Deny.into(), true);
            g.rules[0].tags = vec![Bytes::from_static(&[1; 32])];
        }),
        ("rules[0].grantees", &|g| g.rules[0].grantees = vec![pb::Grantee::default()]),
    ];
    for (field, change) in cases {
        let refused = refused(change);
        assert!(refused.contains(field), "{refused} must name {field}");
    }
}

#[test]
fn a_silent_consent_leaves_the_rest_to_others() {
    let (reader, record) = (id(READER), record(&[]));
    let asked = |purpose| Asked { reader: &reader, purpose, project: None, time: TimeMs(1), record: &record };
    let (treat, research) = (asked(PurposeOfUse::Treat), asked(PurposeOfUse::Hresch));
    let rule = Rule { purposes: vec![PurposeOfUse::Hresch], ..Rule::of_effect(ConsentEffect::Permit) };
    let silent = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::Silent) };
    let permits = Said::Permits { by_name: false };
    assert_eq!((silent.says(&treat), silent.says(&research)), (Said::Silent, permits));
    let of = |grants: &[&Grant], implicit, asked: &Asked<'_>| {
        let words = grants.iter().enumerate().map(|(n, grant)| (grant.says(asked), n));
        strongest(words, implicit, asked)
    };
    // Alone it is as if there were none; beside others they decide, also one that permits nothing.
    assert_eq!(of(&[&silent], ConsentBase::BasicNormal, &treat), (Said::BasePermits, None));
    assert_eq!(of(&[&silent], ConsentBase::BreakGlassOnly, &treat), (Said::BaseDenies, None));
    assert_eq!(of(&[&silent], ConsentBase::BreakGlassOnly, &research), (permits, Some(0)));
    let (all, deny) = (Grant::of_base(ConsentBase::AllNormal), Grant::of_base(ConsentBase::Deny));
    assert_eq!(of(&[&silent, &all], ConsentBase::Deny, &treat), (Said::BasePermits, Some(1)));
    assert_eq!(of(&[&silent, &all], ConsentBase::Deny, &research), (permits, Some(0)));
    assert_eq!(of(&[&silent, &deny], ConsentBase::AllNormal, &research), (Said::AllDenied, Some(1)));
    let asked_of_nothing = asked(PurposeOfUse::Hmarkt);
    assert_eq!(of(&[&silent, &all], ConsentBase::Deny, &asked_of_nothing), (Said::Nothing, None));
    assert!(!silent.forbids_emergency(&asked(PurposeOfUse::Btg)));
}
