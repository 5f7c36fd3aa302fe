#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn purposes_cover_what_they_cover_elsewhere() {
    for (said, asked) in purpose::all().flat_map(|said| purpose::all().map(move |asked| (said, asked))) {
        let names = (LANGUAGE.purpose(said).unwrap(), LANGUAGE.purpose(asked).unwrap());
        let below = names.0 == names.1 || LANGUAGE.entities.is_ancestor_of(names.0, names.1);
        assert_eq!(below, purpose::covers(said, asked), "{} {}", names.0, names.1);
    }
}

#[test]
fn names_are_those_of_the_schema() {
    let schema = LANGUAGE.validator.schema();
    let mut actions: Vec<_> = schema.actions().map(ToString::to_string).collect();
    actions.sort_unstable();
    let mut kinds: Vec<_> = LANGUAGE.kinds.iter().map(ToString::to_string).collect();
    kinds.sort_unstable();
    assert_eq!(actions, kinds);
    assert_eq!(schema.entity_types().count(), 6);
    // The purposes and the actions, and nothing else.
    assert_eq!(LANGUAGE.entities.len(), purpose::all().count() + 4);
}

#[test]
fn every_role_that_reads_has_a_name() {
    for role in Role::ALL {
        let name = LANGUAGE.role(role).map(|name| name.id().unescaped().to_owned());
        assert_eq!(name, consilium_proto::access::reads_records(role).then(|| role.as_str().to_owned()));
    }
}

#[test]
fn every_ground_of_one_version_has_a_name() {
    for number in 0..=Ground::Restricted as i32 {
        let Ok(ground) = Ground::try_from(number) else { continue };
        let one = consilium_proto::access::permits(ground) && ground != Ground::Each;
        assert_eq!(LANGUAGE.ground(ground).is_some(), one, "{ground:?}");
    }
}
