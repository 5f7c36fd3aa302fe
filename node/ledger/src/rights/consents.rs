//! The consents of a patient. Which there are is told by one row of each pseudonym; what they say is
//! read when a record is decided of a custodian that they may bind, and once: anybody may put
//! consents of a patient on the ledger that bind nobody but itself, and nobody else is to pay for
//! them.

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::consent::{Asked, Custodians, Grant, Period, Reach};
use consilium_proto::ids::{ConsentId, PatientPseudonym, TimeMs};
use consilium_proto::pb::{ConsentListEntry, ConsentListState, ConsentState};

use super::patient::Pseudonym;
use crate::custody::Kept;
use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// See the module. All of it is of one moment.
pub(super) struct Consents {
    time: TimeMs,
    /// By pseudonym, in the order in which they came, what is in force. `None`: no custodian was
    /// asked about for whom the pseudonym counts.
    listed: Vec<Option<Vec<Listed>>>,
    /// Of custodians that were asked about, those that bind them.
    binding: BTreeMap<String, Vec<Binding>>,
}

/// A consent that binds a custodian.
struct Binding {
    /// Of which pseudonym.
    of: usize,
    /// Which one of those that are listed of it.
    place: usize,
    /// Of what it speaks.
    reach: Reach,
}

struct Listed {
    entry: ConsentListEntry,
    consent: Option<Consent>,
}

/// What a consent says, and who said it.
pub(super) struct Consent {
    pub(super) id: ConsentId,
    pub(super) state: ConsentState,
    pub(super) grant: Grant,
}

impl Consents {
    /// Of pseudonyms, of which the first one counts for every custodian. Which consents that one has is
    /// always looked at: that a query has nothing to look at is not to be told by the time.
    pub(super) fn of<R: StateReader>(
        view: &View<'_, R>,
        pseudonyms: &[Pseudonym],
        time: TimeMs,
    ) -> Result<Self, StoreFault> {
        let mut listed: Vec<_> = pseudonyms.iter().map(|_| None).collect();
        if let (Some(first), Some(list)) = (pseudonyms.first(), listed.first_mut()) {
            *list = Some(in_force(view, &first.id, time)?);
        }
        Ok(Self { time, listed, binding: BTreeMap::new() })
    }

    /// Reads those that bind a custodian, if it was not asked about before. The pseudonyms must be
    /// those of which this was made.
    pub(super) fn hear<R: StateReader>(
        &mut self,
        view: &View<'_, R>,
        (kept, pseudonyms): (&Kept, &mut [Pseudonym]),
        custodian: &str,
    ) -> Result<(), StoreFault> {
        if self.binding.contains_key(custodian) {
            return Ok(());
        }
        let custodians = kept.custodians(custodian);
        let mut binding = Vec::new();
        for (of, (pseudonym, list)) in pseudonyms.iter_mut().zip(&mut self.listed).enumerate() {
            let id = pseudonym.id;
            let Some(state) = pseudonym.read_for(view, custodians)? else { continue };
            let listed = match list.take() {
                Some(listed) => list.insert(listed),
                None => list.insert(in_force(view, &id, self.time)?),
            };
            let signers = custodians.signers(state);
            for (place, listed) in listed.iter_mut().enumerate() {
                if listed.may_bind(custodians, &signers)
                    && let Some(reach) = custodians.reach(&listed.read(view)?.state, state)
                {
                    binding.push(Binding { of, place, reach });
                }
            }
        }
        self.binding.insert(custodian.to_owned(), binding);
        Ok(())
    }

    /// Those that bind the custodian of what is asked for, are in force and speak of it;
    /// [`Self::hear`] has been asked about that custodian.
    pub(super) fn binding(&self, asked: &Asked<'_>) -> impl Iterator<Item = &Consent> {
        debug_assert_eq!(asked.time, self.time, "all of a request is of one moment");
        let binding = self.binding.get(asked.record.custodian).map(Vec::as_slice).unwrap_or_default();
        let speaking = binding.iter().filter(|binding| binding.reach.covers(asked));
        speaking.filter_map(|b| self.listed.get(b.of)?.as_ref()?.get(b.place)?.consent.as_ref())
    }
}

/// A patient's consents that are in force at a time, none of them read.
fn in_force<R: StateReader>(
    view: &View<'_, R>,
    patient: &PatientPseudonym,
    time: TimeMs,
) -> Result<Vec<Listed>, StoreFault> {
    let list: Option<ConsentListState> = view.message(Table::State, &keys::consent_list(patient))?;
    let in_force = list.unwrap_or_default().consents.into_iter().filter(|entry| {
        let period = Period { from: TimeMs(entry.from_ms), to: TimeMs(entry.to_ms) };
        period.contains(time)
    });
    Ok(in_force.map(|entry| Listed { entry, consent: None }).collect())
}

impl Listed {
    /// Whether its row has to be read to know it.
    fn may_bind(&self, custodians: Custodians<'_>, signers: &BTreeSet<&str>) -> bool {
        match self.entry.paper_member.is_empty() {
            true => signers.contains(self.entry.author.as_str()),
            false => custodians.include(&self.entry.paper_member),
        }
    }

    fn read<R: StateReader>(&mut self, view: &View<'_, R>) -> Result<&Consent, StoreFault> {
        let consent = match self.consent.take() {
            Some(consent) => consent,
            None => Consent::read(view, &self.entry)?,
        };
        Ok(self.consent.insert(consent))
    }
}

impl Consent {
    fn read<R: StateReader>(view: &View<'_, R>, entry: &ConsentListEntry) -> Result<Self, StoreFault> {
        let id = ConsentId::parse("consent_id", &entry.consent_id).map_err(|e| corrupt(format!("consents: {e}")))?;
        let state: Option<ConsentState> = view.message(Table::State, &keys::consent(&id))?;
        let state = state.ok_or_else(|| corrupt("a listed consent is absent"))?;
        let grant = Grant::parse(state.grant.as_ref().unwrap_or(&Default::default()));
        let grant = grant.map_err(|e| corrupt(format!("consent: {e}")))?;
        Ok(Self { id, state, grant })
    }
}
