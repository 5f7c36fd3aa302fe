#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn error(text: &str) -> (String, FhirProblem) {
    let e = parse(text, "R", 1).unwrap_err();
    (e.path, e.problem)
}

#[test]
fn names_the_place_of_each_defect() {
    assert_eq!(error(r#"{"a":{"b":1,"b":2}}"#), ("R.a.b".into(), FhirProblem::DuplicateKey));
    assert_eq!(error(r#"{"a":[1,{"b":""}]}"#), ("R.a[1].b".into(), FhirProblem::Empty));
    assert_eq!(error(r#"{"a":[]}"#), ("R.a".into(), FhirProblem::Empty));
    assert_eq!(error(r#"{"a":{}}"#), ("R.a".into(), FhirProblem::Empty));
    assert_eq!(error(r#"{"a":null}"#), ("R.a".into(), FhirProblem::Null));
    assert_eq!(error(r#"{"Bob Smith":null}"#), ("R.?".into(), FhirProblem::Null));
    assert_eq!(error("{\"a\":1,}"), (String::new(), FhirProblem::Malformed { column: 8 }));
    assert_eq!(error("{\"a\":1} x"), (String::new(), FhirProblem::Malformed { column: 9 }));
}

#[test]
fn nulls_stand_in_arrays_of_primitives() {
    assert!(parse(r#"{"given":["a",null],"_given":[null,{"id":"x"}]}"#, "R", 1).is_ok());
}

#[test]
fn depth_is_bounded_exactly() {
    let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&nested(DEPTH_MAX), "R", 1).is_ok());
    assert_eq!(parse(&nested(DEPTH_MAX + 1), "R", 1).unwrap_err().problem, FhirProblem::TooDeep);
    assert!(parse(&"[".repeat(1_000_000), "R", 1).is_err());
}

#[test]
fn syntax_errors_name_the_line_of_the_file() {
    let e = parse("{\n\"a\":1\n\"b\":2}", "R", 10).unwrap_err();
    assert_eq!(e, FhirError { line: 12, path: String::new(), problem: FhirProblem::Malformed { column: 1 } });
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,200}") {
        let _ = parse(&text, "R", 1);
    }

    #[test]
    fn never_panics_on_json_like_text(text in r#"[\[\]{}",:0-9ntrue\\a-c ]{0,120}"#) {
        let _ = parse(&text, "R", 1);
    }
}
