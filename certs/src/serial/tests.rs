#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn canonical_form_of_der_integers() {
    let read = Serial::from_der_integer;
    assert_eq!(read(&[0x00, 0x80]).unwrap().to_string(), "80");
    assert_eq!(read(&[0x7f, 0x00]).unwrap().to_string(), "7f00");
    assert_eq!(read(&[]), Err(InvalidSerial::Zero));
    assert_eq!(read(&[0]), Err(InvalidSerial::Zero));
    assert_eq!(read(&[0, 0]), Err(InvalidSerial::NotMinimal));
    assert_eq!(read(&[0, 1]), Err(InvalidSerial::NotMinimal));
    assert_eq!(read(&[0xff]), Err(InvalidSerial::Negative));
    assert!(read(&[0x7f; 20]).is_ok());
    assert_eq!(read(&[0x7f; 21]), Err(InvalidSerial::TooLong));
    let mut padded = vec![0];
    padded.extend([0x80; 20]);
    assert_eq!(read(&padded).unwrap().as_bytes(), [0x80; 20]);
}

#[test]
fn refuses_other_spellings() {
    let cases = [
        ("", InvalidSerial::Zero),
        ("00", InvalidSerial::Zero),
        ("0001", InvalidSerial::NotMinimal),
        ("abc", InvalidSerial::Text),
        ("AB", InvalidSerial::Text),
        ("0x", InvalidSerial::Text),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Serial>(), Err(expected), "{text:?}");
    }
}

proptest! {
    #[test]
    fn text_reads_back(octets in proptest::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(serial) = Serial::from_der_integer(&octets) {
            prop_assert_eq!(serial.to_string().parse(), Ok(serial));
        }
    }
}
