use super::*;

#[test]
fn control_characters_are_made_visible() {
    assert_eq!(escaped("St Mary \u{1b}[2J\u{202e}é"), "St Mary \\u{1b}[2J\\u{202e}é");
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    assert_eq!(CliError::from(ClientError::Setting { setting: "key" }).exit_code, 2);
    assert_eq!(CliError::from(ClientError::contradiction("x")).exit_code, 1);
}
