//! The log of a run: a running hash of every line, and the lines themselves
//! when somebody wants to read them. No hash of a block or a signature goes in:
//! ES256 signatures are random, and evidence carries them into the state.

use std::fmt;

/// The log.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    print: bool,
}

struct Fnv<'a>(&'a mut u64);

impl fmt::Write for Fnv<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    /// A log that prints its lines, or only their hash at the end.
    #[must_use]
    pub const fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, print }
    }

    /// Notes a line.
    pub fn note(&mut self, now: u64, line: fmt::Arguments<'_>) {
        self.lines += 1;
        let written = fmt::write(&mut Fnv(&mut self.hash), format_args!("{now} {line}\n"));
        debug_assert!(written.is_ok(), "hashing text cannot fail");
        if self.print {
            println!("{now:>7} {line}");
        }
    }

    /// The hash of all lines so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }
}
