//! Texts that are made to break a node: each is refused with what is wrong, or decided, and
//! neither overflows a small stack.

use std::thread;

use consilium_policy::limits::{BRACKETS_MAX, POLICIES_MAX, POLICY_BYTES_MAX, POLICY_TOKENS_MAX, TEXT_BYTES_MAX};
use consilium_policy::{Policies, PolicyProblem, check};
use consilium_proto::consent::Said;
use consilium_proto::names::Role;
use consilium_proto::pb::PurposeOfUse;

use crate::case::{Case, FOREIGN};

const STACKS: [usize; 2] = [2 * 1024 * 1024, 64 * 1024];

/// Checks on threads with little stack, and compares.
fn checked(text: &str) -> Result<(), PolicyProblem> {
    let answers = STACKS.map(|bytes| {
        let text = text.to_owned();
        thread::Builder::new().stack_size(bytes).spawn(move || check(&text)).unwrap().join().unwrap()
    });
    let [large, small] = answers;
    assert_eq!(large, small);
    small
}

fn when(condition: &str) -> String {
    format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};")
}

/// The engine's problem with a condition.
fn said(condition: &str) -> String {
    match checked(&when(condition)) {
        Err(PolicyProblem::Syntax { id, line: 1, message } | PolicyProblem::Invalid { id, line: 1, message }) => {
            assert_eq!(id, "p");
            message
        }
        other => panic!("{condition}: {other:?}"),
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let longest = format!("{}\n// {}", when("true"), "x".repeat(TEXT_BYTES_MAX));
    assert_eq!(checked(&longest), Err(PolicyProblem::TextTooLong { bytes: longest.len() }));
    let many = |n| (0..n).map(|i| format!("@id(\"p{i}\") permit (principal, action, resource);\n")).collect::<String>();
    assert_eq!(checked(&many(POLICIES_MAX)), Ok(()));
    assert_eq!(checked(&many(POLICIES_MAX + 1)), Err(PolicyProblem::TooManyPolicies { line: POLICIES_MAX + 1 }));
    let long = when(&format!("context.record.kind == \"{}\"", "x".repeat(POLICY_BYTES_MAX)));
    assert_eq!(checked(&long), Err(PolicyProblem::PolicyTooLong { line: 1 }));
    for chain in ["!", "-", "true && ", "if true then true else ", "context.", "(", "[", "{", "1 + "] {
        let text = format!("\n{}", when(&chain.repeat(TEXT_BYTES_MAX / chain.len() - 100)));
        let refused = checked(&text).unwrap_err();
        let deep = matches!(refused, PolicyProblem::TooDeep { line: 2 });
        let many =
            matches!(refused, PolicyProblem::TooManyTokens { line: 2 } | PolicyProblem::PolicyTooLong { line: 2 });
        assert!(deep || many, "{chain}: {refused}");
    }
    let hundred_thousand = when(&"!".repeat(100_000));
    assert!(matches!(checked(&hundred_thousand), Err(PolicyProblem::TextTooLong { .. })));
}

#[test]
fn brackets_nest_up_to_the_limit() {
    let nested = |n: usize| when(&format!("{}true{}", "(".repeat(n), ")".repeat(n)));
    assert_eq!(checked(&nested(BRACKETS_MAX - 1)), Ok(()));
    assert_eq!(checked(&nested(BRACKETS_MAX)), Err(PolicyProblem::TooDeep { line: 1 }));
    assert_eq!(checked(&when("(true]")), Err(PolicyProblem::Unbalanced { line: 1, bracket: ']' }));
    assert_eq!(checked("\n}"), Err(PolicyProblem::Unbalanced { line: 2, bracket: '}' }));
}

#[test]
fn only_finished_policies_with_names_of_their_own() {
    let template = "@id(\"t\")\npermit (principal == ?principal, action, resource);";
    assert_eq!(checked(template), Err(PolicyProblem::Template { line: 2 }));
    for nameless in [
        "permit (principal, action, resource);",
        "@id permit (principal, action, resource);",
        "@name(\"p\") permit (principal, action, resource);",
        "@id(\"\") permit (principal, action, resource);",
        "@id(\"With Blank\") permit (principal, action, resource);",
        "@id(\"a\\\"b\") permit (principal, action, resource);",
        "// @id(\"comment\")\npermit (principal, action, resource);",
        ";",
    ] {
        let line = nameless.lines().position(|line| !line.starts_with("//")).unwrap() + 1;
        assert_eq!(checked(nameless), Err(PolicyProblem::NoId { line }), "{nameless}");
    }
    let twice = format!("{}\n\n{}", when("true"), when("false"));
    assert_eq!(checked(&twice), Err(PolicyProblem::DuplicateId { line: 3, id: "p".to_owned() }));
    let two_ids = "@id(\"a\") @id(\"b\") permit (principal, action, resource);";
    assert!(matches!(checked(two_ids), Err(PolicyProblem::Syntax { .. })));
    for empty in ["", " \n\t", "// nothing"] {
        assert_eq!(checked(empty), Err(PolicyProblem::NoPolicy));
    }
    assert_eq!(checked("@id(\"p\") permit (principal"), Err(PolicyProblem::Unfinished { line: 1 }));
}

#[test]
fn what_cannot_be_seen_is_refused() {
    let at = |text: &str| match checked(text) {
        Err(PolicyProblem::Character { line, character }) => (line, character),
        other => panic!("{text:?}: {other:?}"),
    };
    assert_eq!(at("// left \u{202e} right"), (1, '\u{202e}'));
    assert_eq!(at("// zero\n// \u{200b}width"), (2, '\u{200b}'));
    assert_eq!(at("// \u{0}"), (1, '\u{0}'));
    assert_eq!(at(&when("context.record.kind == \"Öbservation\"")), (1, 'Ö'));
    assert_eq!(at(&when("cоntext.emergency")), (1, 'о'));
    assert_eq!(at(&when("true & true")), (1, '&'));
    assert_eq!(at("\u{feff}"), (1, '\u{feff}'));
    assert_eq!(checked(&when("context.record.kind == \"a\nb\"")), Err(PolicyProblem::OpenString { line: 1 }));
    assert_eq!(checked(&when("context.record.kind == \"a\\\"")), Err(PolicyProblem::OpenString { line: 1 }));
    assert_eq!(checked(&format!("// Größe, 患者\r\n{}", when("true"))), Ok(()));
}

#[test]
fn comments_and_strings_hide_nothing() {
    let hidden = "@id(\"p\") permit (principal, action, resource) // ;\n when { context.record.kind == \"// ;)\" };";
    assert_eq!(checked(hidden), Ok(()));
    // Cedar ends comments at a carriage return: what follows it is a policy.
    let after = format!("{} // \r{}", when("true"), when("true"));
    assert_eq!(checked(&after), Err(PolicyProblem::DuplicateId { line: 1, id: "p".to_owned() }));
}

#[test]
fn what_is_not_there_is_refused() {
    for (condition, says) in [
        ("context.reader.rank > 1", "rank"),
        ("context.now > 1", "now"),
        ("context.reader.role == Role::\"physician\"", "physician"),
        ("context.ground == Ground::\"wish\"", "wish"),
        ("context.consent.effect == Effect::\"perhaps\"", "perhaps"),
        ("context.purpose == Purposes::\"TREAT\"", "Purposes"),
        ("principal in Group::\"all\"", "Group"),
        ("action == Action::\"write\"", "write"),
        ("context.reader.role == \"clinician\"", "types"),
        ("context.record.confidentiality == Purpose::\"TREAT\"", "types"),
        ("principal.name == \"x\"", "name"),
        ("true true", "unexpected"),
        ("!!!!!true", "!"),
    ] {
        let message = said(condition);
        assert!(message.contains(says), "{condition}: {message}");
    }
    for (name, condition) in [
        ("Purpose::\"TREATMENT\"", "context.purpose in Purpose::\"TREATMENT\""),
        ("Purpose::\"UNSPECIFIED\"", "context.purpose in [Purpose::\"TREAT\", Purpose::\"UNSPECIFIED\"]"),
        ("Identity::\"alice\"", "principal == Identity::\"alice\""),
        ("Record::\"AB\"", "resource == Record::\"AB\""),
    ] {
        let expected = PolicyProblem::NoSuchName { id: "p".to_owned(), line: 1, name: name.to_owned() };
        assert_eq!(checked(&when(condition)), Err(expected));
    }
}

#[test]
fn functions_are_refused() {
    for (name, condition) in [
        ("ip", "ip(\"10.0.0.1\").isLoopback()"),
        ("decimal", "decimal(\"1.0\") == decimal(\"1.0\")"),
        ("datetime", "datetime (\"2024-01-01\") == datetime(\"2024-01-01\")"),
        ("duration", "context.emergency && duration // \n (\"1h\") == duration(\"1h\")"),
        ("now", "now() > 1"),
        ("b", "a::b(1)"),
        ("context", "context(1)"),
    ] {
        let line = condition.lines().count();
        assert_eq!(checked(&when(condition)), Err(PolicyProblem::Function { line, name: name.to_owned() }));
    }
    for fine in ["if (context.emergency) then (true) else (false)", "context.purpose in (Purpose::\"TREAT\")"] {
        assert_eq!(checked(&when(fine)), Ok(()));
    }
    // Methods of extensions have nothing to be called on.
    assert!(said("context.reader.member.isLoopback()").starts_with("unexpected type"));
}

#[test]
fn what_can_never_apply_is_a_mistake() {
    for never in ["false", "context.purpose in Identity::\"spiffe://a.example/service/x\"", "principal == resource"] {
        assert!(!said(never).is_empty());
    }
}

/// The conditions that recurse most: as long as a policy may be, and as deep.
fn worst() -> Vec<String> {
    let deep = BRACKETS_MAX - 1;
    let (e, ifs) = ("context.emergency", "if context.emergency then true else ");
    let chains = [
        ("", "context.emergency||", 4, e),
        ("", "true&&", 2, e),
        (e, "&&true", 2, ""),
        ("", "false||", 2, e),
        ("", ifs, 6, e),
        ("", "if ", 1, "true"),
        ("1", "+1", 2, "==0"),
        ("1", "-1", 2, "==0"),
        ("context.reader.overdueReviews", "*2", 2, "==0"),
        ("", "context.", 2, "x"),
        ("", "!", 1, "true"),
        ("1==", "-", 1, "1"),
        ("true||context has ", "a.", 2, "a"),
        ("[", "true,", 2, "true].contains(true)"),
        ("", "true==", 2, "true"),
        ("", "[].contains(", 4, "1"),
    ];
    // permit (principal, action, resource) when { }; with its @id has 18 tokens.
    let tokens = POLICY_TOKENS_MAX - 18 - 12;
    let long = chains.iter().map(|(start, link, n, end)| format!("{start}{}{end}", link.repeat(tokens / n)));
    let nested = chains.iter().map(|(start, link, _, end)| format!("{start}{}{end}", link.repeat(56)));
    let brackets = [
        ("(", format!("{}{e}", ifs.repeat(70)), ")"),
        ("(", format!("{}{e}", "true&&".repeat(200)), ")"),
        ("!!!(", e.to_owned(), ")"),
        ("[", "true".to_owned(), "]"),
        ("{a:", "true".to_owned(), "}"),
    ];
    let brackets = brackets.map(|(open, inner, close)| format!("{}{inner}{}", open.repeat(deep), close.repeat(deep)));
    let strings = [
        format!("context.reader.member like \"{}b\"", "*a".repeat(POLICY_BYTES_MAX / 2 - 100)),
        format!("context.record.kind == \"{}\"", "\\u{41}".repeat(600)),
    ];
    long.chain(nested).chain(brackets).chain(strings).map(|condition| when(&condition)).collect()
}

#[test]
fn the_worst_within_the_limits_overflows_no_stack() {
    let case =
        Case { consent: Said::Permits { by_name: true }, ..Case::new(FOREIGN, Role::Clinician, PurposeOfUse::Treat) };
    let mut taken = 0;
    for text in worst() {
        let answers = STACKS.map(|bytes| {
            let (text, case) = (text.clone(), case.clone());
            let run = move || Policies::compile(&text).map(|policies| policies.decide(&case.facts()));
            thread::Builder::new().stack_size(bytes).spawn(run).unwrap().join().unwrap()
        });
        let [large, small] = answers;
        assert_eq!(large, small, "{text}");
        taken += usize::from(small.is_ok_and(|decision| decision.is_ok()));
    }
    assert!(taken >= 10, "only {taken} are policies at all");
}
