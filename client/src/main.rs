//! The command line `consilium`. Everything it does is in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    consilium_client::cli::main()
}
