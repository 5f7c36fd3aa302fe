//! Under what each entry of a list is asked about: the transaction of its request, for `access decision`
//! and `petition open --entry`, and its emergency, for `emergency review`. They stand in a table of
//! their own: numbers as long as these would tear the list apart.

use super::EventView;
use super::html;
use crate::text::table;

/// Above the table.
const TITLE: &str = "Numbers of the requests";

/// Columns and lines.
pub(super) struct Requests {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Requests {
    /// Of entries, in their order. Of what was said of the patient nothing is asked so.
    pub(super) fn of<'a>(events: impl Iterator<Item = &'a EventView> + Clone) -> Self {
        let events = events.filter(|event| !event.is_change());
        let emergencies = events.clone().any(|event| event.emergency.is_some());
        let head = ["NO", "REQUEST"].into_iter().chain(emergencies.then_some("EMERGENCY"));
        let row = |event: &EventView| {
            let emergency = emergencies.then(|| event.emergency.clone().unwrap_or_default());
            [event.number.to_string(), event.transaction.clone()].into_iter().chain(emergency).collect()
        };
        Self { head: head.map(str::to_owned).collect(), rows: events.map(row).collect() }
    }

    /// In whose list each stands, in the order of the entries.
    pub(super) fn in_lists<'a>(mut self, lists: impl Iterator<Item = &'a str>) -> Self {
        self.head.insert(0, "LIST".to_owned());
        self.rows.iter_mut().zip(lists).for_each(|(row, list)| row.insert(0, list.to_owned()));
        self
    }

    /// For people; empty if there are none.
    pub(super) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let head: Vec<&str> = self.head.iter().map(String::as_str).collect();
        format!("{}:\n{}\n", TITLE.to_lowercase(), table(&head, &self.rows))
    }

    /// For the page; empty if there are none.
    pub(super) fn html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", html::cells(row));
        format!("<h2>{TITLE}</h2>\n{}", html::table(&self.head, self.rows.iter().map(row)))
    }
}
