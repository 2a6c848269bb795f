//! BuildKit's messages, as far as they are used: `StatusResponse` of
//! <https://github.com/moby/buildkit/blob/master/api/services/control/control.proto>.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use prost::Message;

/// What is new of a build.
#[derive(Clone, PartialEq, Message)]
pub(in crate::engine) struct StatusResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "2")]
    pub(super) statuses: Vec<VertexStatus>,
    #[prost(message, repeated, tag = "3")]
    pub(super) logs: Vec<VertexLog>,
}

impl StatusResponse {
    /// From the text that it is in an engine's stream.
    pub(in crate::engine) fn read(text: &str) -> Option<Self> {
        StatusResponse::decode(&*BASE64_STANDARD.decode(text).ok()?).ok()
    }
}

/// A step.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Vertex {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(message, optional, tag = "5")]
    pub(super) started: Option<Moment>,
    #[prost(message, optional, tag = "6")]
    pub(super) completed: Option<Moment>,
    #[prost(string, tag = "7")]
    pub(super) error: String,
}

/// Something of a step that is counted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(int64, tag = "4")]
    pub(super) current: i64,
    #[prost(int64, tag = "5")]
    pub(super) total: i64,
    #[prost(message, optional, tag = "8")]
    pub(super) completed: Option<Moment>,
}

/// What a step prints.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexLog {
    #[prost(string, tag = "1")]
    pub(super) vertex: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) msg: Vec<u8>,
}

/// A time. That there is one is all that is used of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Moment {}
