//! bollard's errors → ours.
use crate::error::{Error, Result};

pub(in crate::engine) fn translate(call: &str, error: bollard::errors::Error) -> Error {
    Error::EngineGone { call: call.to_owned(), reason: error.to_string() }
}
pub(in crate::engine) fn status_of(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
pub(in crate::engine) async fn within<T>(
    call: &str,
    answer: impl Future<Output = Result<T, bollard::errors::Error>>,
) -> Result<T> {
    match tokio::time::timeout(super::DEADLINE, answer).await {
        Ok(done) => done.map_err(|e| translate(call, e)),
        Err(_) => Err(Error::EngineTimeout { call: call.to_owned(), seconds: 6 }),
    }
}
pub(in crate::engine) fn port_conflict(message: &str) -> bool {
    message.contains("port is already allocated") || message.contains("address already in use")
}
