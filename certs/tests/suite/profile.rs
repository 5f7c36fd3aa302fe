//! The profile of identities and CAs: what is accepted, and each refusal.

use consilium_certs::pem::PemError;
use consilium_certs::{
    BundleError, CaBundle, CaCertificate, IdentityCertificate, InvalidSerial, IssueError, KeyType, ProfileError,
    SubjectKey,
};
use consilium_proto::names::{InvalidName, Role};
use consilium_proto::pem::Label;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose as Eku, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose as Ku, NameConstraints, PublicKeyData, SanType, SerialNumber,
};

use crate::common::*;

type Spoil = fn(&mut CertificateParams);

fn parse_spoilt(spoil: Spoil) -> Result<IdentityCertificate, ProfileError> {
    let mut params = leaf_params();
    spoil(&mut params);
    let der = sign(&ca(MEMBER), &params, &KeyPair::generate().unwrap());
    IdentityCertificate::parse(&der)
}

fn usages(role: Role, found: &str) -> ProfileError {
    ProfileError::ExtendedKeyUsage { role, found: found.into() }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let spoil = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![Eku::ServerAuth, Eku::CodeSigning];
        params.key_usages = vec![Ku::KeyAgreement];
        params.is_ca = IsCa::NoCa;
        params.not_after = params.not_before + time::Duration::days(900);
    };
    let mut params = leaf_params();
    assert!(IdentityCertificate::problems(&sign(&ca(MEMBER), &params, &KeyPair::generate().unwrap())).is_empty());
    spoil(&mut params);
    let der = sign(&ca(MEMBER), &params, &KeyPair::generate().unwrap());
    let problems = IdentityCertificate::problems(&der);
    assert_eq!(problems.first(), IdentityCertificate::parse(&der).err().as_ref());
    assert!(
        matches!(
            problems.as_slice(),
            [
                ProfileError::ValidityTooLong { .. },
                ProfileError::IdentityKeyUsage,
                ProfileError::ExtendedKeyUsage { .. },
                ProfileError::MissingExtension("subjectKeyIdentifier"),
            ]
        ),
        "{problems:?}"
    );
    let text = problems[2].to_string();
    assert_eq!(text, "extended key usages are serverAuth, codeSigning; role clinician has exactly clientAuth");
    assert!(CaCertificate::problems(ca(MEMBER).certificate().der()).is_empty());
    assert!(CaCertificate::problems(&der).contains(&ProfileError::NotACa));
    assert_eq!(IdentityCertificate::problems(b"x"), [ProfileError::Encoding("structure")]);
}

#[test]
fn a_host_name_beside_the_identity_is_known() {
    let mut with = request(Role::Node, "n1");
    with.dns_names = vec!["node.st-mary.example".into()];
    assert!(ca(MEMBER).issue(&with).unwrap().certificate.has_host_name());
    with.dns_names.clear();
    assert!(!ca(MEMBER).issue(&with).unwrap().certificate.has_host_name());
}

#[test]
fn unspoilt_parameters_are_accepted() {
    let identity = parse_spoilt(|_| {}).unwrap();
    assert_eq!(identity.spiffe_id().to_string(), "spiffe://st-mary.example/clinician/who");
    assert_eq!(identity.serial().as_bytes(), [0x51; 16]);
    assert_eq!(identity.not_before(), NOW - DAY);
    assert_eq!(identity.not_after(), NOW + DAY);
}

#[test]
fn dns_and_ip_names_may_stand_beside_the_uri() {
    let identity = parse_spoilt(|params| {
        let names = &mut params.subject_alt_names;
        names.insert(0, SanType::DnsName("n1.st-mary.example".try_into().unwrap()));
        names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    });
    assert!(identity.is_ok(), "{identity:?}");
}

#[test]
fn refuses_each_deviation_of_a_leaf() {
    let clinician = Role::Clinician;
    let email = |params: &mut CertificateParams| {
        let name = SanType::Rfc822Name("who@st-mary.example".try_into().unwrap());
        params.subject_alt_names.push(name);
    };
    let constrain = |params: &mut CertificateParams| {
        let subtree = GeneralSubtree::DnsName(MEMBER.into());
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: vec![subtree], excluded_subtrees: vec![] });
    };
    let cases: [(&str, Spoil, ProfileError); 29] = [
        ("no SAN", |p| p.subject_alt_names.clear(), ProfileError::UriNames { count: 0 }),
        (
            "two URI SANs",
            |p| p.subject_alt_names.push(uri("spiffe://st-mary.example/admin/who")),
            ProfileError::UriNames { count: 2 },
        ),
        ("e-mail SAN", email, ProfileError::NameKind),
        (
            "foreign scheme",
            |p| p.subject_alt_names = vec![uri("https://st-mary.example/clinician/who")],
            ProfileError::SpiffeId(InvalidName::Scheme),
        ),
        (
            "trust domain id as a leaf's",
            |p| p.subject_alt_names = vec![uri("spiffe://st-mary.example")],
            ProfileError::SpiffeId(InvalidName::Path),
        ),
        (
            "unknown role",
            |p| p.subject_alt_names = vec![uri("spiffe://st-mary.example/root/who")],
            ProfileError::SpiffeId(InvalidName::Role),
        ),
        ("no EKU", |p| p.extended_key_usages.clear(), ProfileError::MissingExtension("extKeyUsage")),
        ("serverAuth alone", |p| p.extended_key_usages = vec![Eku::ServerAuth], usages(clinician, "serverAuth")),
        (
            "serverAuth besides, not a node",
            |p| p.extended_key_usages.push(Eku::ServerAuth),
            usages(clinician, "clientAuth, serverAuth"),
        ),
        ("anyEKU alone", |p| p.extended_key_usages = vec![Eku::Any], usages(clinician, "anyExtendedKeyUsage")),
        (
            "anyEKU besides",
            |p| p.extended_key_usages.push(Eku::Any),
            usages(clinician, "anyExtendedKeyUsage, clientAuth"),
        ),
        (
            "codeSigning besides",
            |p| p.extended_key_usages.push(Eku::CodeSigning),
            usages(clinician, "clientAuth, codeSigning"),
        ),
        (
            "private EKU besides",
            |p| p.extended_key_usages.push(Eku::Other(vec![1, 3, 6, 1, 4, 1, 99999, 1])),
            usages(clinician, "clientAuth, 1.3.6.1.4.1.99999.1"),
        ),
        (
            "node without serverAuth",
            |p| p.subject_alt_names = vec![uri("spiffe://st-mary.example/node/n1")],
            usages(Role::Node, "clientAuth"),
        ),
        ("no key usage", |p| p.key_usages.clear(), ProfileError::MissingExtension("keyUsage")),
        ("no digitalSignature", |p| p.key_usages = vec![Ku::KeyAgreement], ProfileError::IdentityKeyUsage),
        ("keyCertSign", |p| p.key_usages.push(Ku::KeyCertSign), ProfileError::IdentityKeyUsage),
        ("cRLSign", |p| p.key_usages.push(Ku::CrlSign), ProfileError::IdentityKeyUsage),
        ("CA as leaf", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), ProfileError::CaAsIdentity),
        ("no SKI", |p| p.is_ca = IsCa::NoCa, ProfileError::MissingExtension("subjectKeyIdentifier")),
        (
            "no AKI",
            |p| p.use_authority_key_identifier_extension = false,
            ProfileError::MissingExtension("authorityKeyIdentifier"),
        ),
        ("name constraints", constrain, ProfileError::NameConstraints),
        (
            "serial zero",
            |p| p.serial_number = Some(SerialNumber::from_slice(&[0])),
            ProfileError::Serial(InvalidSerial::Zero),
        ),
        (
            "serial of 21 octets",
            |p| p.serial_number = Some(SerialNumber::from_slice(&[0x7f; 21])),
            ProfileError::Serial(InvalidSerial::TooLong),
        ),
        (
            "validity inside out",
            |p| p.not_after = at(NOW - 2 * DAY),
            ProfileError::Validity { not_before: NOW - DAY, not_after: NOW - 2 * DAY },
        ),
        (
            "validity of 825 days and a second",
            |p| p.not_after = at(NOW + 824 * DAY + 1),
            ProfileError::ValidityTooLong { seconds: 825 * DAY + 1, max_seconds: 825 * DAY },
        ),
        (
            "unknown critical extension",
            |p| {
                let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 7], vec![5, 0]);
                unknown.set_criticality(true);
                p.custom_extensions.push(unknown);
            },
            ProfileError::UnknownCriticalExtension { oid: "1.3.6.1.4.1.99999.7".into() },
        ),
        (
            "EKU twice",
            |p| {
                let client_auth = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
                p.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 37], client_auth.to_vec()));
            },
            ProfileError::DuplicateExtension { oid: "2.5.29.37".into() },
        ),
        (
            "malformed CRL distribution points",
            |p| {
                p.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 31], vec![0x02, 0x01, 0x01]));
            },
            ProfileError::MalformedExtension { oid: "2.5.29.31".into() },
        ),
    ];
    for (what, spoil, expected) in cases {
        assert_eq!(parse_spoilt(spoil).err(), Some(expected), "{what}");
    }
}

#[test]
fn trailing_bytes_inside_an_extension_are_refused() {
    // Key usage with a byte behind its BIT STRING, which x509-parser ignores.
    let outcome = parse_spoilt(|params| {
        params.key_usages.clear();
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![0x03, 0x02, 0x07, 0x80, 0x00]));
    });
    let oid = "2.5.29.15".into();
    assert_eq!(outcome, Err(ProfileError::MalformedExtension { oid }));
}

#[test]
fn what_only_one_parser_accepts_is_refused() {
    // A critical flag of 0x7f: BER for true, which x509-parser takes.
    let mut der = issue(&ca(MEMBER), Role::Patient, "p1").certificate.der().to_vec();
    let basic_constraints = [0x55, 0x1d, 0x13, 0x01, 0x01, 0xff];
    let start = der.windows(6).position(|w| w == basic_constraints).unwrap();
    der[start + 5] = 0x7f;
    assert_eq!(IdentityCertificate::parse(&der), Err(ProfileError::Encoding("not strict DER")));
}

#[test]
fn keys_are_p256_or_p384() {
    let issuer = ca(MEMBER);
    let parse = |key: &KeyPair| IdentityCertificate::parse(&sign(&issuer, &leaf_params(), key));
    let p256 = KeyPair::generate().unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let identity = parse(&p256).unwrap();
    assert_eq!(identity.key_type(), KeyType::EcP256);
    assert_eq!(identity.public_key().point(), p256.public_key_raw());
    assert_eq!(identity.public_key().spki(), p256.subject_public_key_info());
    assert_eq!(parse(&p384).unwrap().key_type(), KeyType::EcP384);
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P521_SHA512] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(parse(&key), Err(ProfileError::PublicKey), "{algorithm:?}");
    }
}

#[test]
fn a_point_off_the_curve_is_refused() {
    let issued = issue(&ca(MEMBER), Role::Patient, "p1");
    let point = issued.certificate.public_key().point();
    let der = issued.certificate.der();
    let start = der.windows(point.len()).position(|w| w == point).unwrap();
    let mut off_curve = der.to_vec();
    off_curve[start + point.len() - 1] ^= 1;
    assert_eq!(IdentityCertificate::parse(&off_curve), Err(ProfileError::PublicKey));
}

#[test]
fn signatures_are_ecdsa_with_sha256_or_sha384() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(ca(MEMBER).cert_pem(), &key).unwrap();
    let leaf = leaf_params().signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    assert_eq!(IdentityCertificate::parse(leaf.der()), Err(ProfileError::SignatureAlgorithm));
}

#[test]
fn size_and_trailing_bytes() {
    let issued = issue(&ca(MEMBER), Role::Patient, "p1");
    let mut longer = issued.certificate.der().to_vec();
    longer.push(0);
    assert_eq!(IdentityCertificate::parse(&longer), Err(ProfileError::Encoding("trailing bytes")));
    assert_eq!(IdentityCertificate::parse(&[0x30; 8193]), Err(ProfileError::Oversize { bytes: 8193 }));
    assert_eq!(IdentityCertificate::parse(&[]), Err(ProfileError::Encoding("structure")));
}

#[test]
fn issued_identities_are_what_was_asked_for() {
    let member = ca(MEMBER);
    for role in Role::ALL {
        let issued = issue(&member, role, "x");
        let id = issued.certificate.spiffe_id();
        let name = if role == Role::Patient { opaque("x") } else { "x".into() };
        assert_eq!(id.to_string(), format!("spiffe://st-mary.example/{role}/{name}"));
        assert_eq!(issued.certificate.serial().as_bytes().len(), 20);
        assert_eq!(issued.certificate.issuer_key_id(), member.certificate().subject_key_id());
        let reparsed = CaBundle::from_pem(issued.cert_pem.as_bytes());
        assert!(matches!(reparsed, Err(BundleError::Certificate { index: 0, .. })));
        assert!(!format!("{issued:?}").contains("PRIVATE"));
    }
    let first = issue(&member, Role::Node, "x").certificate;
    let second = issue(&member, Role::Node, "x").certificate;
    assert_ne!(first.serial(), second.serial());
    assert_ne!(first.fingerprint(), second.fingerprint());
}

#[test]
fn a_request_outside_the_profile_is_not_issued() {
    let member = ca(MEMBER);
    let mut long = request(Role::Patient, "p1");
    long.validity = validity(NOW, NOW + 826 * DAY);
    assert_eq!(
        member.issue(&long).err(),
        Some(IssueError::Profile(ProfileError::ValidityTooLong { seconds: 826 * DAY, max_seconds: 825 * DAY }))
    );
    let traversal = request(Role::Clinician, "../../x");
    assert_eq!(member.issue(&traversal).err(), Some(IssueError::SpiffeId(InvalidName::Name)));
    let mut dns = request(Role::Node, "n1");
    dns.dns_names = vec!["not a name".into()];
    assert_eq!(member.issue(&dns).err(), Some(IssueError::DnsName));
    let mut weak = request(Role::Patient, "p1");
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    weak.key = SubjectKey::Spki(ed25519.subject_public_key_info());
    assert_eq!(member.issue(&weak).err(), Some(IssueError::Profile(ProfileError::PublicKey)));
}

#[test]
fn of_a_csr_only_the_proven_key_is_taken() {
    let member = ca(MEMBER);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut wish = CertificateParams::default();
    wish.subject_alt_names = vec![uri("spiffe://lab.example/admin/evil")];
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let csr = wish.serialize_request(&key).unwrap().pem().unwrap();
    let issued = member.issue_for_csr(&request(Role::Node, "n7"), &csr).unwrap();
    assert!(issued.key_pem.is_none());
    assert_eq!(issued.certificate.spiffe_id().to_string(), "spiffe://st-mary.example/node/n7");
    assert_eq!(issued.certificate.public_key().point(), key.public_key_raw());
}

#[test]
fn a_csr_must_be_signed_by_its_key() {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap();
    let mut der = csr.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let forged = format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", base64(&der));
    let outcome = ca(MEMBER).issue_for_csr(&request(Role::Device, "d"), &forged);
    assert_eq!(outcome.err(), Some(IssueError::ProofOfPossession));
    let outcome = ca(MEMBER).issue_for_csr(&request(Role::Device, "d"), "nonsense");
    assert_eq!(outcome.err(), Some(IssueError::RequestPem(PemError::Missing { expected: Label::CertificateRequest })));
}

#[test]
fn a_csr_is_known_by_each_of_its_names_and_alone() {
    let csr = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let member = ca(MEMBER);
    let issue = |text: &str| member.issue_for_csr(&request(Role::Device, "mri-7"), text);
    for text in [csr.clone(), csr.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"), format!("\u{feff}{csr}")] {
        assert!(issue(&text).is_ok());
    }
    let refused = issue(member.cert_pem()).unwrap_err().to_string();
    assert!(refused.contains("a CERTIFICATE in a file for a CERTIFICATE REQUEST"), "{refused}");
}

#[test]
fn a_key_on_p384_is_for_nodes_alone() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    for role in [Role::Admin, Role::Service, Role::Clinician, Role::Researcher, Role::Auditor, Role::Device] {
        let refused = ca(MEMBER).issue_for_csr(&request(role, "x"), &csr);
        assert_eq!(refused.err(), Some(IssueError::KeyForRole { role }));
    }
    assert!(ca(MEMBER).issue_for_csr(&request(Role::Node, "n1"), &csr).is_ok());
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for position in 0..4 {
            let sextet = (bits >> (18 - 6 * position)) & 0x3f;
            let filled = position <= group.len();
            text.push(if filled { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

fn ca_params() -> CertificateParams {
    let mut params = leaf_params();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
    params.extended_key_usages.clear();
    params.subject_alt_names = vec![uri("spiffe://st-mary.example")];
    params
}

#[test]
fn refuses_each_deviation_of_a_ca() {
    let dns = |params: &mut CertificateParams| {
        let name = SanType::DnsName(MEMBER.try_into().unwrap());
        params.subject_alt_names.push(name);
    };
    let cases: [(&str, Spoil, ProfileError); 11] = [
        ("leaf as CA", |p| p.is_ca = IsCa::ExplicitNoCa, ProfileError::NotACa),
        ("no path length", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), ProfileError::PathLength),
        ("path length 2", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(2)), ProfileError::PathLength),
        ("no cRLSign", |p| p.key_usages = vec![Ku::KeyCertSign], ProfileError::CaKeyUsage),
        ("no keyCertSign", |p| p.key_usages = vec![Ku::CrlSign], ProfileError::CaKeyUsage),
        ("no key usage", |p| p.key_usages.clear(), ProfileError::MissingExtension("keyUsage")),
        ("no URI", |p| p.subject_alt_names.clear(), ProfileError::UriNames { count: 0 }),
        ("two URIs", |p| p.subject_alt_names.push(uri("spiffe://lab.example")), ProfileError::UriNames { count: 2 }),
        (
            "URI with a path",
            |p| p.subject_alt_names = vec![uri("spiffe://st-mary.example/ca")],
            ProfileError::SpiffeId(InvalidName::TrustDomain),
        ),
        ("DNS name besides", dns, ProfileError::NameKind),
        (
            "EKU that excludes servers",
            |p| p.extended_key_usages = vec![Eku::ClientAuth],
            ProfileError::CaExtendedKeyUsage,
        ),
    ];
    let key = KeyPair::generate().unwrap();
    let good = ca_params().self_signed(&key).unwrap();
    assert!(CaCertificate::parse(good.der()).is_ok());
    for (what, spoil, expected) in cases {
        let mut params = ca_params();
        spoil(&mut params);
        let der = params.self_signed(&key).unwrap();
        assert_eq!(CaCertificate::parse(der.der()).err(), Some(expected), "{what}");
    }
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let der = ca_params().self_signed(&rsa).unwrap();
    assert_eq!(CaCertificate::parse(der.der()).err(), Some(ProfileError::SignatureAlgorithm));
}

#[test]
fn bundles_are_of_one_member_and_bounded() {
    let (first, second, other) = (ca(MEMBER), ca(MEMBER), ca(OTHER));
    let der = |ca: &consilium_certs::MemberCa| ca.certificate().der().to_vec();
    let bundle = CaBundle::from_ders([der(&first), der(&second)]).unwrap();
    assert_eq!(bundle.member().as_str(), MEMBER);
    assert_eq!(bundle.to_ders(), [der(&first), der(&second)]);
    let pem = format!("{}{}", first.cert_pem(), second.cert_pem());
    assert_eq!(CaBundle::from_pem(pem.as_bytes()), Ok(bundle));
    assert_eq!(
        CaBundle::from_ders([der(&first), der(&other)]),
        Err(BundleError::MixedTrustDomains {
            index: 1,
            expected: MEMBER.parse().unwrap(),
            found: OTHER.parse().unwrap(),
        })
    );
    assert_eq!(CaBundle::from_ders([der(&first), der(&first)]), Err(BundleError::Duplicate { index: 1 }));
    assert_eq!(CaBundle::from_ders([[0u8; 0]; 0]), Err(BundleError::Empty));
    assert_eq!(CaBundle::from_pem(b"no certificate"), Err(BundleError::Empty));
    let nine: Vec<_> = (0..9).map(|_| der(&ca(MEMBER))).collect();
    assert_eq!(CaBundle::from_ders(&nine), Err(BundleError::TooMany));
    assert!(CaBundle::from_ders(&nine[..8]).is_ok());
}

#[test]
fn a_ca_loads_only_with_its_own_key() {
    let (first, second) = (ca(MEMBER), ca(MEMBER));
    let loaded = consilium_certs::MemberCa::load(first.cert_pem(), &first.key_pem()).unwrap();
    assert_eq!(loaded.certificate(), first.certificate());
    assert!(!format!("{loaded:?}").contains("PRIVATE"));
    let load = consilium_certs::MemberCa::load;
    assert_eq!(load(first.cert_pem(), &second.key_pem()).err(), Some(IssueError::CaKeyMismatch));
    assert_eq!(
        load(first.cert_pem(), "nonsense").err(),
        Some(IssueError::PrivateKeyPem(PemError::Missing { expected: Label::PrivateKey }))
    );
    assert_eq!(load("", &first.key_pem()).err(), Some(IssueError::CaCount(0)));
}

#[test]
fn a_patients_certificate_says_no_more_than_an_opaque_name() {
    let key = KeyPair::generate().unwrap();
    let (name, issuer) = (opaque("p"), ca(MEMBER));
    let parse = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf_params();
        params.subject_alt_names = vec![uri(&format!("spiffe://st-mary.example/patient/{name}"))];
        params.distinguished_name = common_name(&name);
        change(&mut params);
        IdentityCertificate::parse(&sign(&issuer, &params, &key)).map(|_| ())
    };
    assert_eq!(parse(&|_| ()), Ok(()));
    let refused = |what| Err(ProfileError::PatientDetail(what));
    assert_eq!(parse(&|p| p.distinguished_name = common_name("Maria Muster")), refused("subject"));
    let dns = SanType::DnsName("maria.example".try_into().unwrap());
    assert_eq!(parse(&|p| p.subject_alt_names.push(dns.clone())), refused("second name"));
    let extension = || CustomExtension::from_oid_content(&[1, 2, 3, 4], b"Maria".to_vec());
    assert_eq!(parse(&|p| p.custom_extensions.push(extension())), refused("extension"));
    let named = parse(&|p| p.subject_alt_names = vec![uri("spiffe://st-mary.example/patient/maria")]);
    assert_eq!(named, Err(ProfileError::SpiffeId(InvalidName::PatientName)));
}
