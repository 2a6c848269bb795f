//! The binary: a runtime, and the exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One thread: docklet waits far more than it computes.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(docklet::cli::main());
            // A thread may still wait for the other end of a pipe.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            code
        }
        Err(_) => ExitCode::FAILURE,
    }
}
