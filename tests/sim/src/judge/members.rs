//! How members stand, and who answers for the records of those that have left.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::Height;

use crate::chronicle::Standing;

/// See the module.
#[derive(Debug, Default)]
pub struct Members {
    suspended: BTreeSet<String>,
    left: BTreeSet<String>,
    /// Of members that have left, who has answered for their records since, in order.
    successors: BTreeMap<String, Vec<(String, Height)>>,
}

impl Members {
    /// Whether it takes part.
    #[must_use]
    pub fn is_active(&self, member: &str) -> bool {
        !self.suspended.contains(member) && !self.left.contains(member)
    }

    /// Who has answered for a member's records, in order: first itself.
    pub fn answering<'a>(&'a self, member: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        let successors = self.successors.get(member).into_iter().flatten();
        std::iter::once(member).chain(successors.map(|(successor, _)| successor.as_str()))
    }

    /// Who answers for a member's records now.
    #[must_use]
    pub fn answers_now<'a>(&'a self, member: &'a str) -> &'a str {
        self.answering(member).next_back().unwrap_or(member)
    }

    /// Whether one answers for a member's records now.
    #[must_use]
    pub fn keeps(&self, keeper: &str, member: &str) -> bool {
        self.answers_now(member) == keeper
    }

    /// The members for whose records one answers now: itself, and those that have left.
    pub fn kept_by<'a>(&'a self, keeper: &'a str) -> impl Iterator<Item = &'a str> {
        let kept = self.successors.keys().map(String::as_str).filter(move |member| self.keeps(keeper, member));
        std::iter::once(keeper).chain(kept)
    }

    /// Those who have come to answer for a member's records after another one that did.
    pub fn after<'a>(&'a self, member: &str, one: &str) -> &'a [(String, Height)] {
        let successors = self.successors.get(member).map(Vec::as_slice).unwrap_or_default();
        let place = successors.iter().position(|(successor, _)| successor == one).map_or(0, |place| place + 1);
        &successors[place..]
    }

    /// Members that have left and whose records somebody has.
    pub fn succeeded(&self) -> impl Iterator<Item = &str> {
        self.successors.keys().map(String::as_str)
    }

    /// The members have decided. Whether who leaves, or those whom it keeps, leave anything to answer
    /// for is for the caller to say.
    pub(super) fn decide(&mut self, standing: &Standing, height: Height, leaves_something: impl Fn(&str) -> bool) {
        match standing {
            Standing::Suspended(member) => drop(self.suspended.insert(member.clone())),
            Standing::Reinstated(member) => drop(self.suspended.remove(member)),
            Standing::Left { member, successor } => {
                let kept: Vec<String> = self.kept_by(member).map(ToOwned::to_owned).collect();
                if let Some(successor) =
                    successor.as_ref().filter(|_| kept.iter().any(|member| leaves_something(member)))
                {
                    for member in kept {
                        self.successors.entry(member).or_default().push((successor.clone(), height));
                    }
                }
                self.left.insert(member.clone());
            }
        }
    }
}
