#![allow(clippy::unwrap_used)]

use std::thread;

use consilium_proto::access::RecordFacts;
use consilium_proto::consent::Said;
use consilium_proto::ids::RecordId;
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessKind, Confidentiality, PurposeOfUse};

use super::*;
use crate::DEFAULT_POLICY;

fn facts(reader: &SpiffeId) -> Facts<'_> {
    Facts {
        reader,
        overdue_reviews: 0,
        kind: AccessKind::Read,
        purpose: PurposeOfUse::Treat,
        record: RecordFacts {
            id: RecordId([1; 16]),
            kind: "Observation",
            confidentiality: Confidentiality::Normal,
            custodian: "st-mary.example",
            author: "spiffe://st-mary.example/service/ehr",
            tags: &[],
            restricted: false,
        },
        accepted_as: None,
        under_care: false,
        consent: Said::Permits { by_name: false },
        emergency: false,
        emergency_forbidden: false,
    }
}

/// Decides without a stack of its own, on a thread with this much.
fn ask(text: &str, stack_bytes: usize) -> Result<Answer, RecursionFault> {
    let policies = Policies::compile(text).unwrap();
    let run = move || {
        let reader = "spiffe://lakeside.example/clinician/c".parse().unwrap();
        policies.ask_here(&Question::of(&facts(&reader), Ground::Consent).unwrap())
    };
    thread::Builder::new().stack_size(stack_bytes).spawn(run).unwrap().join().unwrap()
}

fn when(condition: &str) -> String {
    format!("@id(\"p\")permit(principal,action,resource)when{{{condition}}};")
}

#[test]
fn want_of_stack_is_a_fault_and_no_decision() {
    let text = when("true");
    assert_eq!(ask(&text, 64 * 1024), Err(RecursionFault));
    assert_eq!(ask(&text, 1024 * 1024), Ok(Answer::Permit));
    // A fault outweighs a failure, whichever comes first.
    let deep = when(&format!("{}true", "context.emergency||".repeat(50)));
    let fails =
        "@id(\"f\")forbid(principal,action,resource)when{9223372036854775807+context.record.confidentiality>0};";
    let text = format!("{deep}{fails}");
    assert_eq!(ask(&text, stack::LEFT_BYTES_MIN), Ok(Answer::Failed));
    assert_eq!(ask(&text, 128 * 1024), Err(RecursionFault));
}

/// As many links as there may be, behind a beginning and before an end.
fn longest(start: &str, link: &str, end: &str) -> String {
    let text = |n: usize| when(&format!("{start}{}{end}", link.repeat(n)));
    let most = (1..500).take_while(|n| Policies::compile(&text(*n)).is_ok()).last().unwrap();
    assert!(Policies::compile(&text(most + 1)).is_err());
    text(most)
}

#[test]
fn the_deepest_policies_leave_half_of_the_stack() {
    let e = "context.emergency";
    for (start, link, end) in [
        ("", "context.emergency||", "true"),
        ("!context.emergency", "&&true", ""),
        (e, "||false", "||true"),
        ("", "if context.emergency then true else ", "true"),
        ("", "if 1==1 then true else ", "true"),
        ("", "if [[[[[1]]]]].contains([[[[1]]]]) then true else ", "true"),
        ("1", "+1", ">1"),
        ("context.record.confidentiality", "*1", "+1-1*1>0"),
        ("1<context.record.confidentiality", "+1", ""),
        ("!(!(!(context.emergency", "&&true", ")))||true"),
        ("(context has reader", ".a", ")||true"),
        ("true", "}when{context.relation.author||true", ""),
        ("true", "}unless{context.emergency", ""),
    ] {
        let text = longest(start, link, end);
        let decided = ask(&text, stack::LEFT_BYTES_MIN / 2);
        assert!(matches!(decided, Ok(Answer::Permit | Answer::Deny)), "{text}: {decided:?}");
    }
}

#[test]
fn nesting_is_measured() {
    let deep = |condition: &str| {
        let text = when(condition);
        let form = Policy::parse(None, text).unwrap().to_json().unwrap();
        expressions_deep(&form.to_string())
    };
    assert_eq!(deep("context.emergency"), 2);
    assert_eq!(deep("context.emergency || context.emergency"), 3);
    assert_eq!(deep("context.emergency || context.emergency || context.emergency"), 4);
    assert_eq!(deep("!!context.emergency"), 4);
    assert_eq!(deep("context.record.kind == \"{{{{{{{{[[[[\\\"{{{\""), 4);
    let chain = |terms: usize| Policies::compile(&when(&["context.emergency"; 500][..terms].join("||"))).err();
    let too_nested = PolicyProblem::TooNested { id: "p".to_owned(), line: 1, nested: POLICY_NESTED_MAX + 1 };
    assert_eq!((chain(POLICY_NESTED_MAX - 2), chain(POLICY_NESTED_MAX - 1)), (None, Some(too_nested)));
}

#[test]
fn one_that_fails_denies() {
    let permit = "@id(\"all\") permit (principal, action, resource);";
    let over = "9223372036854775807 + context.record.confidentiality > 0";
    for effect in ["permit", "forbid"] {
        let text = format!("{permit} @id(\"f\") {effect} (principal, action, resource) when {{ {over} }};");
        assert_eq!(ask(&text, 1024 * 1024), Ok(Answer::Failed));
    }
    // What is not reached does not fail.
    let text =
        format!("{permit} @id(\"f\") forbid (principal, action, resource) when {{ context.emergency && {over} }};");
    assert_eq!(ask(&text, 1024 * 1024), Ok(Answer::Permit));
}

#[test]
fn problems_are_told_in_the_order_of_the_text() {
    let text = "@id(\"z\") permit (principal, action, resource);\n\
                @id(\"y\") permit (principal, action, resource) when { context.b };\n\
                @id(\"x\") permit (principal, action, resource) when { context.a };";
    for _ in 0..20 {
        match Policies::compile(text) {
            Err(PolicyProblem::Invalid { id, line, message }) => {
                assert_eq!((id.as_str(), line), ("y", 2));
                assert!(message.contains("`b`"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names_are_in_heads_and_conditions_or_nowhere() {
    let record = format!("Record::\"{}\"", "0a".repeat(16));
    let identity = "Identity::\"spiffe://a.example/clinician/c1\"";
    for (text, identities, records) in [
        (DEFAULT_POLICY.to_owned(), false, false),
        ("@id(\"a\") permit (principal, action, resource);".to_owned(), false, false),
        // Of any policy, any name.
        (format!("{DEFAULT_POLICY} @id(\"z\") forbid (principal, action, resource == {record});"), false, true),
        (format!("{DEFAULT_POLICY} @id(\"z\") forbid (principal == {identity}, action, resource);"), true, false),
        (when(&format!("resource == {record}")), false, true),
        (when(&format!("context.emergency && [{record}].contains(resource)")), false, true),
        (when(&format!("principal == {identity} && resource == {record}")), true, true),
        (when("context.record.kind == \"Record\""), false, false),
    ] {
        assert_eq!(Policies::compile(&text).unwrap().names, Names { identities, records }, "{text}");
    }
}
