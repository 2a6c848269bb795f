//! What keeps data safe: backup, restore, and what update and rollback need. What a run that was
//! killed leaves behind is read from the engine by `plan::guarded`, not from here.
//!
//! - `archive`: the file: how it is written, read and checked; knows no engine
//! - `backup`: volumes → file; `restore`: file → volumes
//! - `volumes`: how the short-lived containers for that look, and what their complaints mean
//! - `pipe`: between asynchronous streams and the threads that pack and unpack
//! - `encryption`: secrets under a passphrase; `age`: the format for that; `data_check`: what the program itself says that it holds
//! - `schedule`: when the next one is due
//! - `store`: the backups that are there: names, list, which ones go

mod age;
pub mod archive;
pub mod backup;
pub mod data_check;
pub mod encryption;
mod pipe;
pub mod restore;
pub mod schedule;
pub mod store;
pub mod volumes;
