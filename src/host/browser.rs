//! Opens a page in the user's browser. Where there is none to see it, says so instead.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    error::{Error, Result},
    host::ports,
};

/// Longest first line of a request that is read.
const LONGEST_LINE: u64 = 8 * 1024;

/// How long one visitor may take for it; browsers open connections that they do not use.
const LONGEST_VISIT: Duration = Duration::from_secs(1);

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

/// Opens an address that holds a secret. The browser is given another one, which works once and
/// for this user alone, and leads to the real one; so the secret is in no list of arguments.
/// Returns when the browser has come, or with `false` after `patience`.
///
/// # Errors
/// When no browser could be started.
pub async fn open_privately(url: &str, patience: Duration) -> Result<bool> {
    let broken = |what: String| Error::bug(format!("cannot hand the address to the browser: {what}"));
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| broken(e.to_string()))?;
    let path = format!("/{}", crate::appliance::hex(&random));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| broken(e.to_string()))?;
    let place = listener.local_addr().map_err(|e| broken(e.to_string()))?;
    open(&format!("http://{place}{path}"))?;
    Ok(tokio::time::timeout(patience, hand_over(&listener, &path, url)).await.is_ok())
}

/// Answers until the right visitor asks for the right path, and sends that one on.
async fn hand_over(listener: &TcpListener, path: &str, url: &str) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let visit = tokio::time::timeout(LONGEST_VISIT, visit(stream, path, url));
        if visit.await.is_ok_and(|sent_on| sent_on.unwrap_or(false)) {
            return;
        }
    }
}

async fn visit(mut stream: TcpStream, path: &str, url: &str) -> std::io::Result<bool> {
    let user = ports::user_of(stream.peer_addr()?, stream.local_addr()?);
    // Root can read the secret anyway, and passes on connections from Windows to WSL2.
    let welcome = user.is_none_or(|user| user == 0 || user == rustix::process::geteuid().as_raw());
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader.take(LONGEST_LINE));
    let mut request = String::new();
    lines.read_line(&mut request).await?;
    let right = welcome && request.split_whitespace().take(2).eq(["GET", path]);
    // The rest of the request is read, or closing would reset the connection before the answer is.
    let mut header = String::from("x");
    while !header.trim().is_empty() {
        header.clear();
        lines.read_line(&mut header).await?;
    }
    let answer = if right { format!("302 Found\r\nLocation: {url}") } else { "404 Not Found".to_owned() };
    let head = "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nContent-Length: 0\r\nConnection: close";
    writer.write_all(format!("HTTP/1.1 {answer}\r\n{head}\r\n\r\n").as_bytes()).await?;
    writer.shutdown().await?;
    Ok(right)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_secret_address_is_handed_over_once_and_to_the_right_path() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let served =
            tokio::spawn(async move { hand_over(&listener, "/right", "http://127.0.0.1:3000/?auth_token=x").await });
        let get = async |path: &str| {
            let mut stream = TcpStream::connect(place).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        for wrong in ["/", "/favicon.ico", "/right/", "/righ"] {
            let answer = get(wrong).await;
            assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("auth_token"), "{wrong}: {answer}");
        }
        let answer = get("/right").await;
        assert!(
            answer.starts_with("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:3000/?auth_token=x\r\n"),
            "{answer}"
        );
        served.await.unwrap();
        assert!(TcpStream::connect(place).await.is_err(), "it works once");
    }

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
