//! The program as a shell sees it: what it prints, and how it ends.

mod shell;
