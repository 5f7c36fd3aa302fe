//! What is kept of a block's changes is what a model keeps that copies everything, whatever is
//! refused and gone back to.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::state_map::NodePath;

type Model = BTreeMap<(Table, Vec<u8>), Option<Bytes>>;

/// What is stored: one row of each table.
struct Stored;

impl TrieStore for Stored {
    type Error = StoreFault;

    fn node(&self, _: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        Ok(None)
    }
}

impl StateReader for Stored {
    fn get(&self, _: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        Ok((key == [0]).then(|| Bytes::from_static(b"stored")))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put(Table, u8, u8),
    Remove(Table, u8),
    Save,
    Restore,
    Commit,
    RollBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let table = || prop_oneof![Just(Table::State), Just(Table::Index)];
    let step = prop_oneof![
        6 => (table(), 0_u8..6, any::<u8>()).prop_map(|(table, key, value)| Step::Put(table, key, value)),
        2 => (table(), 0_u8..6).prop_map(|(table, key)| Step::Remove(table, key)),
        1 => Just(Step::Save),
        1 => Just(Step::Restore),
        1 => Just(Step::Commit),
        1 => Just(Step::RollBack),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn what_is_refused_leaves_nothing_behind(steps in steps()) {
        let mut view = View::new(&Stored);
        let (mut block, mut now) = (Model::new(), Model::new());
        let mut saved: Option<(Savepoint, Model)> = None;
        for step in steps {
            match step {
                Step::Put(table, key, value) => {
                    view.put(table, vec![key], vec![value]);
                    now.insert((table, vec![key]), Some(vec![value].into()));
                }
                Step::Remove(table, key) => {
                    view.remove(table, vec![key]);
                    now.insert((table, vec![key]), None);
                }
                Step::Save => saved = Some((view.savepoint(), now.clone())),
                Step::Restore => if let Some((savepoint, model)) = saved.take() {
                    view.restore(savepoint);
                    now = model;
                },
                // A savepoint is of one transaction.
                Step::Commit => {
                    view.commit();
                    (block, saved) = (now.clone(), None);
                }
                Step::RollBack => {
                    view.roll_back();
                    (now, saved) = (block.clone(), None);
                }
            }
            for (table, key) in [Table::State, Table::Index].into_iter().flat_map(|t| (0..6).map(move |k| (t, vec![k]))) {
                let stored = Stored.get(table, &key).unwrap();
                prop_assert_eq!(view.get(table, &key).unwrap(), now.get(&(table, key)).cloned().unwrap_or(stored));
            }
        }
        view.roll_back();
        let (rows, _) = view.into_parts();
        let kept: Vec<_> = rows.into_iter().map(|row| ((row.table, row.key), row.value)).collect();
        prop_assert_eq!(kept, block.into_iter().collect::<Vec<_>>());
    }
}
