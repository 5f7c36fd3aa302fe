#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use proptest::prelude::*;

const ONE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

fn labels(text: impl AsRef<[u8]>) -> Result<Vec<String>, PemError> {
    Ok(sections(text.as_ref())?.into_iter().map(|section| section.label.to_string()).collect())
}

#[test]
fn a_section_is_read_with_its_line() {
    let found = sections(format!("Bag Attributes\n  friendlyName: x\n\n{ONE}").as_bytes()).unwrap();
    assert_eq!(
        (found[0].label.clone(), found[0].der.as_slice(), found[0].line),
        (Label::Certificate, &[1, 2, 3][..], 4)
    );
    assert_eq!(found.len(), 1);
    assert_eq!(sections(b"").unwrap(), vec![]);
    assert_eq!(sections(b"no certificate").unwrap(), vec![]);
}

#[test]
fn joined_files_keep_every_section() {
    let unended = ONE.trim_end();
    for joined in [
        format!("{ONE}{ONE}"),
        format!("{unended}{ONE}"),
        format!("\u{feff}{unended}\u{feff}{ONE}"),
        format!("{ONE}\u{feff}{unended}"),
        format!("{unended} \t{ONE}"),
        ONE.repeat(2).replace('\n', "\r"),
        ONE.repeat(2).replace('\n', "\r\n"),
        ONE.repeat(2).replace('\n', "  \r\r\n"),
        format!("  {}", ONE.repeat(2).replace('\n', "\n  ")),
    ] {
        assert_eq!(labels(&joined).unwrap(), ["CERTIFICATE", "CERTIFICATE"], "{joined:?}");
    }
}

#[test]
fn what_is_broken_is_named_with_its_line() {
    let base64 = |line| PemError::Base64 { line, label: Label::Certificate };
    for (text, expected) in [
        (ONE.replace("-----END CERTIFICATE-----\n", ""), PemError::Unended { line: 1, label: Label::Certificate }),
        (format!("{}{ONE}", &ONE[..30]), PemError::Marker { line: 2 }),
        (format!("{}\n{ONE}", &ONE[..30]), PemError::Unended { line: 1, label: Label::Certificate }),
        (format!("{ONE}-----END CERTIFICATE-----"), PemError::EndWithoutBegin { line: 4 }),
        (ONE.replace("END CERTIFICATE", "END X509 CRL"), PemError::LabelsDiffer { line: 3, label: Label::Certificate }),
        (ONE.replace("AQID", "AQI"), base64(1)),
        (ONE.replace("AQID", "AQ\u{feff}ID"), base64(1)),
        (ONE.replace("AQID", ""), base64(1)),
        (format!("\n\n{}", ONE.replace("AQID", "AQ_D")), base64(3)),
        (ONE.replace("-----BEGIN", "----BEGIN"), PemError::Marker { line: 1 }),
        (ONE.replace("-----BEGIN", "\u{2014}BEGIN"), PemError::Marker { line: 1 }),
        (ONE.replace("-----BEGIN", "# -----BEGIN"), PemError::Marker { line: 1 }),
        (ONE.replace("-----\nAQID", "-----AQID"), PemError::Marker { line: 1 }),
        (ONE.replace("AQID\n", "AQID"), PemError::Marker { line: 2 }),
        (ONE.replace("AQID", "Comment: x\n\nAQID"), PemError::Header { line: 2 }),
        (ONE.replace("AQID", "Proc-Type: 4,ENCRYPTED\n\nAQID"), PemError::Header { line: 2 }),
    ] {
        assert_eq!(sections(text.as_bytes()), Err(expected), "{text:?}");
    }
}

#[test]
fn utf_16_is_named() {
    let wide = |order: fn(u16) -> [u8; 2]| ONE.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    for text in [wide(u16::to_le_bytes), wide(u16::to_be_bytes)] {
        assert_eq!(sections(&text), Err(PemError::Utf16));
    }
    assert_eq!(sections(b"\xff\xfe"), Err(PemError::Utf16));
}

#[test]
fn a_file_for_one_kind_holds_no_other() {
    let key = ONE.replace("CERTIFICATE", "PRIVATE KEY");
    let foreign = PemError::Foreign { line: 4, found: Label::PrivateKey, expected: Label::Certificate };
    assert_eq!(
        foreign.to_string(),
        "line 4: a PRIVATE KEY in a file for a CERTIFICATE: put each into a file of its own"
    );
    assert_eq!(all(format!("{ONE}{key}").as_bytes(), &Label::Certificate), Err(foreign));
    let trusted = ONE.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    assert_eq!(all(trusted.as_bytes(), &Label::Certificate), Err(PemError::Trusted { line: 1 }));
    let second = Err(PemError::Second { line: 4, label: Label::Certificate });
    assert_eq!(one(ONE.repeat(2).as_bytes(), &Label::Certificate), second);
    assert_eq!(one(b"x", &Label::Certificate), Err(PemError::Missing { expected: Label::Certificate }));
}

#[test]
fn other_names_of_requests_and_certificates_are_known() {
    for (alias, label) in [
        ("X509 CERTIFICATE", Label::Certificate),
        ("NEW CERTIFICATE REQUEST", Label::CertificateRequest),
        ("CERTIFICATE REQUEST", Label::CertificateRequest),
    ] {
        assert_eq!(one(ONE.replace("CERTIFICATE", alias).as_bytes(), &label).unwrap().label, label);
    }
}

#[test]
fn private_keys_are_read_or_refused_by_name() {
    let of = |label: &str| ONE.replace("CERTIFICATE", label);
    assert!(matches!(private_key(of("PRIVATE KEY").as_bytes()), Ok(PrivateKey::Pkcs8(_))));
    let with_parameters = of("EC PARAMETERS") + &of("EC PRIVATE KEY");
    assert!(matches!(private_key(with_parameters.as_bytes()), Ok(PrivateKey::Sec1(_))));
    let traditional = of("EC PRIVATE KEY").replace("AQID", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAQID");
    for (text, expected) in [
        (of("ENCRYPTED PRIVATE KEY"), PemError::Encrypted { line: 1 }),
        (traditional, PemError::Encrypted { line: 1 }),
        (of("RSA PRIVATE KEY"), PemError::Rsa { line: 1 }),
        (of("PRIVATE KEY").repeat(2), PemError::Second { line: 4, label: Label::PrivateKey }),
        (of("EC PARAMETERS"), PemError::Missing { expected: Label::PrivateKey }),
        (
            of("OPENSSH PRIVATE KEY"),
            PemError::Foreign {
                line: 1,
                found: Label::Other("OPENSSH PRIVATE KEY".into()),
                expected: Label::PrivateKey,
            },
        ),
    ] {
        assert_eq!(private_key(text.as_bytes()).err(), Some(expected));
    }
}

/// How many certificates OpenSSL finds in a text; `None` if it is not here.
fn openssl_counts(text: &[u8]) -> Option<usize> {
    let mut child = Command::new("openssl")
        .args(["storeutl", "-noout", "-certs", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("Total found: ")?.parse().ok())
}

const REAL: &str = include_str!("tests/root.pem");

#[test]
fn nothing_that_openssl_reads_is_lost() {
    if openssl_counts(REAL.as_bytes()).is_none() {
        eprintln!("NOT RUN: no openssl on this machine");
        return;
    }
    let text = format!("Certificate:\n    Data: CN = Tr\u{e4}ger\n{REAL}");
    for (text, least) in [
        (REAL.to_owned(), 1),
        (REAL.repeat(3), 3),
        (text.repeat(2), 2),
        (REAL.repeat(2).replace('\n', "\r\n"), 2),
        (REAL.repeat(2).replace('\n', " \n"), 2),
        (REAL.replace("CERTIFICATE", "X509 CERTIFICATE"), 1),
        (format!("{}{REAL}", REAL.trim_end()), 0),
        (format!("\u{feff}{REAL}{REAL}"), 0),
        (format!("{REAL}# {REAL}"), 0),
    ] {
        let theirs = openssl_counts(text.as_bytes()).unwrap();
        assert!(theirs >= least, "the text is one that OpenSSL reads");
        if let Ok(ours) = all(text.as_bytes(), &Label::Certificate) {
            assert!(ours.len() >= theirs, "{} of {theirs}", ours.len());
        }
    }
}

fn line_end() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]
}

fn between() -> impl Strategy<Value = String> {
    let comment = prop_oneof![Just(""), Just("subject=CN = x"), Just("# a root"), Just("Bag Attributes: <Empty>")];
    (comment, any::<bool>(), any::<bool>()).prop_map(|(comment, newline, bom)| {
        let newline = if newline || !comment.is_empty() { "\n" } else { "" };
        let after = if comment.is_empty() { "" } else { "\n" };
        format!("{newline}{comment}{after}{}", if bom { "\u{feff}" } else { "" })
    })
}

proptest! {
    #[test]
    fn as_many_come_out_as_were_put_in(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 1..8),
        joins in proptest::collection::vec(between(), 8),
        end in line_end(),
        width in 1usize..100,
    ) {
        let mut text = String::new();
        for (body, join) in bodies.iter().zip(&joins) {
            let base64 = Base64::encode_string(body);
            let lines: Vec<&str> = base64.as_bytes().chunks(width).map(|c| std::str::from_utf8(c).unwrap()).collect();
            text += &format!("{join}-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----", lines.join("\n"));
        }
        let found = all(text.replace('\n', end).as_bytes(), &Label::Certificate).unwrap();
        let found: Vec<Vec<u8>> = found.into_iter().map(|section| section.der.to_vec()).collect();
        prop_assert_eq!(found, bodies);
    }

    /// Whatever single byte is lost, changed or put in: the same certificates come out, or an error.
    #[test]
    fn damage_never_loses_a_section(at in 0usize..1000, byte in any::<u8>(), kind in 0u8..3) {
        let mut text = ONE.repeat(3).into_bytes();
        let at = at % text.len();
        match kind {
            0 => { text.remove(at); }
            1 => text[at] = byte,
            _ => text.insert(at, byte),
        }
        if let Ok(found) = all(&text, &Label::Certificate) {
            prop_assert_eq!(found.len(), 3, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn hostile_text_never_panics(text in proptest::collection::vec(any::<u8>(), 0..300), marks in any::<u8>()) {
        let mut hostile = text;
        for (bit, mark) in [BEGIN, END, TAIL, BOM, b"\n", b"Proc-Type: 4,ENCRYPTED", b":", UTF16_BEGIN].iter().enumerate() {
            if marks >> bit & 1 == 1 {
                let at = hostile.len() / (bit + 1);
                hostile.splice(at..at, mark.iter().copied());
            }
        }
        let _ = sections(&hostile);
        let _ = private_key(&hostile);
    }
}
