//! Which pseudonyms are one person's, as members say.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::{Height, PatientPseudonym};
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

    pub(super) fn join(&mut self, pair: &PatientPair, member: &str, height: Height) {
        for (patient, other) in both(pair) {
            let link = Link { other, member: member.to_owned(), from: height, to: Height(0) };
            self.0.entry(patient).or_default().push(link);
        }
    }

    pub(super) fn part(&mut self, pair: &PatientPair, member: &str, height: Height) {
        for (patient, other) in both(pair) {
            let links = self.0.entry(patient).or_default().iter_mut();
            let open = |link: &&mut Link| link.other == other && link.member == member && link.to.0 == 0;
            links.filter(open).for_each(|link| link.to = height);
        }
    }

    /// The patient, and those that a member says to be the same person now.
    pub(super) fn same_as(&self, patient: &PatientPseudonym, member: &str) -> BTreeSet<PatientPseudonym> {
        let linked = self.of(patient).iter().filter(|link| link.member == member && link.to.0 == 0);
        linked.map(|link| link.other).chain([*patient]).collect()
    }
}

fn both(pair: &PatientPair) -> [(PatientPseudonym, PatientPseudonym); 2] {
    [(pair.patient, pair.other), (pair.other, pair.patient)]
}
