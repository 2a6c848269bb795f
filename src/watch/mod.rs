//! What `docklet status --watch` knows: a state fed with what happened and the time, which says what
//! to do. Pure, and of bounded size however long it runs. `present::watch` draws it, `cli::watch`
//! feeds it and does what it says.
//!
//! - `model`: the state; `history`: the last minutes of a measurement; `keys`: what was typed

pub mod history;
pub mod keys;
pub mod model;

pub use self::{
    history::History,
    keys::KeyPress,
    model::{Demand, Dialog, ScreenInput, View, Watch, WatchAction},
};
