//! A member's CAs in every order of the steps that are open to it: CAs come, go
//! and come back, people enrol, certificates and CAs are revoked, lists are
//! published. Whoever has a good certificate under a CA of the bundle acts, and
//! nobody acts who could not be stopped by a list.

use std::collections::{BTreeMap, BTreeSet};

use consilium_kit::identity_rules::{list, serial};
use consilium_kit::topics::rotate;
use consilium_kit::{Action, Identity, Ledger, delegate};
use consilium_ledger::CheckedTransaction;
use consilium_proto::observed::Observed;
use consilium_proto::pb::{self, Outcome};
use proptest::prelude::*;

const MEMBER: &str = "d.example";
const OTHERS: [&str; 3] = ["a.example", "b.example", "c.example"];
/// The last one is below the second.
const CAS: [&str; 4] = ["ca", "ca1", "ca2", "ca3<ca1"];
const BELOW: usize = 3;
const ABOVE: usize = 1;

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(usize),
    Remove(usize),
    /// A bundle of this CA alone.
    Replace(usize),
    Enroll(usize),
    /// In the CA's own books: the certificate of one of those who enrolled.
    Revoke(usize),
    /// In the books of the CA above.
    RevokeBelow,
    Publish(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let ca = 0..CAS.len();
    prop_oneof![
        3 => ca.clone().prop_map(Step::Add),
        3 => ca.clone().prop_map(Step::Remove),
        1 => ca.clone().prop_map(Step::Replace),
        4 => ca.clone().prop_map(Step::Enroll),
        3 => (0usize..64).prop_map(Step::Revoke),
        1 => Just(Step::RevokeBelow),
        4 => ca.prop_map(Step::Publish),
    ]
}

struct Person {
    ca: usize,
    identity: Identity,
    /// Whether the enrolment was applied.
    enrolled: bool,
}

/// What a CA has in its books, and what of it is on the ledger.
#[derive(Default)]
struct Office {
    number: u8,
    revoked: BTreeSet<Vec<u8>>,
    published: BTreeSet<Vec<u8>>,
}

struct World {
    ledger: Ledger,
    bundle: Vec<usize>,
    offices: BTreeMap<usize, Office>,
    people: Vec<Person>,
    publishers: usize,
    /// The CA below was revoked by the one above while both were in the bundle.
    below_is_dead: bool,
}

impl World {
    fn new() -> Self {
        let members = OTHERS.into_iter().chain([MEMBER]).map(|id| (id, 100, 1)).collect::<Vec<_>>();
        let first = Ledger::new(&members, |p| p.epoch_ms = 2_592_000_000);
        let identity = first.admins[MEMBER].clone();
        let offices = (0..CAS.len()).map(|ca| (ca, Office::default())).collect();
        let people = vec![Person { ca: 0, identity, enrolled: true }];
        Self { ledger: first, bundle: vec![0], offices, people, publishers: 0, below_is_dead: false }
    }

    fn one(&mut self, transaction: CheckedTransaction) -> Outcome {
        self.ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome
    }

    fn enroll(&mut self, identity: &Identity) -> Outcome {
        let transaction = self.ledger.enrollment(identity);
        self.one(transaction)
    }

    fn vouches(&self, ca: usize) -> bool {
        self.bundle.contains(&ca) && !(ca == BELOW && self.below_is_dead)
    }

    fn is_good(&self, person: &Person) -> bool {
        self.vouches(person.ca) && !self.offices[&person.ca].published.contains(&person.identity.serial())
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Add(ca) if !self.bundle.contains(&ca) => {
                let bundle = self.bundle.iter().copied().chain([ca]).collect();
                self.rotate(bundle, false);
            }
            Step::Remove(ca) if self.bundle.contains(&ca) && self.bundle.len() > 1 => {
                let bundle = self.bundle.iter().copied().filter(|of| *of != ca).collect();
                self.rotate(bundle, false);
            }
            Step::Replace(ca) if self.bundle != [ca] => self.rotate(vec![ca], true),
            Step::Add(_) | Step::Remove(_) | Step::Replace(_) => {}
            Step::Enroll(ca) => {
                let identity = Identity::under(CAS[ca], MEMBER, "admin", &format!("p{}", self.people.len()));
                let enrolled = self.enroll(&identity) == Outcome::Applied;
                assert_eq!(enrolled, self.vouches(ca));
                self.people.push(Person { ca, identity, enrolled });
            }
            Step::Revoke(whom) => {
                let Person { ca, identity, .. } = &self.people[whom % self.people.len()];
                let serial = identity.serial();
                self.offices.get_mut(ca).unwrap().revoked.insert(serial);
            }
            Step::RevokeBelow => {
                self.offices.get_mut(&ABOVE).unwrap().revoked.insert(serial(CAS[BELOW].as_bytes()));
            }
            Step::Publish(ca) => self.publish(ca),
        }
    }

    fn rotate(&mut self, bundle: Vec<usize>, without_overlap: bool) {
        let names: Vec<_> = bundle.iter().map(|ca| CAS[*ca]).collect();
        let topic = rotate(MEMBER, &names, without_overlap);
        if bundle.contains(&BELOW) && self.below_is_dead {
            return self.ledger.proposal_refused(OTHERS[0], topic, Outcome::ProposalRefused);
        }
        self.ledger.execute(&OTHERS, topic);
        self.bundle = bundle;
        self.look_below();
    }

    fn look_below(&mut self) {
        let both = self.bundle.contains(&ABOVE) && self.bundle.contains(&BELOW);
        let named = self.offices[&ABOVE].published.contains(&serial(CAS[BELOW].as_bytes()));
        self.below_is_dead |= both && named;
    }

    /// By an administrator who enrols for it: a member can always have one.
    fn publish(&mut self, ca: usize) {
        let vouching = *self.bundle.iter().find(|ca| self.vouches(**ca)).expect("a CA at the top is never revoked");
        self.publishers += 1;
        let publisher = Identity::under(CAS[vouching], MEMBER, "admin", &format!("publisher{}", self.publishers));
        assert_eq!(self.enroll(&publisher), Outcome::Applied);
        let Office { number, revoked, .. } = &self.offices[&ca];
        let (number, revoked) = (number + 1, revoked.clone());
        let action = Action::PublishRevocations(pb::PublishRevocations { crl: list(CAS[ca], number, &revoked) });
        let transaction = self.ledger.sign(&publisher, vec![action]);
        let expected = if self.bundle.contains(&ca) { Outcome::Applied } else { Outcome::RevocationsRefused };
        assert_eq!(self.one(transaction), expected);
        if expected == Outcome::Applied {
            let office = self.offices.get_mut(&ca).unwrap();
            (office.number, office.published) = (number, revoked);
        }
        self.look_below();
    }

    /// Everybody tries to act, and to enrol anew.
    fn check(&mut self) {
        let action = || vec![delegate(1, 1)];
        let (mut acts, mut enrolls) = (Vec::new(), Vec::new());
        for Person { identity, .. } in &self.people {
            acts.push(self.ledger.sign(identity, action()));
        }
        let executed = self.ledger.block(&acts, &Observed::default());
        let outcomes: BTreeMap<_, _> =
            executed.leaves.iter().map(|(_, leaf)| (leaf.transaction_id, leaf.outcome)).collect();
        for (person, act) in self.people.iter().zip(&acts) {
            let expected = match (person.enrolled, self.is_good(person)) {
                // Nobody's transaction enters no ledger.
                (false, _) => None,
                (true, true) => Some(Outcome::StakeNotAvailable),
                (true, false) => Some(Outcome::AuthorRevoked),
            };
            assert_eq!(outcomes.get(&act.transaction.id).copied(), expected, "{:?}", person.identity.certificate);
        }
        for Person { identity, .. } in &self.people {
            enrolls.push(self.ledger.enrollment(identity));
        }
        let executed = self.ledger.block(&enrolls, &Observed::default());
        let good: Vec<_> = self.people.iter().map(|person| self.is_good(person)).collect();
        for ((person, good), (_, leaf)) in self.people.iter_mut().zip(good).zip(&executed.leaves) {
            assert_eq!(leaf.outcome == Outcome::Applied, good);
            person.enrolled |= good;
        }
    }

    /// Whoever acts can be stopped by a list of its CA.
    fn revoke_all(&mut self) {
        for whom in 0..self.people.len() {
            self.step(Step::Revoke(whom));
        }
        for ca in self.bundle.clone() {
            self.publish(ca);
        }
        self.check();
        assert!(self.people.iter().all(|person| !self.is_good(person)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rotation_in_any_order(steps in prop::collection::vec(any_step(), 1..24)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        world.revoke_all();
    }
}
