#![allow(clippy::unwrap_used)]
use super::*;

fn printed<M: Printed>(message: M) -> String {
    serde_json::to_string(&One(message)).unwrap()
}

#[test]
fn fields_stand_in_their_order_with_names_for_numbers() {
    let line = pb::TallyLine { member: "a.example".into(), stake: 7, choice: pb::BallotChoice::Approve.into() };
    let tally = pb::Tally { approving: 7, lines: vec![line], ..Default::default() };
    let expected = "{\"approving\":7,\"rejecting\":0,\"total\":0,\"numerator\":0,\"denominator\":0,\"needed\":0,\
                    \"lines\":[{\"member\":\"a.example\",\"stake\":7,\"choice\":\"BALLOT_CHOICE_APPROVE\"}]}";
    assert_eq!(printed(tally), expected);
}

#[test]
fn bytes_are_hexadecimal_absent_messages_null_and_numbers_signed_where_they_are() {
    let record = pb::RecordVersion {
        record_id: vec![0xab, 1].into(),
        wraps: vec![pb::KeyWrapRef::default()],
        ..Default::default()
    };
    let record = printed(record);
    assert!(record.starts_with("{\"record_id\":\"ab01\",\"version\":0,"), "{record}");
    assert!(
        record.contains("\"wraps\":[{\"recipient_key_id\":\"\"") && record.contains("\"retraction\":false"),
        "{record}"
    );
    assert!(printed(pb::GetStakeResponse::default()).contains("\"stake\":null"));
    let status = pb::GetStatusResponse { certificate_not_after_s: -1, ..Default::default() };
    assert!(printed(status).contains("\"certificate_not_after_s\":-1,"));
}

#[test]
fn an_enumerator_that_is_not_known_is_its_number() {
    let line = pb::TallyLine { choice: 99, ..Default::default() };
    assert!(printed(pb::Tally { lines: vec![line], ..Default::default() }).contains("\"choice\":99"));
}

#[test]
fn every_document_says_its_schema() {
    assert_eq!(serde_json::to_string(&Document::new(&"x")).unwrap(), "{\"schema\":2,\"result\":\"x\"}");
    let claimed = serde_json::to_string(&Document::new(&"x").claimed(&["result"])).unwrap();
    assert_eq!(claimed, "{\"schema\":2,\"claimed\":[\"result\"],\"result\":\"x\"}");
}
