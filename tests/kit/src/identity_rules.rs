//! X.509 for tests, pure and deterministic. A CA is its name, which begins with
//! "ca"; one that another one issued is `name<issuer`. A certificate is
//! `ca|member/role/name/` and a public point, and a list is `ca|`, its number in
//! one byte, and serial numbers. Who knows a CA's name has its key, as if all
//! members had copied each other's. What X.509 does is tested elsewhere.

use bytes::Bytes;
use consilium_ledger::{IdentityRules, RevocationList, VerifiedIdentity};
use consilium_policy::Engine;
use consilium_proto::access::{Facts, PolicyFault, PolicyRules};
use consilium_proto::hash::sha256;
use consilium_proto::ids::AuthorityId;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::pb::AccessGround;
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};

/// The CA of every member at the founding.
pub const FIRST_CA: &str = "ca";
/// Bytes of an uncompressed point.
const POINT_BYTES: usize = 65;
/// Bytes of a serial number.
const SERIAL_BYTES: usize = 8;

#[derive(Clone, Copy, Debug)]
pub struct Rules;

#[must_use]
pub fn certificate(ca: &str, [member, role, name]: [&str; 3], key: &VerifyingKey) -> Bytes {
    let mut bytes = format!("{ca}|{member}/{role}/{name}/").into_bytes();
    bytes.extend_from_slice(key.raw());
    bytes.into()
}

/// Of a certificate, or of a CA.
#[must_use]
pub fn serial(certificate: &[u8]) -> Vec<u8> {
    sha256(&[certificate])[..SERIAL_BYTES].to_vec()
}

/// A revocation list of a CA.
#[must_use]
pub fn list<S: AsRef<[u8]>>(ca: &str, number: u8, serials: impl IntoIterator<Item = S>) -> Bytes {
    let mut bytes = [ca.as_bytes(), b"|", &[number]].concat();
    serials.into_iter().for_each(|serial| bytes.extend_from_slice(serial.as_ref()));
    bytes.into()
}

/// What a CA is called.
#[must_use]
pub fn authority(ca: &[u8]) -> AuthorityId {
    AuthorityId::from_bytes(sha256(&[ca]))
}

struct Parts<'a> {
    ca: &'a str,
    names: [&'a str; 3],
    point: &'a [u8],
}

fn parts(leaf: &[u8]) -> Option<Parts<'_>> {
    let (names, point) = leaf.split_at_checked(leaf.len().checked_sub(POINT_BYTES)?)?;
    let (ca, names) = std::str::from_utf8(names).ok()?.strip_suffix('/')?.split_once('|')?;
    Some(Parts { ca, names: names.split('/').collect::<Vec<_>>().try_into().ok()?, point })
}

/// Whether the list of a CA names a serial number.
fn names(crls: &[Bytes], ca: &[u8], serial: &[u8]) -> bool {
    let of_ca = crls.iter().filter_map(|crl| split(crl)).filter(|(by, _, _)| *by == ca);
    of_ca.flat_map(|(_, _, serials)| serials.chunks(SERIAL_BYTES)).any(|named| named == serial)
}

/// CA, number and serial numbers of a list.
fn split(crl: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let bar = crl.iter().position(|byte| *byte == b'|')?;
    let (number, serials) = crl[bar + 1..].split_first()?;
    Some((&crl[..bar], *number, serials))
}

fn vouches(ca: &[u8], crls: &[Bytes]) -> bool {
    let issuer = ca.iter().position(|byte| *byte == b'<').map(|at| &ca[at + 1..]);
    !issuer.is_some_and(|issuer| names(crls, issuer, &serial(ca)))
}

impl PolicyRules for Rules {
    fn is_policy(&self, text: &str) -> bool {
        Engine::shared().is_policy(text)
    }

    fn decide(&self, text: Option<&str>, facts: &Facts<'_>) -> Result<AccessGround, PolicyFault> {
        PolicyRules::decide(Engine::shared(), text, facts)
    }
}

impl IdentityRules for Rules {
    fn claimed_member(&self, chain: &[Bytes]) -> Option<MemberId> {
        parts(chain.first()?)?.names[0].parse().ok()
    }

    fn certificate_key(&self, leaf: &[u8]) -> Option<VerifyingKey> {
        VerifyingKey::from_raw(SignatureAlgorithm::Es256, parts(leaf)?.point).ok()
    }

    fn verify(&self, chain: &[Bytes], bundle: &[Bytes], crls: &[Bytes], _: u64) -> Option<VerifiedIdentity> {
        let Parts { ca, names: [member, role, name], point } = parts(chain.first()?)?;
        let (ca, serial) = (ca.as_bytes(), serial(&chain[0]));
        let good = bundle.iter().any(|of| of[..] == *ca) && vouches(ca, crls) && !names(crls, ca, &serial);
        let spiffe_id = SpiffeId::new(member.parse().ok()?, role.parse().ok()?, name).ok()?;
        good.then(|| VerifiedIdentity {
            spiffe_id,
            key: VerifyingKey::from_raw(SignatureAlgorithm::Es256, point).ok(),
            serial,
            not_before_s: 0,
            not_after_s: u64::MAX / 2_000,
            authority: authority(ca),
        })
    }

    fn check_bundle(&self, _: &MemberId, bundle: &[Bytes]) -> bool {
        bundle.iter().all(|ca| ca.starts_with(b"ca"))
    }

    fn authorities(&self, bundle: &[Bytes], crls: &[Bytes]) -> Vec<AuthorityId> {
        let mut all: Vec<_> = bundle.iter().filter(|ca| vouches(ca, crls)).map(|ca| authority(ca)).collect();
        all.sort();
        all
    }

    fn verify_revocations(&self, crl: &[u8], bundle: &[Bytes]) -> Option<RevocationList> {
        let (ca, number, serials) = split(crl)?;
        let serials = serials.chunks(SERIAL_BYTES).map(<[u8]>::to_vec).collect();
        let list = RevocationList { authority: authority(ca), number: vec![number], serials };
        bundle.iter().any(|of| of[..] == *ca).then_some(list)
    }
}
