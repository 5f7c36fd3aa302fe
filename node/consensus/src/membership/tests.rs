#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn id(value: u64) -> RaftId {
    RaftId::new(value).unwrap()
}

#[test]
fn golden_bytes() {
    let membership = Membership {
        voters: [id(1), id(2)].into(),
        learners: [id(9)].into(),
        voters_outgoing: [id(3)].into(),
        learners_next: [id(3)].into(),
        auto_leave: true,
    };
    let mut expected = vec![1, 1];
    for ids in [&[1u64, 2][..], &[9], &[3], &[3]] {
        expected.extend((ids.len() as u32).to_be_bytes());
        ids.iter().for_each(|id| expected.extend(id.to_be_bytes()));
    }
    assert_eq!(membership.encode(), expected);
    assert_eq!(Membership::decode(&expected), Ok(membership));
}

#[test]
fn rules() {
    let ok = Membership::new([id(1)], [id(2)]);
    assert_eq!(ok.validate(), Ok(()));
    let none = Membership::new([], [id(2)]);
    assert_eq!(none.validate(), Err(MembershipInvalid::NoVoters));
    let both = Membership::new([id(1)], [id(1)]);
    assert_eq!(both.validate(), Err(MembershipInvalid::LearnerVotes { id: id(1) }));
    let mut next = ok.clone();
    next.learners_next.insert(id(3));
    assert_eq!(next.validate(), Err(MembershipInvalid::LearnerNext { id: id(3) }));
    let mut leave = ok;
    leave.auto_leave = true;
    assert_eq!(leave.validate(), Err(MembershipInvalid::NotJoint));
    let crowd = Membership::new((1..=1025).map(id), []);
    assert_eq!(crowd.validate(), Err(MembershipInvalid::TooMany { count: 1025 }));
}

#[test]
fn decode_refuses_disorder() {
    let mut bytes = Membership::new([id(1), id(2)], []).encode();
    bytes.swap(13, 21);
    assert_eq!(Membership::decode(&bytes), Err(DecodeError::Order));
}

proptest! {
    #[test]
    fn decode_is_total_and_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(membership) = Membership::decode(&bytes) {
            prop_assert_eq!(membership.encode(), bytes);
        }
    }
}
