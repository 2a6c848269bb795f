//! What keeps data safe: backup, restore, update and rollback.
//!
//! - `archive`: the file: how it is written, read and checked; knows no engine

pub mod archive;
