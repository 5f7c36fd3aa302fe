//! X.509 for tests, pure and deterministic: a certificate is
//! `member/role/name/` and a public point, and every member's bundle vouches
//! for it. What X.509 does is tested elsewhere.

use bytes::Bytes;
use consilium_ledger::{IdentityRules, RevocationList, VerifiedIdentity};
use consilium_proto::hash::sha256;
use consilium_proto::names::{MemberId, SpiffeId};
use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};

/// Bytes of an uncompressed point.
const POINT_BYTES: usize = 65;
/// Bytes of a serial number.
const SERIAL_BYTES: usize = 8;
/// Names the key of every CA.
const ISSUER_KEY_ID: [u8; 1] = [7];

#[derive(Clone, Copy, Debug)]
pub struct Rules;

#[must_use]
pub fn certificate(member: &str, role: &str, name: &str, key: &VerifyingKey) -> Bytes {
    let mut bytes = format!("{member}/{role}/{name}/").into_bytes();
    bytes.extend_from_slice(key.raw());
    bytes.into()
}

#[must_use]
pub fn serial(certificate: &[u8]) -> Vec<u8> {
    sha256(&[certificate])[..SERIAL_BYTES].to_vec()
}

/// Member, role, name and point of a certificate.
fn parts(leaf: &[u8]) -> Option<([&str; 3], &[u8])> {
    let (name, point) = leaf.split_at_checked(leaf.len().checked_sub(POINT_BYTES)?)?;
    let names = std::str::from_utf8(name).ok()?.strip_suffix('/')?.split('/').collect::<Vec<_>>();
    Some((names.try_into().ok()?, point))
}

impl IdentityRules for Rules {
    fn claimed_member(&self, chain: &[Bytes]) -> Option<MemberId> {
        parts(chain.first()?)?.0[0].parse().ok()
    }

    fn certificate_key(&self, leaf: &[u8]) -> Option<VerifyingKey> {
        VerifyingKey::from_raw(SignatureAlgorithm::Es256, parts(leaf)?.1).ok()
    }

    fn verify(&self, chain: &[Bytes], _: &[Bytes], crls: &[Bytes], _: u64) -> Option<VerifiedIdentity> {
        let ([member, role, name], point) = parts(chain.first()?)?;
        let serial = serial(&chain[0]);
        let revoked = crls.iter().any(|crl| crl[1..].chunks(SERIAL_BYTES).any(|s| s == serial));
        let spiffe_id = SpiffeId::new(member.parse().ok()?, role.parse().ok()?, name).ok()?;
        (!revoked).then(|| VerifiedIdentity {
            spiffe_id,
            key: VerifyingKey::from_raw(SignatureAlgorithm::Es256, point).ok(),
            serial,
            not_before_s: 0,
            not_after_s: u64::MAX / 2_000,
            issuer_key_id: ISSUER_KEY_ID.to_vec(),
        })
    }

    /// The name of a CA starts with "ca".
    fn check_bundle(&self, _: &MemberId, bundle: &[Bytes]) -> bool {
        bundle.iter().all(|ca| ca.starts_with(b"ca"))
    }

    /// A list is its number and the serials; its issuer is the CA "ca".
    fn verify_revocations(&self, crl: &[u8], bundle: &[Bytes]) -> Option<RevocationList> {
        let (number, serials) = crl.split_first()?;
        let serials = serials.chunks(SERIAL_BYTES).map(<[u8]>::to_vec).collect();
        let list = RevocationList { issuer_key_id: ISSUER_KEY_ID.to_vec(), number: vec![*number], serials };
        bundle.iter().any(|ca| ca.as_ref() == b"ca").then_some(list)
    }
}
