//! Who acts for a member's custody: its custodian; a deputy, in emergencies; and once the member
//! has left, the custodian of the member that has accepted what it kept.

use consilium_proto::ids::{Height, KeyId};
use consilium_proto::pb::{
    CustodyCountState, CustodyDutiesState, CustodyKeeper, CustodyState, CustodyWorkState, MemberStatus,
};
use consilium_proto::state::CustodyName;

use super::{begin, key_of};
use crate::keys;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// SPIFFE ids of who may answer requests for the records of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keepers {
    /// All of them.
    pub keeper: Option<String>,
    /// Those of emergencies.
    pub deputy: Option<String>,
}

/// Who may answer requests for the records of a member.
///
/// # Errors
/// If the store fails.
pub fn keepers<R: StateReader>(reader: &R, member: &str) -> Result<Keepers, StoreFault> {
    keepers_over(&View::new(reader), member)
}

pub(crate) fn keepers_over<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<Keepers, StoreFault> {
    let Some((keeper, deputy)) = in_charge(view, member)? else { return Ok(Keepers::default()) };
    Ok(Keepers { keeper: Some(keeper.custodian), deputy: deputy.map(|deputy| deputy.custodian) })
}

/// Keys for which the records of a member are wrapped unasked.
pub(crate) fn wanted_keys<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<Vec<KeyId>, StoreFault> {
    let Some((keeper, deputy)) = in_charge(view, member)? else { return Ok(Vec::new()) };
    std::iter::once(&keeper).chain(&deputy).map(key_of).collect()
}

/// The custody of whoever keeps a member's records, and of the deputy.
fn in_charge<R: StateReader>(
    view: &View<'_, R>,
    member: &str,
) -> Result<Option<(CustodyState, Option<CustodyState>)>, StoreFault> {
    let Some(mut custody) = load(view, member)? else { return Ok(None) };
    if let Some(keeper) = custody.keepers.last() {
        let Some(keeper) = load(view, &keeper.member)? else { return Ok(None) };
        custody = keeper;
    }
    let deputy = if custody.deputy.is_empty() { None } else { load(view, &custody.deputy)? };
    Ok(Some((custody, deputy)))
}

pub(crate) fn load<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<Option<CustodyState>, StoreFault> {
    view.message(Table::State, &keys::custody(member))
}

fn duties<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<CustodyDutiesState, StoreFault> {
    Ok(view.message(Table::State, &keys::custody_duties(member))?.unwrap_or_default())
}

/// A member itself, and those whose records it keeps since they have left.
fn lists_of<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<Vec<String>, StoreFault> {
    Ok(std::iter::once(member.to_owned()).chain(duties(view, member)?.keeper_of).collect())
}

/// Begins to count for a member's custody key whatever is, or is going to be, wrapped for it.
pub(crate) fn begin_all<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    height: Height,
) -> Result<(), StoreFault> {
    let Some(custody) = load(view, member)? else { return Ok(()) };
    let key = key_of(&custody)?;
    let CustodyDutiesState { deputy_of, successor_of, .. } = duties(view, member)?;
    let mut lists = lists_of(view, member)?;
    for other in deputy_of.iter().chain(&successor_of) {
        lists.extend(lists_of(view, other)?);
    }
    lists.iter().try_for_each(|list| begin(view, list, key, height))
}

/// Adds a duty to a member's, or takes one away.
pub(crate) fn change<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    change: impl FnOnce(&mut CustodyDutiesState),
) -> Result<(), StoreFault> {
    let mut duties = duties(view, member)?;
    change(&mut duties);
    view.put_message(Table::State, keys::custody_duties(member), &duties);
    Ok(())
}

/// Lists are ascending and name nobody twice.
pub(crate) fn join(list: &mut Vec<String>, member: &str) {
    if let Err(place) = list.binary_search_by(|known| known.as_str().cmp(member)) {
        list.insert(place, member.to_owned());
    }
}

pub(crate) fn leave(list: &mut Vec<String>, member: &str) {
    list.retain(|known| known != member);
}

/// Passes on what a member keeps, as it leaves, to the member that is named: versions of records, and
/// the say of who sees the logs of patients whom it has registered. Some: why it may not leave yet, and
/// nothing was changed.
///
/// A member without a custodian has no successor that could have accepted anything; and it must not
/// be able to stay by that. What it has registered goes to whom the members name, if they do.
pub(crate) fn pass_on<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    named: Option<&str>,
    height: Height,
) -> Result<Option<String>, StoreFault> {
    let lists = lists_of(view, member)?;
    let (mut held, mut patients) = (0_u64, 0_u64);
    for list in &lists {
        let work: Option<CustodyWorkState> = view.message(Table::State, &keys::custody_work(list))?;
        let work = work.unwrap_or_default();
        (held, patients) = (held.saturating_add(work.versions), patients.saturating_add(work.patients));
    }
    let Some(custody) = load(view, member)? else {
        if let Some(named) = named.filter(|_| patients > 0) {
            return name_keeper(view, member, named, height);
        }
        return Ok(None);
    };
    let held = Held { versions: held, patients };
    if held.is_anything() {
        if let Some(why) = refusal(view, &custody, (member, named), &lists, held)? {
            return Ok(Some(why));
        }
        hand_over(view, &lists, &CustodyKeeper { member: custody.successor.clone(), since_height: height.0 })?;
        change(view, &custody.successor, |duties| lists.iter().for_each(|list| join(&mut duties.keeper_of, list)))?;
    }
    retire(view, &custody, member)?;
    if held.is_anything() {
        begin_all(view, &custody.successor, height)?;
        let deputy = load(view, &custody.successor)?.map(|state| state.deputy).filter(|deputy| !deputy.is_empty());
        if let Some(deputy) = deputy {
            begin_all(view, &deputy, height)?;
        }
    }
    Ok(None)
}

/// What a member leaves behind.
#[derive(Clone, Copy)]
struct Held {
    versions: u64,
    patients: u64,
}

impl Held {
    fn is_anything(self) -> bool {
        self.versions > 0 || self.patients > 0
    }
}

/// Another member has the say of whom the logs are shown of a member that had no custodian.
fn name_keeper<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    named: &str,
    height: Height,
) -> Result<Option<String>, StoreFault> {
    if !is_active(view, named)? || load(view, named)?.is_none() {
        return Ok(Some(format!("{named}, which is to follow {member}, is not active or has no custodian")));
    }
    // Nothing that it wrote is in custody.
    let custody = CustodyState { first_height: height.0, ..CustodyState::default() };
    view.put_message(Table::State, keys::custody(member), &custody);
    let lists = [member.to_owned()];
    hand_over(view, &lists, &CustodyKeeper { member: named.to_owned(), since_height: height.0 })?;
    change(view, named, |duties| join(&mut duties.keeper_of, member))?;
    begin_all(view, named, height)?;
    Ok(None)
}

fn is_active<R: StateReader>(view: &View<'_, R>, member: &str) -> Result<bool, StoreFault> {
    Ok(view.member(member)?.is_some_and(|state| state.status == MemberStatus::Active as i32))
}

/// From now on another member keeps these members' records.
fn hand_over<R: StateReader>(
    view: &mut View<'_, R>,
    lists: &[String],
    keeper: &CustodyKeeper,
) -> Result<(), StoreFault> {
    let mut roster = view.roster()?;
    for list in lists {
        change_custody(view, list, |state| state.keepers.push(keeper.clone()))?;
        join(&mut roster.kept_members, list);
    }
    view.put_roster(&roster);
    Ok(())
}

/// Why a member that keeps so much may not leave it to the one that is named.
fn refusal<R: StateReader>(
    view: &View<'_, R>,
    custody: &CustodyState,
    (member, named): (&str, Option<&str>),
    lists: &[String],
    Held { versions: held, patients }: Held,
) -> Result<Option<String>, StoreFault> {
    let successor = &custody.successor;
    if successor.is_empty() {
        let kept = match held {
            0 => format!("has registered {patients} patients, and no member has accepted its custody"),
            held => format!("keeps {held} versions of records, and no member has accepted their custody"),
        };
        return Ok(Some(format!("{member} {kept}")));
    }
    if named != Some(successor) {
        let named = named.map_or_else(|| "nobody".to_owned(), ToOwned::to_owned);
        return Ok(Some(format!("{successor} has accepted the custody of {member}, and the proposal names {named}")));
    }
    let active = is_active(view, successor)?;
    let Some(theirs) = load(view, successor)?.filter(|_| active) else {
        return Ok(Some(format!("{successor}, which has accepted the custody of {member}, is not active")));
    };
    let key = key_of(&theirs)?;
    let mut wrapped = 0_u64;
    for list in lists {
        let count = keys::custody_count(&CustodyName::new(list, key));
        let count: Option<CustodyCountState> = view.message(Table::State, &count)?;
        wrapped = wrapped.saturating_add(count.map_or(0, |count| count.versions));
    }
    let missing = held.saturating_sub(wrapped);
    let max = custody.missing_max;
    Ok((missing > max).then(|| {
        format!(
            "{missing} of {held} versions that {member} keeps are not wrapped for {successor}, which has accepted to \
             lack {max}"
        )
    }))
}

/// Whoever counted on a member that leaves, counts on it no more.
fn retire<R: StateReader>(view: &mut View<'_, R>, custody: &CustodyState, member: &str) -> Result<(), StoreFault> {
    let own = duties(view, member)?;
    for other in &own.deputy_of {
        change_custody(view, other, |state| state.deputy.clear())?;
    }
    for other in &own.successor_of {
        change_custody(view, other, |state| (state.successor, state.missing_max) = (String::new(), 0))?;
    }
    if !custody.deputy.is_empty() {
        change(view, &custody.deputy, |duties| leave(&mut duties.deputy_of, member))?;
    }
    if !custody.successor.is_empty() {
        change(view, &custody.successor, |duties| leave(&mut duties.successor_of, member))?;
    }
    change_custody(view, member, |state| {
        (state.deputy, state.successor, state.missing_max) = (String::new(), String::new(), 0);
    })?;
    view.remove(Table::State, keys::custody_duties(member));
    Ok(())
}

fn change_custody<R: StateReader>(
    view: &mut View<'_, R>,
    member: &str,
    change: impl FnOnce(&mut CustodyState),
) -> Result<(), StoreFault> {
    if let Some(mut custody) = load(view, member)? {
        change(&mut custody);
        view.put_message(Table::State, keys::custody(member), &custody);
    }
    Ok(())
}
