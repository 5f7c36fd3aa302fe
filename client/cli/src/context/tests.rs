use super::*;

#[test]
fn control_characters_are_made_visible() {
    assert_eq!(escaped("St Mary \u{1b}[2J\u{202e}é"), "St Mary \\u{1b}[2J\\u{202e}é");
}

#[test]
fn what_is_not_there_and_what_may_not_be_read_get_the_same_hint() {
    let status = |reason: &str, message: &str| {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        CliError::from(ClientError::Status { code: tonic::Code::NotFound, reason, message })
    };
    // As the SDK says it, and as a node does.
    let of_records = ["no such record for this identity and purpose", "no such record for this caller"];
    let [sdk, node] = of_records.map(|message| status("NOT_FOUND", message).hint);
    assert!(sdk.as_deref().is_some_and(|hint| hint.contains("--pseudonym and --purpose")), "{sdk:?}");
    assert_eq!(sdk, node);
    assert_eq!(status("NOT_FOUND", "there is no proposal 7").hint, None);
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    assert_eq!(CliError::from(ClientError::Setting { setting: "key" }).exit_code, 2);
    assert_eq!(CliError::from(ClientError::contradiction("x")).exit_code, 1);
}
