use super::*;

#[test]
fn scripts_get_the_leader() {
    crate::json::snapshot::check("leader", &LeaderView { leader: 3 });
}
