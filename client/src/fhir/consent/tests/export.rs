//! Grants as Consents, and back.

use consilium_proto::consent::{Grantee, Period, Rule};
use consilium_proto::pb::{ConsentBase, ConsentEffect};
use proptest::collection::btree_set;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

pub(super) fn context() -> Context<'static> {
    Context {
        patient: "Patient/ex-patient".into(),
        performer: "Patient/ex-patient".into(),
        organization: "Organization/ex-organization".into(),
        source: "DocumentReference/1".into(),
        date_time_ms: NOW,
        labels: Box::new(|code| vec![tag("label", code)]),
        project: Box::new(|hex| {
            let (system, code) = ("http://example.org/projects", "p");
            (conditions::project(system, code).to_string() == hex).then(|| (system.into(), code.into()))
        }),
    }
}

fn periods() -> impl Strategy<Value = Period> {
    let time = 0..4_000_000_000_000_u64;
    (time.clone(), prop_oneof![Just(0), 1..time.end]).prop_map(|(from, length)| {
        let to = if length == 0 { 0 } else { from + length };
        Period { from: TimeMs(from), to: TimeMs(to) }
    })
}

fn some<T: std::fmt::Debug + Clone + 'static>(list: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let len = list.len();
    prop_oneof![Just(Vec::new()), subsequence(list, 1..=len)]
}

fn rules() -> impl Strategy<Value = Rule> {
    let grantees = [DOCTOR, SCIENTIST, "clinician@st-mary.example", "lakeside.example"];
    let grantees = grantees.iter().map(|text| mapping::grantee(text).unwrap()).collect::<Vec<Grantee>>();
    let labels = ["PSY", "PSYTHPN", "MH", "ETH", "HIV"].map(|code| tag("label", code));
    let mut tags: Vec<_> = labels.into_iter().chain([tag("x", "y"), tag_under(2, "label", "PSY")]).collect();
    tags.sort_unstable();
    let projects = vec![conditions::project("http://example.org/projects", "p"), ProjectTag([5; 16])];
    let kinds = ["Observation", "Condition", "Patient"].map(String::from).to_vec();
    let levels = (1..=6).map(|level| Confidentiality::try_from(level).unwrap()).collect::<Vec<_>>();
    let scope = (0..4_u8, btree_set(any::<[u8; 16]>(), 1..4));
    let lists = (some(grantees), some(purpose::all().collect()), some(projects), some(kinds), some(tags));
    (any::<bool>(), lists, prop::option::of(select(levels)), scope, periods()).prop_map(
        |(permit, (grantees, purposes, projects, kinds, tags), ceiling, (scope, ids), period)| {
            let effect = if permit { ConsentEffect::Permit } else { ConsentEffect::Deny };
            let purposes = match (projects.is_empty(), permit) {
                (true, _) => purposes,
                (false, true) => vec![PurposeOfUse::Hresch],
                (false, false) => Vec::new(),
            };
            let ceiling = ceiling.filter(|_| permit);
            let labelled = !permit && tags.is_empty() && ids.len() == 1;
            let mut rule = Rule {
                grantees,
                purposes,
                projects,
                kinds,
                ceiling,
                tags,
                labelled,
                period,
                ..Rule::of_effect(effect)
            };
            match scope {
                1 => rule.records = ids.into_iter().map(RecordId).collect(),
                2 => rule.authors = vec![DOCTOR.into(), OTHER.into()],
                3 => rule.author_members = vec!["lakeside.example".into()],
                _ => {}
            }
            rule
        },
    )
}

pub(super) fn grants() -> impl Strategy<Value = Grant> {
    let bases = vec![ConsentBase::BasicNormal, ConsentBase::AllNormal, ConsentBase::BreakGlassOnly, ConsentBase::Deny];
    (select(bases), periods(), prop::collection::vec(rules(), 0..5)).prop_map(|(base, period, rules)| Grant {
        base,
        period,
        rules,
    })
}

proptest! {
    #[test]
    fn a_grant_comes_back_from_its_consent(grant in grants()) {
        let consent = to_fhir(&grant, &context()).unwrap();
        let found = read(&consent).map_err(|e| TestCaseError::fail(format!("{e}: {consent}")))?;
        prop_assert_eq!(found.widened, []);
        prop_assert_eq!(found.grant, grant);
        prop_assert_eq!(found.date_time_ms, Some(NOW));
    }
}

#[test]
fn it_is_written_in_the_dialect_of_pcf() {
    let rule = Rule {
        grantees: vec![mapping::grantee(DOCTOR).unwrap()],
        tags: vec![tag("label", "PSY")],
        ..Rule::of_effect(ConsentEffect::Permit)
    };
    let grant = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::BreakGlassOnly) };
    let consent = to_fhir(&grant, &context()).unwrap();
    assert_eq!(consent["policy"][0]["uri"], BREAK_GLASS);
    let expected = json!({
        "type": "deny",
        "provision": [{
            "type": "permit",
            "actor": [{
                "role": { "coding": [{ "system": systems::PARTICIPATION, "code": "IRCP" }] },
                "reference": { "identifier": { "system": "urn:ietf:rfc:3986", "value": DOCTOR } },
            }],
            "securityLabel": [sensitive("PSY")],
        }],
    });
    assert_eq!(consent["provision"], expected);
}

#[test]
fn what_fhir_cannot_say_is_not_left_out() {
    let field = |change: fn(&mut Rule)| {
        let mut rule = Rule::of_effect(ConsentEffect::Deny);
        change(&mut rule);
        let grant = Grant { rules: vec![rule], ..Grant::of_base(ConsentBase::Deny) };
        to_fhir(&grant, &context()).unwrap_err().field
    };
    assert_eq!(field(|rule| rule.ceiling = Some(Confidentiality::Restricted)), "rules[0].ceiling");
    assert_eq!(field(|rule| rule.kinds = vec!["X".into()]), "rules[0].kinds");
    assert_eq!(field(|rule| rule.effect = ConsentEffect::Unspecified), "rules[0].effect");
    assert_eq!(field(|rule| rule.period.to = TimeMs(u64::MAX)), "rules[0].period");
    assert_eq!(
        field(|rule| (rule.projects, rule.purposes) = (vec![ProjectTag([1; 16])], vec![PurposeOfUse::Treat])),
        "rules[0].purposes"
    );
    assert_eq!(
        field(|rule| (rule.records, rule.authors) = (vec![RecordId([1; 16])], vec![DOCTOR.into()])),
        "rules[0].records"
    );
    assert_eq!(to_fhir(&Grant::of_base(ConsentBase::Unspecified), &context()).unwrap_err().field, "base");
}
