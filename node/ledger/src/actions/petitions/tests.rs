use super::*;

fn due(registered_by: &[&str]) -> Vec<PetitionDue> {
    let one = |member: &&str| PetitionDue { registered_by: (*member).to_owned(), ..PetitionDue::default() };
    registered_by.iter().map(one).collect()
}

#[test]
fn whoever_brings_more_gives_room_for_them() {
    let listed = due(&["a", "b", "c", "b", "b"]);
    assert_eq!(gives_room(&listed, "c"), 2, "its own oldest");
    assert_eq!(gives_room(&listed, "b"), 1);
    assert_eq!(gives_room(&listed, "d"), 1, "who has none yet, of who has most");
    assert_eq!(gives_room(&due(&["", "a"]), ""), 0, "of patients whom nobody has registered");
}
