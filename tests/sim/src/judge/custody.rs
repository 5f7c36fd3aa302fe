//! Who keeps keys, for whom what is wrapped, and what waits to be: the second account of custody.
//! A request that opens something asks for the wraps that its reader lacks, and each number of a
//! member's list is one of these.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::ids::{Height, KeyId, TimeMs};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::PurposeOfUse;
use consilium_proto::state::WrapName;
use consilium_proto::transaction::{
    Action, AddWraps, AddedWrap, CustodyAction, GovernanceAction, OwedWrap, Rewrap, VersionRef,
};

use super::{Judge, Wish};
use crate::chronicle::{Effect, Standing};
use crate::fixture::Fixture;

#[derive(Debug)]
struct Keeper {
    custodian: String,
    key: KeyId,
    /// The one before, which still counts for as long as a run takes.
    previous: Option<KeyId>,
    deputy: Option<String>,
}

/// What a reader was permitted and has no key for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The wrap.
    pub name: WrapName,
    wish: Wish,
    /// By the custodian, in the reader's place.
    owed: bool,
}

/// What custodians have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Wraps for readers.
    pub wraps: u64,
    /// Of those, by deputies.
    pub by_deputies: u64,
    /// Wraps for custody keys.
    pub rewraps: u64,
    /// Wraps that are owed and were asked for.
    pub owed: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Custody {
    keepers: BTreeMap<String, Keeper>,
    /// By member and number.
    open: BTreeMap<(String, u64), Asked>,
    /// The next number of each member's list.
    next: BTreeMap<String, u64>,
    wrapped: BTreeSet<WrapName>,
    /// Versions by the member that wrote them, and when.
    written: BTreeMap<VersionRef, (String, Height)>,
    /// When a member named its first custody key.
    first: BTreeMap<String, Height>,
    /// What they have done.
    pub kept: Kept,
}

impl Custody {
    /// What waits, by member and number.
    #[must_use]
    pub fn open(&self) -> &BTreeMap<(String, u64), Asked> {
        &self.open
    }

    /// Whether a block has wrapped that.
    #[must_use]
    pub fn has(&self, name: &WrapName) -> bool {
        self.wrapped.contains(name)
    }

    /// Whether a key is, or was, that of a member's custodian or of the deputy's.
    #[must_use]
    pub fn wraps_for(&self, member: &str, key: &KeyId) -> bool {
        let own = self.keepers.get(member);
        let deputy = own.and_then(|own| own.deputy.as_ref()).and_then(|deputy| self.keepers.get(deputy));
        own.into_iter().chain(deputy).any(|keeper| keeper.key == *key || keeper.previous == Some(*key))
    }

    /// Versions that a member has written since it has a custodian.
    #[must_use]
    pub fn kept_by(&self, member: &str) -> u64 {
        self.written.keys().filter(|version| self.keeps(member, version)).count() as u64
    }

    /// Those of them that are wrapped for a key.
    #[must_use]
    pub fn wrapped_for(&self, member: &str, key: &KeyId) -> u64 {
        let for_key = self.wrapped.iter().filter(|name| name.recipient == *key);
        let versions = for_key.map(|name| VersionRef { record: name.record, version: name.version });
        versions.filter(|version| self.keeps(member, version)).count() as u64
    }

    fn keeps(&self, member: &str, version: &VersionRef) -> bool {
        let first = self.first.get(member);
        let written = self.written.get(version).filter(|(by, _)| by == member);
        written.zip(first).is_some_and(|((_, height), first)| height > first)
    }

    /// Somebody was permitted to read a version, for the first time or again. What waits gives its
    /// place to an emergency, and to what is permitted when it is not itself any more.
    pub fn ask(&mut self, judge: &Judge, (wish, time): (&Wish, TimeMs), version: u32) {
        // The simulator's records have one version each.
        let version = version.max(1);
        let recipient = Fixture::key_id(&wish.reader);
        let name = WrapName { record: wish.record, version, recipient };
        let Some((_, member)) = judge.record(&wish.record) else { return };
        if let Some(asked) = self.open.values_mut().find(|asked| asked.name == name) {
            let sooner = wish.emergency.is_some() && asked.wish.emergency.is_none();
            if sooner || !may_be_wrapped(judge, asked, time) {
                (asked.wish, asked.owed) = (wish.clone(), false);
            }
            return;
        }
        let keyed = Fixture::holder(&recipient).is_some();
        if !keyed || self.has(&name) || !self.keepers.contains_key(member) {
            return;
        }
        self.enlist(member, Asked { name, wish: wish.clone(), owed: false });
    }

    fn enlist(&mut self, member: &str, asked: Asked) {
        let next = self.next.entry(member.to_owned()).or_default();
        self.open.insert((member.to_owned(), *next), asked);
        *next += 1;
    }

    /// An action of a transaction took effect.
    ///
    /// # Errors
    /// What of it must not have.
    pub fn hear(&mut self, judge: &Judge, effect: &Effect, action: &Action) -> Result<(), String> {
        match action {
            Action::WriteRecord(write) => {
                let (author, keepers) = (&effect.author, &self.keepers);
                if judge.is_registered(&write.patient) && !keepers.contains_key(author.member().as_str()) {
                    return Err(format!(
                        "{author} writes of a patient in block {}, without a custodian",
                        effect.height
                    ));
                }
                let name = |recipient| WrapName { record: write.record_id, version: write.version, recipient };
                self.wrapped.extend(write.wraps.iter().map(|wrap| name(wrap.recipient)));
                let version = VersionRef { record: write.record_id, version: write.version };
                self.written.insert(version, (effect.author.member().to_string(), effect.height));
                Ok(())
            }
            Action::SetCustodyKey(key) => self.set_key(effect, *key),
            Action::Custody(CustodyAction::NameDeputy(deputy)) => {
                let deputy = deputy.as_ref().map(ToString::to_string);
                if let Some(own) = self.keepers.get_mut(effect.author.member().as_str()) {
                    own.deputy = deputy;
                }
                Ok(())
            }
            Action::Governance(GovernanceAction::Ballot { .. }) => {
                if let Some(Standing::Left { member, .. }) = &effect.decided {
                    self.leave(member);
                }
                Ok(())
            }
            Action::AddWraps(add) => {
                let by = &effect.author;
                self.add(judge, effect, add).map_err(|what| format!("{by} in block {}: {what}", effect.height))
            }
            _ => Ok(()),
        }
    }

    fn set_key(&mut self, effect: &Effect, key: KeyId) -> Result<(), String> {
        let member = effect.author.member().to_string();
        let custodian = Fixture::holder(&key).ok_or("the custody key is nobody's")?;
        let before = self.keepers.get(&member);
        if before.is_some_and(|before| before.key == key) {
            return Ok(());
        }
        let (deputy, previous) = (before.and_then(|before| before.deputy.clone()), before.map(|before| before.key));
        self.first.entry(member.clone()).or_insert(effect.height);
        self.keepers.insert(member, Keeper { custodian, key, previous, deputy });
        Ok(())
    }

    /// Nobody has it for a deputy any more.
    fn leave(&mut self, member: &str) {
        for (name, keeper) in &mut self.keepers {
            if name == member || keeper.deputy.as_deref() == Some(member) {
                keeper.deputy = None;
            }
        }
    }

    fn add(&mut self, judge: &Judge, effect: &Effect, add: &AddWraps) -> Result<(), String> {
        let member = add.member.as_ref().map_or(effect.author.member().as_str(), |member| member.as_str());
        let by = effect.author.to_string();
        let keeper = judge.members().answers_now(member);
        let own = self.keepers.get(keeper).ok_or("a wrap of a member that has no custodian")?;
        let is_own = own.custodian == by;
        let deputy = own.deputy.as_ref().and_then(|deputy| self.keepers.get(deputy));
        let answers_only = add.rewraps.is_empty() && add.owed.is_empty();
        if !is_own && (deputy.is_none_or(|deputy| deputy.custodian != by) || !answers_only) {
            return Err(format!("a wrap for {member}, whose keys another one keeps"));
        }
        let wanted: Vec<KeyId> = std::iter::once(own).chain(deputy).map(|keeper| keeper.key).collect();
        for wrap in &add.wraps {
            let asked = self.take(member, wrap.request, is_own)?;
            if asked.name != name_of(wrap) || !may_be_wrapped(judge, &asked, effect.time) {
                return Err(format!("a wrap for {}, who may not read", asked.wish.reader));
            }
            self.wrapped.insert(asked.name);
            self.kept.wraps += 1;
            self.kept.by_deputies += u64::from(!is_own);
        }
        for number in &add.dropped {
            let asked = self.take(member, *number, is_own)?;
            if may_be_wrapped(judge, &asked, effect.time) {
                return Err(format!("drops what {} may read", asked.wish.reader));
            }
        }
        add.rewraps.iter().try_for_each(|rewrap| self.rewrap(judge, member, &wanted, rewrap))?;
        add.owed.iter().try_for_each(|owed| self.owe(judge, (member, effect.time), owed))
    }

    /// What is owed to somebody and is not there is asked for once.
    fn owe(&mut self, judge: &Judge, (member, time): (&str, TimeMs), owed: &OwedWrap) -> Result<(), String> {
        let VersionRef { record, version } = owed.version;
        let name = WrapName { record, version, recipient: owed.recipient };
        let reader = Fixture::holder(&owed.recipient).ok_or("a wrap is owed to nobody")?;
        let (patient, of) = judge.record(&record).ok_or("a wrap of no record is owed")?;
        if of != member || self.has(&name) || self.open.values().any(|asked| asked.name == name) {
            return Err(format!("asks for what is not owed to {reader} by {member}"));
        }
        let wish = Wish { reader, patient, record, purpose: PurposeOfUse::Patrqt, emergency: None };
        let asked = Asked { name, wish, owed: true };
        let keeper = self.keepers.get(judge.members().answers_now(member)).ok_or("nobody keeps what is owed")?;
        let kept = self.has(&WrapName { recipient: keeper.key, ..asked.name });
        if !kept || !may_be_wrapped(judge, &asked, time) {
            return Err(format!("asks for {}, to whom nothing is owed", asked.wish.reader));
        }
        self.enlist(member, asked);
        self.kept.owed += 1;
        Ok(())
    }

    fn take(&mut self, member: &str, number: u64, is_own: bool) -> Result<Asked, String> {
        let asked = self.open.remove(&(member.to_owned(), number)).ok_or("answers what nobody has asked for")?;
        if !is_own && asked.wish.emergency.is_none() {
            return Err(format!("a deputy answers {}, which has no emergency", asked.wish.reader));
        }
        Ok(asked)
    }

    /// For a custody key nobody needs a permit: it is wrapped once, and not asked for any more.
    fn rewrap(&mut self, judge: &Judge, member: &str, wanted: &[KeyId], rewrap: &Rewrap) -> Result<(), String> {
        let VersionRef { record, version } = rewrap.version;
        let name = WrapName { record, version, recipient: rewrap.recipient };
        let fits = judge.record(&record).is_some_and(|(_, of)| of == member) && wanted.contains(&rewrap.recipient);
        if !fits || rewrap.wrap_hash.is_some() == self.has(&name) {
            return Err("a wrap for a custody key that nothing is wanted for".to_owned());
        }
        self.open.retain(|_, asked| asked.name != name);
        self.wrapped.insert(name);
        self.kept.rewraps += 1;
        Ok(())
    }
}

/// Who takes part in nothing is given no keys.
fn may_be_wrapped(judge: &Judge, Asked { wish, owed, .. }: &Asked, time: TimeMs) -> bool {
    let Ok(reader) = wish.reader.parse::<SpiffeId>() else { return false };
    let may = match owed {
        true => judge.owes(&wish.record, &reader, time),
        false => judge.permits(wish, time),
    };
    judge.members().is_active(reader.member().as_str()) && may
}

fn name_of(wrap: &AddedWrap) -> WrapName {
    let VersionRef { record, version } = wrap.version;
    WrapName { record, version, recipient: wrap.recipient }
}
