#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn reads_and_writes_one_spelling() {
    let text = "spiffe://st-mary.example/clinician/dr_who-1.2";
    let id: SpiffeId = text.parse().unwrap();
    assert_eq!(id.member().as_str(), "st-mary.example");
    assert_eq!(id.role(), Role::Clinician);
    assert_eq!(id.name(), "dr_who-1.2");
    assert_eq!(id.to_string(), text);
}

#[test]
fn every_role_reads_back() {
    for role in Role::ALL {
        assert_eq!(role.as_str().parse(), Ok(role));
    }
    assert_eq!("Node".parse::<Role>(), Err(InvalidName::Role));
}

#[test]
fn refuses_hostile_ids() {
    use InvalidName as E;
    let long = format!("spiffe://a.example/node/{}", "n".repeat(65));
    let cases = [
        ("", E::Scheme),
        ("SPIFFE://a.example/node/x", E::Scheme),
        ("https://a.example/node/x", E::Scheme),
        ("spiffe://a.example", E::Path),
        ("spiffe://a.example/node", E::Path),
        ("spiffe:///node/x", E::TrustDomain),
        ("spiffe://A.example/node/x", E::TrustDomain),
        ("spiffe://user@a.example/node/x", E::TrustDomain),
        ("spiffe://a.example:443/node/x", E::TrustDomain),
        ("spiffe://a..example/node/x", E::TrustDomain),
        ("spiffe://-a.example/node/x", E::TrustDomain),
        ("spiffe://a_b.example/node/x", E::TrustDomain),
        ("spiffe://a.example./node/x", E::TrustDomain),
        ("spiffe://a.example/root/x", E::Role),
        ("spiffe://a.example//x", E::Role),
        ("spiffe://a.example/node/x/", E::Path),
        ("spiffe://a.example/node/", E::Name),
        ("spiffe://a.example/node/..", E::Name),
        ("spiffe://a.example/node/X", E::Name),
        ("spiffe://a.example/node/x%2fy", E::Name),
        ("spiffe://a.example/node/x?q", E::Name),
        ("spiffe://a.example/node/x#f", E::Name),
        ("spiffe://a.example/node/x\0", E::Name),
        ("spiffe://a.example/node/x\n", E::Name),
        ("spiffe://a.example/node/\u{202e}x", E::Name),
        (long.as_str(), E::Name),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<SpiffeId>(), Err(expected), "{text:?}");
    }
}

#[test]
fn bounds_of_a_member_id() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), MEMBER_ID_BYTES_MAX);
    assert!(longest.parse::<MemberId>().is_ok());
    assert!(format!("{longest}a").parse::<MemberId>().is_err());
    assert!("a".repeat(64).parse::<MemberId>().is_err());
    let with_slash = MemberId::from_uri("spiffe://a.example/");
    assert_eq!(with_slash, Err(InvalidName::TrustDomain));
}

#[test]
fn a_node_has_a_spiffe_id() {
    let row = |member: &str, name: &str| pb::NodeState {
        member: member.into(),
        name: name.into(),
        ..pb::NodeState::default()
    };
    let id = SpiffeId::try_from(&row("a.example", "n-1")).unwrap();
    assert_eq!((id.role(), id.to_string().as_str()), (Role::Node, "spiffe://a.example/node/n-1"));
    assert_eq!(id.to_string().parse(), Ok(id));
    let longest = "n".repeat(NAME_BYTES_MAX);
    assert!(SpiffeId::try_from(&row("a.example", &longest)).is_ok());
    for (member, name) in [
        ("A", "n1"),
        ("", "n1"),
        ("a.example", ""),
        ("a.example", "n.1"),
        ("a.example", "N"),
        ("a.example", &format!("{longest}n")),
    ] {
        assert!(SpiffeId::try_from(&row(member, name)).is_err(), "{member}/{name}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_what_is_read_is_written_back(text in "(spiffe://)?[ -~]{0,80}") {
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

#[test]
fn names_of_patients_are_opaque() {
    let member: MemberId = "st-mary.example".parse().unwrap();
    let name = new_patient_name().unwrap();
    assert_ne!(name, new_patient_name().unwrap());
    assert!(SpiffeId::new(member.clone(), Role::Patient, &name).is_ok());
    for other in ["p1", "maria.muster", &name[1..], &name.to_uppercase(), &format!("{name}0"), &"g".repeat(32)] {
        let refused = SpiffeId::new(member.clone(), Role::Patient, other);
        assert!(matches!(refused, Err(InvalidName::PatientName | InvalidName::Name)), "{other}");
        assert!(format!("spiffe://st-mary.example/patient/{other}").parse::<SpiffeId>().is_err());
    }
}

#[test]
fn the_code_of_a_unit_has_one_spelling() {
    let longest = "A".repeat(UNIT_BYTES_MAX);
    for good in ["W-07", "4711", "-", &longest] {
        let unit = UnitCode::parse_optional("unit", good).unwrap().unwrap();
        assert_eq!((unit.as_str(), unit.to_string().as_str()), (good, good));
    }
    assert_eq!(UnitCode::parse_optional("unit", ""), Ok(None));
    let too_long = "A".repeat(UNIT_BYTES_MAX + 1);
    for bad in ["w-07", "W 07", "W_07", "W-07\n", "Ä", "W\0", &too_long] {
        assert_eq!(bad.parse::<UnitCode>(), Err(InvalidName::Unit), "{bad:?}");
        assert_eq!(UnitCode::parse_optional("unit", bad).map_err(|e| e.field), Err("unit".to_owned()));
    }
}
