#![allow(clippy::unwrap_used)]
use std::io::pipe;
use std::process::{Command, Output, Stdio};

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_consilium"));
    program.env_clear().stdin(Stdio::null());
    program
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// As `consilium ... | head -0`: nobody reads what is printed.
#[test]
fn a_reader_that_has_gone_is_no_failure_to_tell_of() {
    for arguments in [&["policy", "default"][..], &["policy", "examples"], &["completion", "bash"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let ended = program().args(arguments).stdout(writer).output().unwrap();
        assert_eq!((ended.status.code(), stderr(&ended)), (Some(141), String::new()), "{arguments:?}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_is_refused_wherever_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "endpoints = [\"https://node.a.example:7401\"]\n").unwrap();
    let flag = program().args(["--endpoints", "https://node.a.example:7401", "status"]).output().unwrap();
    let variable = program().env("CONSILIUM_ENDPOINTS", "https://node.a.example:7401").arg("status").output().unwrap();
    let in_file = program().arg("--config").arg(&file).arg("status").output().unwrap();
    for ended in [&flag, &variable, &in_file] {
        assert!(stderr(ended).contains("give it without https:// (node.a.example:7401)"), "{}", stderr(ended));
    }
    assert_eq!([&flag, &variable].map(|ended| ended.status.code()), [Some(2); 2]);
    assert!(!in_file.status.success());
}

#[test]
fn a_query_that_nothing_can_meet_is_wrong_usage() {
    for (arguments, told) in [
        (&["--kind", "observation"][..], "did you mean Observation?"),
        (&["--kind", ""], "--other-kind"),
        (&["--other-kind", "a b"], "letters, digits"),
        (&["--author", "nobody"], "--author"),
    ] {
        let ended = program().args(["record", "query"]).args(arguments).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{}", stderr(&ended));
        assert!(stderr(&ended).contains(told), "{}", stderr(&ended));
    }
}
