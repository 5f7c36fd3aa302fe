use super::*;

fn links(seed: u64) -> Links<u8> {
    Links::new(Rng::new(seed), 5)
}

#[test]
fn equal_seeds_give_equal_passages() {
    let stormy =
        || Links { loss_per_mille: 300, duplicate_per_mille: 300, delay_per_mille: 300, delay: (10, 20), ..links(7) };
    let (mut one, mut two) = (stormy(), stormy());
    for now in 0..100 {
        assert_eq!(one.passage(now, 1, 2), two.passage(now, 1, 2));
    }
}

#[test]
fn a_cut_is_one_way_and_loses_what_is_under_way() {
    let mut net = Network::new(links(1));
    net.links.cut(1, 2);
    net.send(0, 1, 2, "lost");
    net.send(0, 2, 1, "kept");
    net.links.heal();
    net.send(0, 1, 3, "cut on its way");
    net.links.cut(1, 3);
    let arrived: Vec<_> = net.due(5).into_iter().map(|packet| packet.message).collect();
    assert_eq!(arrived, ["kept"]);
}

#[test]
fn a_calm_network_delivers_once() {
    let mut links = Links { loss_per_mille: 1_000, calm: true, ..links(1) };
    let passage = links.passage(10, 1, 2);
    assert_eq!((passage.arrivals.len(), passage.faults), (1, Vec::new()));
}
