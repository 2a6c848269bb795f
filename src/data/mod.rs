//! What keeps data safe: backup, restore, and what update and rollback need. What a run that was
//! killed leaves behind is read from the engine by `plan::guarded`, not from here.
//!
//! - `archive`: the file: how it is written, read and checked; knows no engine
//! - `backup`: volumes → file; `restore`: file → volumes; `read_back`: whether volumes hold what a file says;
//!   `salvage`: what can be read of a damaged file
//! - `volumes`: how the short-lived containers for that look, and what their complaints mean
//! - `extract`: a part of a file → a folder of this machine
//! - `caches`: folders in a backup that need not be in it
//! - `archive_reading`: one reading of a file
//! - `pipe`: between asynchronous streams and the threads that pack and unpack
//! - `encrypted_file`: a backup's file, encrypted or plain
//! - `encryption`: secrets under a passphrase or for keys; `age`: the format for that; `data_check`: what the program itself says that it holds
//! - `schedule`: when the next one is due; `copies`: which are still to be copied elsewhere
//! - `store`: the backups that are there: names and list; `retention`: which of them stay

mod age;
pub mod archive;
pub mod archive_reading;
pub mod backup;
pub mod caches;
pub mod copies;
pub mod data_check;
pub mod encrypted_file;
pub mod encryption;
pub mod extract;
mod pipe;
pub mod read_back;
pub mod restore;
pub mod retention;
pub mod salvage;
pub mod schedule;
pub mod store;
pub mod volumes;
