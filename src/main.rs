//! The binary: a runtime, and the exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One thread: docklet waits far more than it computes.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(docklet::cli::main()),
        Err(_) => ExitCode::FAILURE,
    }
}
