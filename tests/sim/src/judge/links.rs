//! Which pseudonyms are one person's, as members say.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::{Height, PatientPseudonym};
use consilium_proto::limits::PAST_LINKS_MAX;
use consilium_proto::transaction::PatientPair;

/// One link, as it stands in the row of one of the two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The other one.
    pub other: PatientPseudonym,
    /// Who says so.
    pub member: String,
    /// Since which block.
    pub from: Height,
    /// From which block on not any more; 0: it still is.
    pub to: Height,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Links(BTreeMap<PatientPseudonym, Vec<Link>>);

impl Links {
    /// Of a pseudonym, in the order in which they were made.
    #[must_use]
    pub fn of(&self, patient: &PatientPseudonym) -> &[Link] {
        self.0.get(patient).map(Vec::as_slice).unwrap_or_default()
    }

    /// All that were taken for one of the two are one person's then.
    pub(super) fn join(&mut self, pair: &PatientPair, member: &str, height: Height) {
        let mut same = self.same_as(&pair.patient, member);
        same.append(&mut self.same_as(&pair.other, member));
        for patient in &same {
            let known = self.same_as(patient, member);
            for other in same.difference(&known) {
                let link = Link { other: *other, member: member.to_owned(), from: height, to: Height(0) };
                self.0.entry(*patient).or_default().push(link);
            }
        }
    }

    /// The other one of the pair is none of them any more.
    pub(super) fn part(&mut self, pair: &PatientPair, member: &str, height: Height) {
        let same = self.same_as(&pair.patient, member);
        for patient in &same {
            let links = self.0.entry(*patient).or_default();
            for link in links.iter_mut().filter(|link| link.member == member && link.to.0 == 0) {
                if *patient == pair.other || link.other == pair.other {
                    link.to = height;
                }
            }
            let past = links.iter().filter(|link| link.member == member && link.to.0 != 0).count();
            let mut over = past.saturating_sub(PAST_LINKS_MAX);
            links.retain(|link| {
                let drops = over > 0 && link.member == member && link.to.0 != 0;
                over -= usize::from(drops);
                !drops
            });
        }
    }

    /// The patient, and those that a member says to be the same person now.
    pub(super) fn same_as(&self, patient: &PatientPseudonym, member: &str) -> BTreeSet<PatientPseudonym> {
        let linked = self.of(patient).iter().filter(|link| link.member == member && link.to.0 == 0);
        linked.map(|link| link.other).chain([*patient]).collect()
    }
}
