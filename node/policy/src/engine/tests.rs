#![allow(clippy::unwrap_used)]

use super::*;

fn text(n: usize) -> String {
    format!("@id(\"p{n}\") permit (principal, action, resource);")
}

#[test]
fn what_was_used_lately_is_kept() {
    let engine = Engine::new();
    let first = engine.policies(&text(0)).unwrap();
    for n in 1..KEPT_MAX {
        engine.policies(&text(n)).unwrap();
    }
    assert!(Arc::ptr_eq(&first, &engine.policies(&text(0)).unwrap()));
    // The first is the newest now: the second goes.
    let second = engine.policies(&text(1)).unwrap();
    engine.policies(&text(0)).unwrap();
    for n in KEPT_MAX..2 * KEPT_MAX - 1 {
        engine.policies(&text(n)).unwrap();
    }
    assert_eq!(engine.kept.lock().unwrap().len(), KEPT_MAX);
    assert!(Arc::ptr_eq(&first, &engine.policies(&text(0)).unwrap()));
    assert!(!Arc::ptr_eq(&second, &engine.policies(&text(1)).unwrap()));
}

#[test]
fn refusals_are_kept_too() {
    let engine = Engine::new();
    for _ in 0..2 {
        assert_eq!(engine.policies("").unwrap_err(), PolicyProblem::NoPolicy);
    }
    assert_eq!(engine.kept.lock().unwrap().len(), 1);
}
