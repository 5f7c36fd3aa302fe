#![allow(clippy::unwrap_used)]

use super::*;

const ROOMS: Rooms = Rooms {
    administrators: Room { count: 3, bytes: 100 },
    identity: Room { count: 2, bytes: 100 },
    member: Room { count: 3, bytes: 150 },
};

fn id(role: &str, name: &str) -> SpiffeId {
    format!("spiffe://a.example/{role}/{name}").parse().unwrap()
}

fn share(name: &str) -> Share {
    Share::of(Urgency::Emergency, &id("clinician", name)).unwrap()
}

#[test]
fn administrators_share_one_room_and_the_others_have_their_own() {
    let patient = id("patient", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    let of = |urgency, role| Share::of(urgency, &id(role, "x"));
    let administrators = Share::Administrators("a.example".parse().unwrap());
    assert_eq!(of(Urgency::Protection, "admin"), Some(administrators.clone()));
    assert_eq!(of(Urgency::Protection, "clinician"), None, "it protects nobody's member");
    assert_eq!(Share::of(Urgency::Withdrawal, &patient), Some(Share::Identity(patient.clone())));
    assert_eq!(of(Urgency::Emergency, "admin"), Some(Share::Identity(id("admin", "x"))));
    assert_eq!(of(Urgency::Key, "service"), Some(Share::Identity(id("service", "x"))));
    assert!(share("x").is_beside(&share("y")));
    assert!(!share("x").is_beside(&administrators) && !administrators.is_beside(&administrators));
}

#[test]
fn an_identity_fills_its_own_room_and_a_member_all_of_its_peoples() {
    let mut shares = Shares::new(ROOMS);
    assert!(shares.take(&share("x"), 10) && shares.take(&share("x"), 10));
    assert!(!shares.take(&share("x"), 10), "two are all that an identity has");
    assert!(shares.take(&share("y"), 10));
    assert!(!shares.take(&share("z"), 10), "three are all that the member has");
    let administrators = Share::Administrators("a.example".parse().unwrap());
    assert!(shares.take(&administrators, 10), "its administrators have room of their own");
    shares.leave(&share("x"), 10);
    assert!(shares.take(&share("z"), 10));
    shares.clear();
    assert!(shares.take(&share("x"), 10));
}

#[test]
fn bytes_count_unless_it_is_one() {
    let mut shares = Shares::new(ROOMS);
    assert!(shares.take(&share("x"), 1_000), "one has room, however large");
    assert!(!shares.take(&share("x"), 1));
    assert!(!shares.take(&share("y"), 1), "the member's room is full");
    shares.leave(&share("x"), 1_000);
    assert!(shares.take(&share("x"), 60));
    assert!(!shares.take(&share("x"), 60) && shares.take(&share("x"), 40));
}
