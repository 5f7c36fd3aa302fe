//! I3: every certificate is good under the validators of its epoch, followed from
//! the genesis document as a light client does: distinct seats, a quorum of
//! their power, each signature over this header.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::genesis::Genesis;
use consilium_proto::header::Header;
use consilium_proto::ids::{HeaderHash, Height, NodeId};
use consilium_proto::light_client::{SetChange, TrustedSet};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{CertifiedHeader, signing_bytes};

use super::Check;

type Signature = (NodeId, HeaderHash, [u8; 64]);

/// A light client that has followed every change of the validators.
pub struct Certificates {
    light: TrustedSet,
    /// Sets by the first height that they certify.
    sets: BTreeMap<Height, ValidatorSet>,
    /// Boundaries that a node certified before the ones below them were seen.
    waiting: BTreeMap<Height, SetChange>,
    verified: BTreeSet<Signature>,
}

impl Certificates {
    /// Trusts the genesis document alone.
    ///
    /// # Panics
    /// If the fixture's genesis has no validators.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let light = TrustedSet::genesis(genesis).expect("the fixture names validators");
        let sets = BTreeMap::from([(Height(1), light.set().clone())]);
        Self { light, sets, waiting: BTreeMap::new(), verified: BTreeSet::new() }
    }

    /// A certificate that a node took for good; `next` if its header ends an epoch.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(&mut self, certified: &CertifiedHeader, next: Option<&ValidatorSet>) -> Check {
        let height = certified.header.height;
        if let Some(next) = next.filter(|_| height > self.light.above()) {
            let change = SetChange { boundary: certified.clone(), next: next.clone() };
            self.waiting.insert(height, change);
            self.follow()?;
        }
        self.check_power(certified)?;
        self.check_signatures(certified)
    }

    fn follow(&mut self) -> Check {
        while let Some((_, change)) = self.waiting.pop_first() {
            self.light.follow(&change).map_err(|e| format!("the light client does not follow: {e}"))?;
            self.sets.insert(change.boundary.header.height.next(), change.next);
        }
        Ok(())
    }

    fn set_at(&self, height: Height) -> Option<&ValidatorSet> {
        self.sets.range(..=height).next_back().map(|(_, set)| set)
    }

    fn check_power(&self, certified: &CertifiedHeader) -> Check {
        let CertifiedHeader { header, certificate } = certified;
        let height = header.height;
        let set = self.set_at(height).ok_or("no validators")?;
        if header.validators_hash != set.hash() {
            return Err(format!("header {height} names other validators than were elected"));
        }
        if certificate.header_hash != header.hash() || certificate.height != height {
            return Err(format!("the certificate at {height} is over another header"));
        }
        let mut power = 0;
        for (id, _) in certificate.signatures() {
            let seat = set.seat(id).ok_or_else(|| format!("{id} signed height {height} without a seat"))?;
            power += u128::from(seat.power.0);
        }
        // In integers, apart from the code under test.
        if power * 3 > set.total_power() * 2 {
            Ok(())
        } else {
            Err(format!("height {height} is certified by {power} of {}", set.total_power()))
        }
    }

    /// Each signature once: it is known by its bytes.
    fn check_signatures(&mut self, certified: &CertifiedHeader) -> Check {
        let Header { ledger_id, height, tree_root, .. } = &certified.header;
        let hash = certified.certificate.header_hash;
        for (id, signature) in certified.certificate.signatures() {
            if self.verified.contains(&(id, hash, *signature)) {
                continue;
            }
            let good = self.set_at(*height).and_then(|set| set.seat(id)).map(|seat| &seat.key);
            let signed = |key| signing_bytes(key, ledger_id, *height, &hash, tree_root);
            if good.is_none_or(|key| key.verify(&signed(key), signature).is_err()) {
                return Err(format!("the signature of {id} at height {height} is wrong"));
            }
            self.verified.insert((id, hash, *signature));
        }
        Ok(())
    }
}
