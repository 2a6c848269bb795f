//! What a container gets that is offered the ssh agent: a folder of docklet's, and the variable that leads ssh to it.

use std::path::Path;

use super::BindMount;

/// Where the folder is inside.
pub const MOUNT: &str = "/run/ssh-agent";

/// The name of the socket in it.
pub const SOCKET: &str = "agent.sock";

/// The variable that leads ssh to it.
pub const VARIABLE: &str = "SSH_AUTH_SOCK";

/// The folder as it is mounted, and the variable's value.
pub fn offer(folder: &Path) -> (BindMount, String) {
    let folder = BindMount { host: folder.to_owned(), container: MOUNT.to_owned(), read_only: true };
    (folder, format!("{MOUNT}/{SOCKET}"))
}
