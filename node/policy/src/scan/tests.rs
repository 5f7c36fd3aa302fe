#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn policies_are_cut_at_their_semicolons() {
    let text = "// one\n@id(\"a\")\npermit (principal, action, resource); @x @y(\"z\") @id(\"b\") forbid\n(\";\");";
    let [a, b] = scan(text).unwrap().try_into().unwrap();
    assert_eq!(a, Piece { id: "a", line: 2, clauses: 0, text: "@id(\"a\")\npermit (principal, action, resource);" });
    assert_eq!(b, Piece { id: "b", line: 3, clauses: 0, text: "@x @y(\"z\") @id(\"b\") forbid\n(\";\");" });
}

#[test]
fn tokens_are_counted_as_cedar_counts_them() {
    let count = |text: &str| {
        let mut tokens = Tokens { text, at: 0, line: 1 };
        std::iter::from_fn(|| tokens.next_token().unwrap()).count()
    };
    assert_eq!(count("a.b == \"c d\" && !e // f"), 8);
    assert_eq!(count("12ab::c<=d||e<f>=g"), 12);
    assert_eq!(count("!==="), 2);
    assert_eq!(count("[{(1,2)}]"), 9);
}

#[test]
fn limits_are_met_exactly() {
    let policy = |tokens: usize| format!("@id(\"a\")permit({});", "x ".repeat(tokens - 9));
    assert!(scan(&policy(POLICY_TOKENS_MAX)).is_ok());
    assert_eq!(scan(&policy(POLICY_TOKENS_MAX + 1)), Err(PolicyProblem::TooManyTokens { line: 1 }));
    let policy = |bytes: usize| format!("@id(\"a\")permit({});", "x".repeat(bytes - 17));
    assert!(scan(&policy(POLICY_BYTES_MAX)).is_ok());
    assert_eq!(scan(&policy(POLICY_BYTES_MAX + 1)), Err(PolicyProblem::PolicyTooLong { line: 1 }));
}

proptest! {
    #[test]
    fn any_text_is_cut_or_refused(text in "\\PC{0,200}|[\"\\\\/(){};@id\n\r a?]{0,200}") {
        if let Ok(pieces) = scan(&text) {
            prop_assert!(pieces.iter().all(|piece| piece.text.ends_with(';') && text.contains(piece.text)));
        }
    }
}
