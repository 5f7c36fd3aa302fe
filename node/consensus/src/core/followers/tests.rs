#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn nothing_outlives_its_term() {
    let peer = RaftId::new(2).unwrap();
    let mut followers = Followers::default();
    followers.heard(peer, Term(3), 10);
    followers.declined(peer, Term(3), 12);
    assert_eq!(followers.ticks_since_heard(peer, Term(3), 15), Some(5));
    assert_eq!(followers.ticks_since_declined(peer, Term(3), 15), Some(3));
    assert_eq!(followers.ticks_since_heard(peer, Term(4), 15), None);
    followers.heard(peer, Term(4), 16);
    assert_eq!(followers.ticks_since_heard(peer, Term(4), 16), Some(0));
    assert_eq!(followers.ticks_since_declined(peer, Term(4), 16), None);
}
