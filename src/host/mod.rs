//! The host: the only room that touches it.
