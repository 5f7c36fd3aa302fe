use super::*;

fn decide(yes: bool, interactive: bool, answer: &str) -> (Result<(), CliError>, String) {
    let mut out = Vec::new();
    let consent = Consent { yes };
    let result = consent.decide("ends\u{1b}[2J all", "Sign?", interactive, &mut answer.as_bytes(), &mut out);
    (result, String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn a_person_must_say_yes_in_full() {
    let (result, shown) = decide(false, true, "yes\n");
    assert_eq!(result, Ok(()));
    assert_eq!(shown, "ends\\u{1b}[2J all\n\nSign? Type yes: ");
    for answer in ["", "y\n", "YES\n", "no\n"] {
        assert!(decide(false, true, answer).0.is_err(), "{answer:?}");
    }
}

#[test]
fn where_nobody_answers_only_the_flag_agrees() {
    let (result, shown) = decide(false, false, "yes\n");
    assert_eq!(result, Err(CliError::usage("nobody is there to agree").hint("read the above, then pass --yes")));
    assert!(shown.starts_with("ends"), "what it does is shown all the same: {shown}");
    assert_eq!(decide(true, false, "").0, Ok(()));
    assert_eq!(decide(true, true, "").1, "ends\\u{1b}[2J all\n");
}
