#![allow(clippy::unwrap_used)]
use std::path::Path;

use clap::Parser;

use super::*;
use crate::access::html;
use crate::access::tests::view;
use crate::json;

fn takes(line: &str) -> bool {
    let line = line.replace("PSEUDONYM", &"07".repeat(16)).replace("KEPT", &format!("1:{}", "0a".repeat(32)));
    crate::Cli::try_parse_from(line.split_whitespace()).is_ok()
}

#[test]
fn a_file_has_the_whole_list_and_what_is_sealed_only_where_it_is_asked_for() {
    let log = |options: &str| takes(&format!("consilium access log PSEUDONYM {options}"));
    assert!(log("--proof f") && log("--proof f --sealed") && log("--html h --sealed") && log("--html h --proof f"));
    assert!(!log("--sealed"), "of what is only shown, everything is");
    assert!(log("--since KEPT") && !log("--proof f --since KEPT") && !log("--proof f --linked"));
    assert!(takes("consilium patient records PSEUDONYM --proof f --keep k --kind note"));
    assert!(!takes("consilium patient records PSEUDONYM --proof f --since k"));
}

#[test]
fn scripts_get_the_list_that_a_file_proves_and_who_says_so() {
    let certified = || CertifiedView { height: 10, signed_power: 20, total_power: 30 };
    let log = VerifiedView { proves: "access_log", list: view(false), certified: certified() };
    json::snapshot::check("access-verified-log", &log);
    let text = log.text("LIST", &log.list.ledger, log.list.at_height);
    assert!(text.starts_with("verified\nLIST\nwhole up to block 9 of ledger 0404"), "{text}");
    assert!(text.contains("certified by 20 of 30 voting power"), "{text}");
    let list = crate::patient::records_view(0);
    let records = VerifiedView { proves: "record_lists", list, certified: certified() };
    json::snapshot::check("access-verified-records", &records);
}

#[test]
fn what_is_withheld_is_told_and_is_not_nothing() {
    assert_eq!(withheld(0), "");
    assert!(withheld(2).contains("2 withheld") && withheld(2).contains("the word of whoever made this file"));
    let mut list = view(false);
    list.events.clear();
    let nothing_shown = list.text(false);
    assert!(nothing_shown.contains("no entry is shown") && !nothing_shown.contains("nobody"), "{nothing_shown}");
}

#[test]
fn a_page_and_the_command_name_the_file_that_was_written_with_it() {
    let mut view = view(false);
    assert!(html::page(&view, false).contains("whoever doubts it asks for the list again"));
    assert!(!view.text(false).contains("access verify"));
    view.proof_file = Some(Path::new("folder/<list>.pb").to_owned());
    let page = html::page(&view, false);
    assert!(
        page.contains("<code>consilium access verify &lt;list&gt;.pb</code>") && !page.contains("folder"),
        "{page}"
    );
    assert!(view.text(false).ends_with("offline: consilium access verify folder/<list>.pb"));
}
