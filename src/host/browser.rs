//! Opens a page in the user's browser. Where there is none to see it, says so instead.

use crate::error::{Error, Result};

/// What the caller knows of the session; the environment is its to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Session {
    /// Whether `SSH_CONNECTION` or `SSH_TTY` is set: the user sits at another machine.
    pub ssh: bool,
    /// Whether `DISPLAY` or `WAYLAND_DISPLAY` is set. Asked on Linux only.
    pub display: bool,
    /// Whether `WSL_DISTRO_NAME` is set: the browser is that of Windows.
    pub wsl: bool,
}

/// Why no browser was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBrowser {
    /// The user sits at another machine.
    Ssh,
    /// Nothing here can show a window.
    NoDisplay,
}

impl NoBrowser {
    /// What the user can do about it. `port` is the page's.
    pub fn hint(self, port: u16) -> String {
        match self {
            NoBrowser::Ssh => {
                format!("on your own machine: ssh -L {port}:127.0.0.1:{port} USER@HOST, then open the address there")
            }
            NoBrowser::NoDisplay => "open the address in a browser on this machine".to_owned(),
        }
    }
}

/// Whether a browser can be opened in this session.
///
/// # Errors
/// Why not.
pub fn can_open(session: Session) -> Result<(), NoBrowser> {
    let windows_of_its_own = cfg!(target_os = "macos") || session.wsl;
    if session.ssh && !session.display {
        Err(NoBrowser::Ssh)
    } else if !session.display && !windows_of_its_own {
        Err(NoBrowser::NoDisplay)
    } else {
        Ok(())
    }
}

/// Opens an address. It becomes an argument of other programs, which every user of the machine
/// can list: it must hold no secret.
///
/// # Errors
/// When no browser could be started.
pub fn open(url: &str) -> Result<()> {
    let mut options = webbrowser::BrowserOptions::new();
    options.with_suppress_output(true);
    webbrowser::open_browser_with_options(webbrowser::Browser::Default, url, &options).map_err(|e| Error::Usage {
        message: format!("no browser could be opened: {e}"),
        hint: Some("docklet open --print prints the address".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn a_browser_needs_somebody_who_sees_it() {
        let session = |ssh, display, wsl| can_open(Session { ssh, display, wsl });
        assert_eq!(session(false, true, false), Ok(()));
        assert_eq!(session(false, false, false), Err(NoBrowser::NoDisplay));
        assert_eq!(session(true, false, false), Err(NoBrowser::Ssh));
        assert_eq!(session(true, true, false), Ok(()), "ssh -X");
        assert_eq!(session(false, false, true), Ok(()), "Windows has the browser");
        assert!(NoBrowser::Ssh.hint(3001).contains("-L 3001:127.0.0.1:3001"));
    }
}
