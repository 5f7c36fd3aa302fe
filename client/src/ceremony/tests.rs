//! The founding of a network, step by step, with what each step refuses.

#![allow(clippy::unwrap_used)]

use consilium_certs::contract::genesis::{GenesisError, check_members, verify_endorsements};

use super::*;
use crate::clock::now_ms;
use crate::files;
use crate::fixture::Member as House;
use crate::identity::load_signing_key;

fn houses(folder: &std::path::Path) -> [House; 2] {
    [House::new(folder, "st-mary.example", 2), House::new(folder, "lab.example", 1)]
}

fn found(houses: &[House; 2]) -> Vec<u8> {
    let parts = [make_part(houses[0].part(100, 7000)).unwrap(), make_part(houses[1].part(50, 8000)).unwrap()];
    let parts = parts.iter().map(|p| parse_part(&p.encode_to_vec()).unwrap()).collect();
    assemble("demo", now_ms(), parts, recommended_parameters()).unwrap().encode_to_vec()
}

fn endorse_as(house: &House, role_and_name: &str, document: &[u8]) -> Result<pb::Endorsement, ClientError> {
    let pem = files::read(&house.dir.join(format!("{role_and_name}.pem")), 100_000).unwrap();
    let chain = consilium_certs::pem::certificates(&pem).unwrap().iter().map(|d| Bytes::copy_from_slice(d)).collect();
    let key = load_signing_key(&house.dir.join(format!("{role_and_name}.key"))).unwrap();
    endorse(&Genesis::parse(document).unwrap(), chain, &key)
}

#[test]
fn a_network_is_founded_from_parts_and_endorsements() {
    let folder = tempfile::tempdir().unwrap();
    let houses = houses(folder.path());
    let document = found(&houses);
    let genesis = Genesis::parse(&document).unwrap();
    let nodes: Vec<_> = genesis.nodes().map(|(m, n)| (m.id.as_str(), n.name.as_str(), n.raft_id.0)).collect();
    let expected = [("lab.example", "n1", 1), ("st-mary.example", "n1", 2), ("st-mary.example", "n2", 3)];
    assert_eq!(nodes, expected);
    check_members(&genesis).unwrap();
    let lab = MemberId::parse("id", "lab.example").unwrap();
    let mary = MemberId::parse("id", "st-mary.example").unwrap();
    let both = GenesisError::NotEndorsed { members: vec![lab.clone(), mary.clone()] };
    assert_eq!(verify_endorsements(&genesis), Err(both));

    // Given in the wrong order, and one of them twice.
    let by_mary = endorse_as(&houses[0], "admin-anna", &document).unwrap();
    let once = add_endorsements(&document, vec![by_mary.clone(), by_mary]).unwrap().encode_to_vec();
    let missing = verify_endorsements(&Genesis::parse(&once).unwrap());
    assert_eq!(missing, Err(GenesisError::NotEndorsed { members: vec![lab.clone()] }));
    let by_lab = endorse_as(&houses[1], "admin-anna", &once).unwrap();
    let full = add_endorsements(&once, vec![by_lab]).unwrap();
    let endorsed = Genesis::parse(&full.encode_to_vec()).unwrap();
    assert_eq!(endorsed.ledger_id, genesis.ledger_id);
    let endorsers: Vec<_> =
        verify_endorsements(&endorsed).unwrap().into_iter().map(|e| e.administrator.to_string()).collect();
    assert_eq!(endorsers, ["spiffe://lab.example/admin/anna", "spiffe://st-mary.example/admin/anna"]);

    let mut swapped = full;
    swapped.endorsements.reverse();
    let swapped = Genesis::parse(&swapped.encode_to_vec()).unwrap();
    assert_eq!(verify_endorsements(&swapped), Err(GenesisError::Order { member: lab }));
}

#[test]
fn the_order_of_the_parts_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let houses = houses(folder.path());
    let parts = [make_part(houses[0].part(100, 7000)).unwrap(), make_part(houses[1].part(50, 8000)).unwrap()];
    let time_ms = now_ms();
    let one = assemble("demo", time_ms, parts.to_vec(), recommended_parameters()).unwrap();
    let mut reversed = parts.to_vec();
    reversed.reverse();
    let other = assemble("demo", time_ms, reversed, recommended_parameters()).unwrap();
    assert_eq!(one, other);
}

#[test]
fn a_private_key_never_gets_into_a_part() {
    let folder = tempfile::tempdir().unwrap();
    let [mary, _] = houses(folder.path());
    let key = files::read(&mary.dir.join("ca.key"), 100_000).unwrap();
    let mut with_ca_key = mary.part(1, 7000);
    with_ca_key.ca_pem.extend_from_slice(&key);
    let mut with_vote_key = mary.part(1, 7000);
    with_vote_key.nodes[0].vote_key = mary.vote_keys[0].to_pem().unwrap().as_bytes().to_vec();
    for request in [with_ca_key, with_vote_key] {
        let error = make_part(request).unwrap_err().to_string();
        assert!(error.contains("holds a private key"), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
    }
}

#[test]
fn parts_of_other_members_and_doubled_things_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let houses = houses(folder.path());
    let mut foreign = houses[0].part(1, 7000);
    foreign.id = "lab.example".into();
    assert!(make_part(foreign).unwrap_err().to_string().contains("is of st-mary.example"));
    let part = make_part(houses[0].part(100, 7000)).unwrap();
    let try_with = |parts| assemble("demo", now_ms(), parts, recommended_parameters()).unwrap_err().to_string();
    assert!(try_with(vec![part.clone(), part.clone()]).contains("ascending"));
    let mut same_key = part.clone();
    same_key.nodes[1].vote_key = same_key.nodes[0].vote_key.clone();
    assert!(try_with(vec![same_key]).contains("used by two nodes"));
    let mut same_address = part.clone();
    same_address.nodes[1].peer_address = same_address.nodes[0].client_address.clone();
    assert!(try_with(vec![same_address]).contains("is used twice"));
    let mut chosen_id = part;
    chosen_id.nodes[0].raft_id = 7;
    assert!(parse_part(&chosen_id.encode_to_vec()).unwrap_err().to_string().contains("raft ids"));
}

#[test]
fn only_an_administrator_of_the_member_endorses() {
    let folder = tempfile::tempdir().unwrap();
    let houses = houses(folder.path());
    let document = found(&houses);
    let error = endorse_as(&houses[0], "service-ehr", &document).unwrap_err().to_string();
    assert!(error.contains("by role service, not by an admin"), "{error}");
    let stranger = House::new(folder.path(), "mallory.example", 1);
    let error = endorse_as(&stranger, "admin-anna", &document).unwrap_err().to_string();
    assert!(error.contains("no member"), "{error}");
    // An impostor CA for the same trust domain.
    let impostor = House::new(&folder.path().join("impostor"), "lab.example", 1);
    let error = endorse_as(&impostor, "admin-anna", &document).unwrap_err().to_string();
    assert!(error.starts_with("endorsement of lab.example"), "{error}");
    // An endorsement of another document.
    let mut other = found(&houses);
    assert_ne!(other, document);
    let moved = endorse_as(&houses[1], "admin-anna", &other).unwrap();
    let error = add_endorsements(&document, vec![moved]).unwrap_err();
    assert!(error.to_string().contains("signature is not valid"), "{error}");
    other.clear();
    assert!(add_endorsements(&other, Vec::new()).is_err());
}
