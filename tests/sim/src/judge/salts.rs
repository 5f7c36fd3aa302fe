//! Which salts of patients' labels there are, and who keeps them: the second account of labels.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::{KeyId, PatientPseudonym, PolicyTag, SaltId};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::transaction::{Action, PatientAction, PutPatientSalt, WriteRecord};

use super::Judge;
use super::custody::Custody;
use crate::chronicle::Effect;
use crate::fixture::Fixture;

/// A salt and those for whom it is wrapped.
pub type Kept = (SaltId, BTreeSet<KeyId>);

/// See the module.
#[derive(Debug, Default)]
pub struct Salts {
    put: BTreeMap<(PatientPseudonym, String), Vec<Kept>>,
    /// Records that carry labels.
    pub labelled: u64,
}

impl Salts {
    /// By patient and member.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<(PatientPseudonym, String), Vec<Kept>> {
        &self.put
    }

    /// An action of a transaction took effect.
    ///
    /// # Errors
    /// What of it must not have.
    pub fn hear(
        &mut self,
        (judge, custody): (&Judge, &Custody),
        effect: &Effect,
        action: &Action,
    ) -> Result<(), String> {
        let heard = match action {
            Action::Patient(PatientAction::PutSalt(put)) => self.put((judge, custody), effect, put),
            Action::WriteRecord(write) => self.write(effect, write),
            _ => Ok(()),
        };
        heard.map_err(|what| format!("{} in block {}: {what}", effect.author, effect.height))
    }

    fn put(
        &mut self,
        (judge, custody): (&Judge, &Custody),
        effect: &Effect,
        put: &PutPatientSalt,
    ) -> Result<(), String> {
        let by = &effect.author;
        if !matches!(by.role(), Role::Service | Role::Clinician) {
            return Err("puts a salt, and writes nothing".to_owned());
        }
        let stranger = put.wraps.iter().filter_map(|wrap| {
            let keeper: Option<SpiffeId> = Fixture::holder(&wrap.recipient).and_then(|name| name.parse().ok());
            let Some(keeper) = keeper else { return Some("nobody".to_owned()) };
            let writes = matches!(keeper.role(), Role::Service | Role::Clinician) && keeper.member() == by.member();
            let reads = || judge.speaks_to(by.member().as_str(), &put.patient, &keeper, effect.time, |a| a.may_read);
            let keeps = custody.wraps_for(by.member().as_str(), &wrap.recipient);
            (!writes && !keeps && !reads()).then(|| keeper.to_string())
        });
        if let Some(stranger) = stranger.into_iter().next() {
            return Err(format!("tells {stranger} how labels are blinded"));
        }
        let own = self.put.entry((put.patient, by.member().to_string())).or_default();
        let known = own.iter().position(|(salt, _)| *salt == put.salt);
        if known.unwrap_or(own.len()) + 1 != put.number {
            return Err(format!("puts a salt in the place of another one, as number {}", put.number));
        }
        if known.is_none() {
            own.push((put.salt, BTreeSet::new()));
        }
        own[put.number - 1].1.extend(put.wraps.iter().map(|wrap| wrap.recipient));
        Ok(())
    }

    fn write(&mut self, effect: &Effect, write: &WriteRecord) -> Result<(), String> {
        let own = self.put.get(&(write.patient, effect.author.member().to_string()));
        let own: BTreeSet<SaltId> = own.into_iter().flatten().map(|(salt, _)| *salt).collect();
        self.labelled += u64::from(!write.policy_tags.is_empty());
        match write.policy_tags.iter().map(PolicyTag::salt).all(|salt| own.contains(&salt)) {
            true => Ok(()),
            false => Err("labels a record under a salt that its member has not put".to_owned()),
        }
    }
}
