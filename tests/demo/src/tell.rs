//! Talking to the person who watches: numbered steps, command lines, answers.

use std::cell::Cell;
use std::io::IsTerminal;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// The teller; in colour on a terminal, unless `NO_COLOR` is set.
pub(crate) struct Tell {
    colour: bool,
    steps: Cell<u32>,
}

impl Tell {
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && std::io::stdout().is_terminal(), steps: Cell::new(0) }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }

    pub(crate) fn title(&self, text: &str) {
        println!("{}", self.paint(BOLD, text));
    }

    pub(crate) fn step(&self, text: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("\n{}", self.paint(BOLD, &format!("{}. {text}", self.steps.get())));
    }

    pub(crate) fn say(&self, text: &str) {
        println!("   {text}");
    }

    pub(crate) fn good(&self, text: &str) {
        println!("   {} {text}", self.paint(GREEN, "✓"));
    }

    pub(crate) fn command(&self, line: &str) {
        println!("   {} {line}", self.paint(BOLD, "$"));
    }

    pub(crate) fn quote(&self, answer: &str) {
        self.quote_lines(answer.lines());
    }

    pub(crate) fn quote_lines<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines {
            println!("   {} {line}", self.paint(DIM, "|"));
        }
    }

    pub(crate) fn done(&self, text: &str) {
        println!("\n{}", self.paint(GREEN, text));
    }

    pub(crate) fn error(&self, error: &anyhow::Error) {
        eprintln!("\n{} {error:#}", self.paint(RED, "error:"));
    }
}
