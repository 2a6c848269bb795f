//! The binary. Everything is in the library: an `async fn` of it that is awaited here would be compiled twice.

use std::process::ExitCode;

fn main() -> ExitCode {
    docklet::cli::main()
}
