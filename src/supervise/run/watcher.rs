//! Keeps a connection to the engine and passes on what it tells. Understands none of it.

use std::{pin::pin, time::Duration};

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::SupervisorMessage;
use crate::{
    engine::connect::{self, Selection},
    instance_name::InstanceName,
};

/// Pauses between two attempts to reach the engine.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Until nobody listens any more.
pub(super) async fn watch(
    mut selection: Selection,
    appliance: String,
    instance: InstanceName,
    sender: mpsc::UnboundedSender<SupervisorMessage>,
) {
    let mut pause = RECONNECT.0;
    let mut since: Option<i128> = None;
    loop {
        let reason = match connect::connect(&selection).await {
            Ok(engine) => {
                pause = RECONNECT.0;
                if engine.is_local() {
                    // This one, also when the user turns to another one meanwhile: on another engine
                    // there is no container, which would look as if somebody had removed it.
                    selection.host = Some(engine.about.endpoint.clone());
                }
                let mut events = pin!(engine.events(&appliance, &instance, since));
                // Should nothing happen before the connection breaks, this is from when on to ask.
                since = since.or_else(|| Some(time::OffsetDateTime::now_utc().unix_timestamp_nanos()));
                if sender.send(SupervisorMessage::Connected(Box::new(engine.clone()))).is_err() {
                    return;
                }
                loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            since = since.max(Some(event.at + 1));
                            if sender.send(SupervisorMessage::Happened(event)).is_err() {
                                return;
                            }
                        }
                        Some(Err(error)) => break error.to_string(),
                        None => break "the engine closed the connection".to_owned(),
                    }
                }
            }
            Err(error) => error.to_string(),
        };
        if sender.send(SupervisorMessage::Lost(reason)).is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT.1);
    }
}
