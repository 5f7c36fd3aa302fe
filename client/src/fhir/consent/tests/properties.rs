//! Of any document: no panic, no value in an error, and never more than without what cannot
//! be held.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Consents with every element that can be read.
fn consents() -> Vec<Value> {
    let full = |effect: &str| {
        json!({
            "type": effect, "period": { "start": "2020-01", "end": "2030-01-01T00:00:00Z" },
            "actor": [actor("IRCP", "Practitioner/ex-practitioner"), actor("PRCP", "Group/nurses")],
            "action": [{ "coding": [{ "system": systems::ACTION, "code": "access" }] }],
            "securityLabel": [sensitive("PSY")],
            "purpose": [act("TREAT"), { "system": "http://example.org", "code": "p" }],
            "class": [{ "system": systems::RESOURCE_TYPES, "code": "Observation" }],
            "data": data("instance", "Observation/1"),
        })
    };
    let mut typed = full("permit");
    typed["provision"] = json!([full("deny"), full("permit"), { "type": "deny" }]);
    let nested = json!({ "type": "deny", "provision": [full("permit"), full("deny")] });
    vec![
        pcf(ALL_NORMAL, typed),
        pcf(DENY, nested.clone()),
        r4("OPTOUT", json!({ "provision": nested["provision"], "period": { "end": "2030" } })),
        r4("OPTIN", json!({ "provision": nested["provision"] })),
    ]
}

/// Conditions that no grant holds, each on its own.
fn unrepresentable() -> Vec<(&'static str, Value)> {
    vec![
        ("code", json!([{ "coding": [{ "system": "http://loinc.org", "code": "34133-9" }] }])),
        ("dataPeriod", json!({ "start": "2022" })),
        ("class", json!([{ "system": "urn:ietf:bcp:13", "code": "text/plain" }])),
        ("data", data("dependents", "Encounter/ex-encounter")),
        ("data", data("instance", "Observation/unknown")),
        ("actor", json!([actor("IRCP", "Group/unknown")])),
        ("actor", json!([actor("CST", "Practitioner/ex-practitioner")])),
        ("purpose", json!([act("NOPURPOSE")])),
        ("securityLabel", json!([sensitive("NOLABEL")])),
        ("action", json!([{ "coding": [{ "system": systems::ACTION, "code": "disclose" }] }])),
    ]
}

fn provisions(consent: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let root = &consent["provision"];
    if let Some(effect) = root["type"].as_str() {
        out.push(("/provision".to_owned(), effect.to_owned()));
    }
    for (i, nested) in root["provision"].as_array().into_iter().flatten().enumerate() {
        out.push((format!("/provision/provision/{i}"), nested["type"].as_str().unwrap().to_owned()));
    }
    out
}

fn asks() -> Vec<Ask> {
    let mut out = Vec::new();
    for reader in [DOCTOR, OTHER, SCIENTIST, "spiffe://st-mary.example/clinician/c-9"] {
        for purpose in ["TREAT", "COC", "HPAYMT", "HRESCH", "BTG", "HMARKT"] {
            for level in [Confidentiality::Normal, Confidentiality::Restricted] {
                for tags in [vec![], vec![tag("label", "PSY")]] {
                    for record in [1, 9] {
                        let ask = Ask { reader, purpose, level, tags: tags.clone(), record, ..TREATING };
                        let project = Some(conditions::project("http://example.org", "p"));
                        out.extend([Ask { project, ..ask.clone() }, Ask { kind: "Condition", ..ask.clone() }, ask]);
                    }
                }
            }
        }
    }
    out
}

fn permits(said: Said) -> bool {
    matches!(said, Said::Permits { .. })
}

/// All places of a document.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| pointers(value, &format!("{at}/{key}"), out)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| pointers(value, &format!("{at}/{i}"), out));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn values() -> impl Strategy<Value = Value> {
    let texts =
        ["permit", "deny", "active", "2020", "TREAT", "Practitioner/13", "SecretValue", "é\u{0}", "access", "R"];
    prop_oneof![
        select(texts.to_vec()).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
        Just(json!({ "coding": [{ "code": "SecretValue" }] })),
        Just(Value::Null),
    ]
}

#[test]
fn the_examples_are_read() {
    for consent in consents() {
        read(&consent).unwrap();
    }
}

#[test]
fn what_cannot_be_held_is_refused_of_permits_and_dropped_of_denials() {
    for consent in consents() {
        for (pointer, effect) in provisions(&consent) {
            for (element, value) in unrepresentable() {
                let mut with = consent.clone();
                with.pointer_mut(&pointer).unwrap()[element] = value;
                let mut without = consent.clone();
                without.pointer_mut(&pointer).unwrap().as_object_mut().unwrap().remove(element);
                match (effect.as_str(), read(&with)) {
                    ("permit", found) => {
                        let problem = found.unwrap_err();
                        assert!(matches!(problem.problem, Problem::Unrepresentable(_)), "{problem}");
                        assert!(problem.path.contains(element), "{problem}");
                    }
                    (_, found) => {
                        let (found, plain) = (found.unwrap(), read(&without).unwrap());
                        assert!(found.widened.iter().any(|w| w.path.contains(element)), "{element}");
                        // A denial of the root without conditions is a base, one with them a rule.
                        if pointer.contains("/provision/provision") {
                            assert_eq!(found.grant, plain.grant, "{element}");
                        }
                        let wider = |ask: &Ask| permits(says(&found.grant, ask)) && !permits(says(&plain.grant, ask));
                        assert!(!asks().iter().any(wider), "{element}");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_documents_never_panic_nor_speak(
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), prop::option::of(values()), any::<bool>()), 1..4),
    ) {
        let mut consent = which.get(&consents()).clone();
        for (place, value, remove) in changes {
            let mut places = Vec::new();
            pointers(&consent, "", &mut places);
            let pointer = place.get(&places).clone();
            match (value, pointer.rsplit_once('/')) {
                (Some(value), _) => *consent.pointer_mut(&pointer).unwrap() = value,
                (None, Some((parent, key))) => match consent.pointer_mut(parent).unwrap() {
                    Value::Object(map) if remove => { map.remove(key); }
                    Value::Object(map) => { map.insert("SecretValue".into(), "SecretValue".into()); }
                    _ => {}
                },
                (None, None) => {}
            }
        }
        let first = read(&consent);
        prop_assert_eq!(&first, &read(&consent), "the same of the same");
        if let Err(problem) = first {
            // A key of letters alone is shown as a place, as the strict reader does.
            let text = format!("{problem} {problem:?}").replace(".SecretValue", "");
            prop_assert!(!text.contains("SecretValue"), "{}", text);
            prop_assert!(problem.path.starts_with("Consent"));
        }
    }

    #[test]
    fn cut_and_changed_bytes_never_panic(which in any::<Index>(), at in any::<Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = which.get(&consents()).to_string().into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let _ = translate(&bytes, &mapping());
    }

    #[test]
    fn a_condition_more_never_permits_more(which in any::<Index>(), nested in any::<Index>(), element in select(vec!["actor", "purpose", "securityLabel", "class", "data", "period"])) {
        // Of a permit, a condition that is held narrows it.
        let with = which.get(&consents()).clone();
        let provisions: Vec<_> = provisions(&with).into_iter().filter(|(_, effect)| effect == "permit").collect();
        prop_assume!(!provisions.is_empty());
        let (pointer, _) = nested.get(&provisions);
        let mut without = with.clone();
        without.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(element);
        if let (Ok(with), Ok(without)) = (read(&with), read(&without)) {
            for ask in asks() {
                let wider = permits(says(&with.grant, &ask)) && !permits(says(&without.grant, &ask));
                prop_assert!(!wider, "{:?}", ask);
            }
        }
    }
}
