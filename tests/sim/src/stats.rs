//! What happened in a run, counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::swarm::Fault;

/// Counts of one run, or of many added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Faults that happened.
    pub faults: BTreeMap<Fault, u64>,
    /// Seeds that asked for a fault which then did not happen.
    pub missed: BTreeMap<Fault, u64>,
    /// Other events by name.
    pub events: BTreeMap<&'static str, u64>,
    /// Events of the simulation.
    pub steps: u64,
}

impl Stats {
    /// Counts a fault.
    pub fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Counts another event.
    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts several.
    pub fn add(&mut self, name: &'static str, count: u64) {
        *self.events.entry(name).or_default() += count;
    }

    /// How often an event was counted.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.events.get(name).copied().unwrap_or(0)
    }

    /// Notes what was asked for in vain.
    pub fn finish(&mut self, asked: &BTreeSet<Fault>) {
        for fault in asked.iter().filter(|fault| !self.faults.contains_key(fault)) {
            *self.missed.entry(*fault).or_default() += 1;
        }
    }

    /// Adds another run.
    pub fn merge(&mut self, other: &Self) {
        let Self { faults, missed, events, steps } = other;
        faults.iter().for_each(|(fault, count)| *self.faults.entry(*fault).or_default() += count);
        missed.iter().for_each(|(fault, count)| *self.missed.entry(*fault).or_default() += count);
        events.iter().for_each(|(name, count)| *self.events.entry(name).or_default() += count);
        self.steps += steps;
    }
}
