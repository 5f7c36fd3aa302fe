//! A node that has lost a part of itself must not go on: a panic of any thread ends
//! the process, with a line that says which and where. One that serves a request ends that.

use std::process::{Command, Output};

use consilium_node::contained;
use consilium_node::runtime::end_process_on_panic;

/// Names the thread that shall panic; set for the process that the test starts.
const VICTIM: &str = "CONSILIUM_PANIC_OF";

/// What the started process does; by itself, nothing.
#[test]
fn child() {
    let Ok(victim) = std::env::var(VICTIM) else { return };
    end_process_on_panic();
    match victim.as_str() {
        // A task of the runtime: its panic would otherwise be the task's own matter.
        "network" => {
            let runtime = tokio::runtime::Builder::new_multi_thread().thread_name(victim).build().unwrap();
            let _ = runtime.block_on(async { tokio::spawn(async { panic!("an invariant does not hold") }).await });
        }
        "request" => {
            let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
            let request = contained::future(async { panic!("an invariant of a request") });
            assert!(runtime.block_on(async { tokio::spawn(request).await }).unwrap().is_err());
            let read = contained::blocking(|| panic!("an invariant of a request"));
            assert!(runtime.block_on(read).is_err());
            // The same thread serves no request any more.
            panic!("an invariant does not hold");
        }
        _ => {
            let thread = std::thread::Builder::new().name(victim);
            let _ = thread.spawn(|| panic!("an invariant does not hold")).unwrap().join();
        }
    }
    unreachable!("the process has ended");
}

fn run(victim: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program);
    child.args(["--exact", "panics::child", "--nocapture"]).env(VICTIM, victim).output().unwrap()
}

#[test]
fn a_panic_of_any_thread_ends_the_process_with_a_clear_line() {
    for victim in ["replica", "log-writer", "vote-writer", "verifier-0", "network"] {
        let output = run(victim);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{victim}: the process goes on");
        assert_eq!(output.status.code(), None, "{victim}: ended by a signal, not by the test runner");
        let line = words.lines().find(|line| line.starts_with("error: thread")).unwrap_or_default();
        assert!(line.starts_with(&format!("error: thread {victim} panicked at ")), "{victim}: {words}");
        assert!(line.ends_with(": an invariant does not hold; the node ends"), "{victim}: {words}");
    }
}

#[test]
fn a_panic_of_a_request_ends_the_request() {
    let output = run("request");
    let words = String::from_utf8_lossy(&output.stderr);
    // What came behind it ended the process.
    assert!(!output.status.success() && output.status.code().is_none(), "{words}");
    let lines: Vec<_> = words.lines().filter(|line| line.starts_with("error: thread")).collect();
    assert!(matches!(lines[..], [line] if line.ends_with(": an invariant does not hold; the node ends")), "{words}");
}
