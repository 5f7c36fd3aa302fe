#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use consilium_policy::check;
use consilium_proto::pb::AccessGround as Ground;

use super::example::{Example, ground_name, parse};
use super::*;
use crate::json;

fn defaults() -> Vec<Example> {
    parse(DEFAULT_EXAMPLES).unwrap()
}

fn default_policy() -> Policies {
    Policies::compile(DEFAULT_POLICY).unwrap()
}

/// One example with some text in place of another.
fn one(from: &str, to: &str) -> Result<Vec<Example>, serde_json::Error> {
    let example = r#"{"examples": [{"name": "by consent",
        "reader": {"member": "lakeside.example", "role": "clinician"}, "purpose": "TREAT",
        "record": {"custodian": "st-mary.example", "kind": "Observation"},
        "consent": "permit", "expect": "permit", "ground": "CONSENT"}]}"#;
    assert!(example.contains(from), "{from}");
    parse(&example.replace(from, to))
}

#[test]
fn scripts_get_what_was_checked() {
    json::snapshot::check("policy-checked", &CheckedView { bytes: DEFAULT_POLICY.len(), engine: ENGINE_VERSION });
    assert_eq!(check(DEFAULT_POLICY), Ok(()));
}

#[test]
fn the_default_policy_decides_the_default_examples_as_expected() {
    let view = TestView::of(&default_policy(), &defaults(), Expectations::DefaultPolicy).unwrap();
    assert_eq!(view.differences(), 0, "{}", view.text(false));
    assert!(defaults().iter().all(|example| example.expected.ground.is_some()));
}

#[test]
fn every_rule_of_the_default_policy_decides_an_example() {
    let policies = default_policy();
    let deciding = defaults().iter().flat_map(|e| policies.rules_that_decide(&e.facts()).unwrap()).collect();
    let rules = DEFAULT_POLICY.split("@id(\"").skip(1).map(|rule| rule.split('"').next().unwrap().to_owned());
    assert_eq!(rules.collect::<BTreeSet<_>>(), deciding);
}

#[test]
fn the_page_for_people_tells_every_example() {
    let page = include_str!("../../../../docs/access-policy.md");
    for Example { name, expected, .. } in defaults() {
        let ground = ground_name(expected.ground.unwrap());
        let line = format!("| {name} | {}: `{ground}` |", if expected.permit { "permit" } else { "deny" });
        assert!(page.contains(&line), "{line}");
    }
}

#[test]
fn another_text_shows_where_it_differs() {
    let nobody_exports = format!(
        "{DEFAULT_POLICY}\n@id(\"no-export\") forbid (principal, action == \
        Action::\"export\", resource);"
    );
    let policies = compile(&nobody_exports).unwrap();
    let mut examples = defaults();
    let view = TestView::of(&policies, &examples, Expectations::DefaultPolicy).unwrap();
    assert_eq!(view.differences(), 1);
    let text = view.text(false);
    assert!(text.starts_with("DIFFERS: Another hospital takes records along, by consent\n"), "{text}");
    assert!(text.contains("decided:  deny POLICY (rule no-export); denied: "), "{text}");
    assert!(
        text.contains("\nexpected is what the default policy decides, which need not be the one in force"),
        "{text}"
    );
    assert!(view.text(true).contains("as expected: A clinician of another hospital, by consent\n"));
    examples
        .retain(|example| example.name.starts_with("Another hospital takes") || example.name.starts_with("An auditor"));
    json::snapshot::check("policy-test", &TestView::of(&policies, &examples, Expectations::DefaultPolicy).unwrap());
}

#[test]
fn a_policy_that_opens_everything_opens_nothing_that_the_floor_denies() {
    let policies = compile("@id(\"all\") permit (principal, action, resource);").unwrap();
    let view = TestView::of(&policies, &defaults(), Expectations::DefaultPolicy).unwrap();
    let expected_of_policy = defaults().iter().filter(|e| e.expected.ground == Some(Ground::Policy)).count();
    assert_eq!(view.differences(), expected_of_policy, "{}", view.text(false));
}

#[test]
fn a_text_is_held_against_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let no_export = "@id(\"no-export\") forbid (principal, action == Action::\"export\", resource);";
    let now = file("now.cedar", &format!("{DEFAULT_POLICY}\n{no_export}"));
    let same = tested(&compile(&read(&now).unwrap()).unwrap(), None, Some(&now)).unwrap();
    assert_eq!(same.differences(), 0, "{}", same.text(false));
    let against = tested(&default_policy(), None, Some(&now)).unwrap();
    let text = against.text(false);
    assert_eq!(against.differences(), 1, "{text}");
    assert!(text.contains("expected: deny POLICY\n  decided:  permit CONSENT"), "{text}");
    assert!(text.ends_with("expected is what the other text decides"), "{text}");
    let examples = file("examples.json", DEFAULT_EXAMPLES);
    assert_eq!(tested(&default_policy(), Some(&examples), Some(&now)).unwrap().differences(), 1);
    assert!(tested(&default_policy(), None, Some(&examples)).is_err(), "no policy");
}

#[test]
fn the_ground_may_be_left_open() {
    let any = one(r#", "ground": "CONSENT""#, "").unwrap();
    assert_eq!(TestView::of(&default_policy(), &any, Expectations::Examples).unwrap().differences(), 0);
    let denied = one(r#""permit", "ground": "CONSENT""#, r#""deny""#).unwrap();
    assert_eq!(TestView::of(&default_policy(), &denied, Expectations::Examples).unwrap().differences(), 1);
    let otherwise = one(r#""CONSENT""#, r#""CUSTODIAN""#).unwrap();
    assert_eq!(TestView::of(&default_policy(), &otherwise, Expectations::Examples).unwrap().differences(), 1);
}

#[test]
fn what_is_no_example_is_refused_with_its_reason() {
    let cases = [
        (r#""TREAT""#, r#""TRAET""#, "no purpose of use"),
        (r#""clinician""#, r#""doctor""#, "role"),
        (r#""lakeside.example""#, r#""Lakeside""#, "trust domain"),
        (r#""consent": "permit""#, r#""consent": "yes""#, "unknown variant `yes`, expected one of"),
        (r#""consent""#, r#""consents""#, "unknown field `consents`"),
        (r#""kind": "Observation""#, r#""kind": "Observation", "confidentiality": "X""#, "none of U, L, M, N, R, V"),
        (r#""kind""#, r#""written_by_reader": true, "kind""#, "by consent\": the author of a record is of"),
        (r#""expect": "permit""#, r#""expect": "deny""#, "compare expect and ground"),
        (r#""CONSENT""#, r#""EACH""#, "no ground such as"),
    ];
    for (from, to, reason) in cases {
        let error = one(from, to).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(reason) && error.contains("line"), "{to}: {error}");
    }
    assert!(parse(r#"{"examples": []}"#).is_err());
}
