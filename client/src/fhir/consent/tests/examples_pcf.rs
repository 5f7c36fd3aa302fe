//! The facts of the 23 examples of IHE PCF as a table of decisions: ITI.PCF@3fefea1b,
//! `input/fsh/consent.fsh` and `volume-1.md` §53.2. Each is written anew, under its id there.

use super::*;

use Said::{BaseDenies, Nothing, OptedOut, RuleDenies};

fn root(more: &Value) -> Value {
    let mut root = json!({ "type": "permit", "purpose": tpo() });
    root.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pcf(LOCAL, root)
}

fn ask(change: impl FnOnce(&mut Ask)) -> Ask {
    let mut ask = TREATING;
    change(&mut ask);
    ask
}

#[track_caller]
fn decides(id: &str, consent: &Value, table: &[(Ask, Said)]) {
    let translation = read(consent).unwrap();
    assert_eq!(translation.widened, [], "{id}");
    decides_widened(id, &translation, table);
}

#[track_caller]
fn decides_widened(id: &str, translation: &Translation, table: &[(Ask, Said)]) {
    assert_eq!(translation.status, Status::Active);
    assert_eq!(translation.patient_reference, "st-mary.example/Patient/ex-patient");
    for (i, (ask, said)) in table.iter().enumerate() {
        assert_eq!(says(&translation.grant, ask), *said, "{id}, row {i}: {ask:?}");
    }
}

fn tpo_table() -> Vec<(Ask, Said)> {
    vec![
        (TREATING, PERMITS),
        (ask(|a| a.purpose = "COC"), PERMITS),
        (ask(|a| a.purpose = "HPAYMT"), PERMITS),
        (ask(|a| a.purpose = "HOPERAT"), PERMITS),
        (ask(|a| a.level = Confidentiality::Restricted), PERMITS),
        (ask(|a| a.purpose = "HRESCH"), BaseDenies),
        (ask(|a| a.purpose = "HMARKT"), BaseDenies),
        (ask(|a| a.purpose = "BTG"), BaseDenies),
    ]
}

#[test]
fn basic() {
    decides("ex-consent-basic-treat", &root(&json!({})), &tpo_table());
    let mut ink = root(&json!({}));
    ink["sourceReference"]["reference"] = "DocumentReference/ex-consent-ink".into();
    decides("ex-consent-basic-ink", &ink, &tpo_table());
    let mut infant = root(&json!({}));
    infant["performer"][0]["reference"] = "RelatedPerson/ex-mother".into();
    decides("ex-consent-basic-treat-infant", &infant, &tpo_table());
    assert_eq!(read(&infant).unwrap().performers, ["st-mary.example/RelatedPerson/ex-mother"]);

    let expired = root(&json!({ "period": { "end": "2022-12-31" } }));
    let end = 1_672_531_200_000; // 2023-01-01T00:00:00Z
    let at = |time| ask(|a| a.time = time);
    const HOUR: u64 = 3_600_000;
    let table = [
        (TREATING, Nothing),
        (at(end - 14 * HOUR - 1), PERMITS),
        (at(end - 14 * HOUR), BaseDenies),
        (at(end + 12 * HOUR - 1), BaseDenies),
        (at(end + 12 * HOUR), Nothing),
    ];
    decides("ex-consent-expired-treat", &expired, &table);

    let table = [
        (TREATING, RuleDenies),
        (ask(|a| a.purpose = "HOPERAT"), RuleDenies),
        (ask(|a| a.purpose = "HRESCH"), OptedOut),
        (ask(|a| a.purpose = "BTG"), OptedOut),
    ];
    let reject = pcf(LOCAL, json!({ "type": "deny", "purpose": tpo() }));
    decides("ex-consent-basic-reject", &reject, &table);

    let policy = "http://example.org/policies/researchPrivacyConsentPolicy.txt";
    let research = pcf(policy, json!({ "type": "permit", "purpose": [act("HRESCH")] }));
    let table = [
        (ask(|a| a.purpose = "HRESCH"), PERMITS),
        (ask(|a| a.purpose = "CLINTRCHNPC"), PERMITS),
        (TREATING, BaseDenies),
    ];
    decides("ex-consent-basic-research", &research, &table);
}

#[test]
fn intermediate_timeframes() {
    let period = json!({ "start": "2022-01", "end": "2022-12" });
    let consent = root(&json!({ "dataPeriod": period }));
    assert_eq!(
        gap(&consent),
        ("Consent.provision.dataPeriod".into(), Gap::NoPlace),
        "ex-consent-intermediate-timeframe"
    );

    let id = "ex-consent-intermediate-not-timeframe";
    let consent = root(&json!({ "provision": [{ "type": "deny", "dataPeriod": period }] }));
    assert_eq!(widened(&consent), [("Consent.provision.provision[0].dataPeriod".into(), Gap::NoPlace)], "{id}");
    decides_widened(id, &read(&consent).unwrap(), &[(TREATING, RuleDenies)]);
}

#[test]
fn intermediate_data() {
    let by_doctor = || ask(|a| a.author = DOCTOR);
    let authored = data("authoredby", "Practitioner/ex-practitioner");
    let table = [(by_doctor(), PERMITS), (TREATING, BaseDenies)];
    decides("ex-consent-intermediate-authoredby", &root(&json!({ "data": authored })), &table);
    let table = [(by_doctor(), RuleDenies), (TREATING, PERMITS)];
    let not = |data: &Value| root(&json!({ "provision": [{ "type": "deny", "data": data }] }));
    decides("ex-consent-intermediate-not-authoredby", &not(&authored), &table);

    let tagged = || ask(|a| a.tags = vec![tag("encounter", "ex-encounter")]);
    let related = data("related", "Encounter/ex-encounter");
    let table = [(tagged(), PERMITS), (TREATING, BaseDenies)];
    decides("ex-consent-intermediate-encounter", &root(&json!({ "data": related })), &table);
    let table = [(tagged(), RuleDenies), (TREATING, PERMITS)];
    decides("ex-consent-intermediate-not-encounter", &not(&related), &table);

    let record = |n| ask(|a| a.record = n);
    let instance = |n: u8| json!({ "meaning": "instance", "reference": { "reference": format!("Observation/{n}") } });
    let consent = root(&json!({ "data": [instance(1), instance(2), instance(3)] }));
    let table = [(record(1), PERMITS), (record(2), PERMITS), (record(3), PERMITS), (record(4), BaseDenies)];
    decides("ex-consent-intermediate-data", &consent, &table);
    let table = [(record(1), RuleDenies), (record(2), PERMITS)];
    decides("ex-consent-intermediate-not-data", &not(&json!([instance(1)])), &table);
}

#[test]
fn intermediate_purposes() {
    let consent = pcf(
        "http://example.org/policies/researchFooBar.txt",
        json!({
            "type": "permit",
            "purpose": [{ "system": "http://example.org/policies/purposeOfUse", "code": "FooBar" }],
            "actor": [actor("IRCP", "Organization/ex-org-researcher")],
        }),
    );
    let project = conditions::project("http://example.org/policies/purposeOfUse", "FooBar");
    let research = |reader, project| {
        ask(|a| {
            a.reader = reader;
            a.purpose = "CLINTRCH";
            a.project = project;
        })
    };
    let table = [
        (research(SCIENTIST, Some(project)), PERMITS),
        (research(SCIENTIST, None), BaseDenies),
        (research(SCIENTIST, Some(ProjectTag([7; 16]))), BaseDenies),
        (research(DOCTOR, Some(project)), BaseDenies),
        (ask(|a| (a.reader, a.project) = (SCIENTIST, Some(project))), BaseDenies),
    ];
    decides("ex-consent-intermediate-purpose", &consent, &table);

    let dissent = |group| {
        pcf(
            BREAK_GLASS,
            json!({
                "type": "deny",
                "provision": [{ "type": "permit", "actor": [actor("IRCP", group)], "purpose": [act("BTG")] }],
            }),
        )
    };
    let path = "Consent.provision.provision[0].actor[0].reference".to_owned();
    assert_eq!(gap(&dissent("Group/ex-privilegedUsers")), (path, Gap::Unmapped), "ex-dissent-intermediate-break-glass");
    let mapped = read(&dissent("Group/nurses")).unwrap();
    let table = [(TREATING, BaseDenies), (ask(|a| a.purpose = "BTG"), PERMITS)];
    decides_widened("with a mapped group", &mapped, &table);
}

#[test]
fn advanced() {
    let at = |level| ask(|a| a.level = level);
    let doctor = |level| ask(|a| (a.reader, a.level) = (DOCTOR, level));
    let (low, normal, restricted) = (Confidentiality::Low, Confidentiality::Normal, Confidentiality::Restricted);
    let very = Confidentiality::VeryRestricted;

    let table = [(at(low), PERMITS), (at(normal), PERMITS), (at(restricted), BaseDenies), (at(very), BaseDenies)];
    decides("ex-consent-advanced-normal", &root(&json!({ "securityLabel": [level("N")] })), &table);
    let consent = root(&json!({ "securityLabel": [level("N"), level("R")] }));
    let table = [(at(low), PERMITS), (at(normal), PERMITS), (at(restricted), PERMITS), (at(very), BaseDenies)];
    decides("ex-consent-advanced-normal-restricted", &consent, &table);

    let id = "ex-consent-advanced-normal-not-restricted";
    let deny = json!({ "type": "deny", "securityLabel": [level("R")] });
    let consent = root(&json!({ "securityLabel": [level("N")], "provision": [deny] }));
    let path = "Consent.provision.provision[0].securityLabel[0]".to_owned();
    assert_eq!(widened(&consent), [(path, Gap::DeniedLevel)], "{id}");
    let table = [(at(normal), RuleDenies), (at(restricted), RuleDenies)];
    decides_widened(id, &read(&consent).unwrap(), &table);

    let focused = |labels: Value| {
        let actor = actor("IRCP", "Practitioner/ex-practitioner");
        let permit = json!({ "type": "permit", "actor": [actor], "securityLabel": labels });
        root(&json!({ "securityLabel": [level("N")], "provision": [permit] }))
    };
    let table = [
        (at(normal), PERMITS),
        (at(restricted), BaseDenies),
        (doctor(normal), PERMITS_NAMED),
        (doctor(restricted), PERMITS_NAMED),
        (doctor(very), BaseDenies),
        (Ask { purpose: "HRESCH", ..doctor(restricted) }, BaseDenies),
    ];
    decides("ex-consent-advanced-normal-focused-restricted", &focused(json!([level("R")])), &table);

    let labelled =
        |reader, label| ask(|a| (a.reader, a.level, a.tags) = (reader, restricted, vec![tag("label", label)]));
    let table = [
        (labelled(DOCTOR, "PSY"), PERMITS_NAMED),
        (labelled(DOCTOR, "SDV"), BaseDenies),
        (labelled(OTHER, "PSY"), BaseDenies),
        (doctor(normal), PERMITS),
        (doctor(restricted), BaseDenies),
    ];
    decides("ex-consent-advanced-normal-focused-psy", &focused(json!([sensitive("PSY")])), &table);
    let table = [
        (labelled(DOCTOR, "PSY"), PERMITS_NAMED),
        (labelled(DOCTOR, "SDV"), PERMITS_NAMED),
        (labelled(DOCTOR, "HIV"), BaseDenies),
        (labelled(OTHER, "SDV"), BaseDenies),
    ];
    let both = focused(json!([sensitive("PSY"), sensitive("SDV")]));
    decides("ex-consent-advanced-normal-focused-psy-or-sdv", &both, &table);

    let permit = json!({
        "type": "permit", "purpose": [act("BTG")], "securityLabel": [level("R")],
        "actor": [actor("IRCP", "Group/ex-privilegedUsers")],
    });
    let consent = root(&json!({ "securityLabel": [level("N")], "provision": [permit] }));
    let path = "Consent.provision.provision[0].actor[0].reference".to_owned();
    assert_eq!(gap(&consent), (path, Gap::Unmapped), "ex-consent-advanced-normal-break-glass-restricted");
}
