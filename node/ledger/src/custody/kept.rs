//! Who keeps the records of members that have left.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::consent::Custodians;
use consilium_proto::pb::{CustodyKeeper, PatientState};

use super::load;
use crate::roster::corrupt;
use crate::view::{StateReader, StoreFault, View};

/// Of each member that has left, and whose records are kept, who has kept them, in order. Of all
/// members, so that it costs the same whomever it is asked of; mostly there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept(BTreeMap<String, Vec<CustodyKeeper>>);

impl Kept {
    /// As the state has it.
    ///
    /// # Errors
    /// If the store fails.
    pub fn load<R: StateReader>(reader: &R) -> Result<Self, StoreFault> {
        Self::over(&View::new(reader))
    }

    pub(crate) fn over<R: StateReader>(view: &View<'_, R>) -> Result<Self, StoreFault> {
        let mut kept = BTreeMap::new();
        for member in view.roster()?.kept_members {
            let custody = load(view, &member)?.ok_or_else(|| corrupt("a member that is kept has no custody"))?;
            kept.insert(member, custody.keepers);
        }
        Ok(Self(kept))
    }

    /// The custodians of a member's records.
    #[must_use]
    pub fn custodians<'a>(&'a self, member: &'a str) -> Custodians<'a> {
        Custodians::new(member, self.0.get(member).map_or(&[], Vec::as_slice))
    }

    /// The members of whose records one is the custodian: itself, and those that it keeps.
    pub fn of<'a>(&'a self, keeper: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::once(keeper).chain(self.members().filter(move |member| self.keeps(keeper, member)))
    }

    /// Members whose records have custodians that have accepted an identity for a patient, each
    /// once, and whether these hear it ([`Custodians::listen`]).
    pub(crate) fn listening<'a>(
        &'a self,
        patient: &'a PatientState,
        identity: &'a str,
    ) -> impl Iterator<Item = (&'a str, bool)> {
        let members = patient.acceptances.iter().map(|a| a.member.as_str()).chain(self.members());
        let members: BTreeSet<_> = members.collect();
        members.into_iter().filter_map(move |m| Some((m, self.custodians(m).listen(patient, identity)?)))
    }

    /// The members that have left.
    pub(crate) fn members(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether a member is the custodian of the records of another one, or of its own.
    #[must_use]
    pub fn keeps(&self, keeper: &str, member: &str) -> bool {
        self.custodians(member).present() == keeper
    }
}
