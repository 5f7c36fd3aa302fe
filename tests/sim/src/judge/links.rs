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

    /// All that were taken for one of the two, by the member or by those whose records it has, are
    /// one person's then.
    pub(super) fn join(&mut self, pair: &PatientPair, (member, kept): (&str, &[&str]), height: Height) {
        let mut same = self.group(&pair.patient, kept);
        same.append(&mut self.group(&pair.other, kept));
        for patient in &same {
            let known = self.same_as(patient, member);
            for other in same.difference(&known) {
                let link = Link { other: *other, member: member.to_owned(), from: height, to: Height(0) };
                self.0.entry(*patient).or_default().push(link);
            }
        }
    }

    /// The other one of the pair is none of them any more.
    pub(super) fn part(&mut self, pair: &PatientPair, kept: &[&str], height: Height) {
        for patient in &self.group(&pair.patient, kept) {
            let links = self.0.entry(*patient).or_default();
            let open = |link: &&mut Link| kept.contains(&link.member.as_str()) && link.to.0 == 0;
            for link in links.iter_mut().filter(open) {
                if *patient == pair.other || link.other == pair.other {
                    link.to = height;
                }
            }
            for member in kept {
                let is_past = |link: &Link| link.member == *member && link.to.0 != 0;
                let mut over = links.iter().filter(|link| is_past(link)).count().saturating_sub(PAST_LINKS_MAX);
                links.retain(|link| {
                    let drops = over > 0 && is_past(link);
                    over -= usize::from(drops);
                    !drops
                });
            }
        }
    }

    /// Whom these members take for one person, step by step.
    fn group(&self, patient: &PatientPseudonym, members: &[&str]) -> BTreeSet<PatientPseudonym> {
        let (mut group, mut left) = (BTreeSet::from([*patient]), vec![*patient]);
        while let Some(next) = left.pop() {
            let same = members.iter().flat_map(|member| self.same_as(&next, member));
            let new: Vec<_> = same.filter(|same| group.insert(*same)).collect();
            left.extend(new);
        }
        group
    }

    /// The patient, and those that a member says to be the same person now.
    pub(super) fn same_as(&self, patient: &PatientPseudonym, member: &str) -> BTreeSet<PatientPseudonym> {
        let linked = self.of(patient).iter().filter(|link| link.member == member && link.to.0 == 0);
        linked.map(|link| link.other).chain([*patient]).collect()
    }
}
