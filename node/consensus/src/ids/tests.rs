use super::*;

#[test]
fn zero_is_nobody() {
    assert_eq!(RaftId::new(0), None);
    assert_eq!(RaftId::new(7).map(RaftId::get), Some(7));
}
