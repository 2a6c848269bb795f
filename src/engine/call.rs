//! One call to the engine: under a deadline, and with its errors in our words. The answer is on the heap: it is large and a
//! part of every operation, and a program that uses the library may have small stacks.

use std::{future::Future, time::Duration};

use bollard::errors::Error as Theirs;

use super::error::{status_of, translate};
use crate::error::{Error, Result};

/// Makes a call. `what` completes "the engine refused to …", such as "start the container".
///
/// # Errors
/// What [`translate`] makes of the engine's error; [`Error::EngineTimeout`] after the deadline.
pub(super) fn ask<T>(
    what: &str,
    limit: Duration,
    answer: impl Future<Output = Result<T, Theirs>>,
) -> impl Future<Output = Result<T>> {
    let answer = deadline(what, limit, answer);
    async move { answer.await?.map_err(|error| translate(what, error)) }
}

/// The same; `None` when there is no such thing.
pub(super) fn none_if_missing<T>(
    what: &str,
    limit: Duration,
    answer: impl Future<Output = Result<T, Theirs>>,
) -> impl Future<Output = Result<Option<T>>> {
    let answer = deadline(what, limit, answer);
    async move {
        match answer.await? {
            Ok(value) => Ok(Some(value)),
            Err(error) if status_of(&error) == Some(404) => Ok(None),
            Err(error) => Err(translate(what, error)),
        }
    }
}

/// The same; the engine's own refusal stays bollard's error, for the caller to read.
pub(super) fn deadline<T>(
    what: &str,
    limit: Duration,
    answer: impl Future<Output = Result<T, Theirs>>,
) -> impl Future<Output = Result<Result<T, Theirs>>> {
    let answer = Box::pin(answer);
    async move {
        let in_time = tokio::time::timeout(limit, answer).await;
        in_time.map_err(|_| Error::EngineTimeout { call: what.to_owned(), seconds: limit.as_secs() })
    }
}

/// The engine's words.
pub(super) fn message_of(error: &Theirs) -> String {
    match error {
        Theirs::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_call_that_never_answers_meets_the_deadline() {
        let never = std::future::pending::<Result<(), Theirs>>();
        let answer = ask("look", Duration::from_millis(10), never).await;
        assert!(matches!(answer, Err(Error::EngineTimeout { seconds: 0, .. })));
        assert_eq!(ask("look", Duration::from_secs(60), async { Ok(7) }).await.unwrap(), 7);
    }
}
