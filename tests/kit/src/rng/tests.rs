use super::*;

#[test]
fn the_stream_is_pinned() {
    let mut rng = Rng::new(1);
    assert_eq!([rng.draw(), rng.draw()], [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67]);
    assert_eq!(Rng::new(7).range(3, 3), 3);
}
