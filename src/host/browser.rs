//! Opens a page in the user's browser. Where there is none to see it, says so instead.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
    time::Duration,
};

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
    /// Whether `BROWSER` is set: the user names one.
    pub named: bool,
}

/// A page that wants a password, and the ways into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// The page.
    pub page: String,
    /// The page with user and password in the address.
    pub signed_in: String,
    /// The same of a place whose answer takes its time; `None` where there is no such place.
    pub hold: Option<String>,
}

/// How long a browser may take to sign in at such a place. It does so on the first "401", a moment after it went
/// there; nobody can see it. One that was slower asks its user for the password.
const SIGN_IN: Duration = Duration::from_millis(1000);

/// What opens an address in the browser of Windows, best first: wslu's program for it, and Windows' own, which no shell
/// comes between, also where its folder is not in the `PATH`.
const WINDOWS: [&[&str]; 3] = [
    &["wslview"],
    &["rundll32.exe", "url.dll,FileProtocolHandler"],
    &["/mnt/c/Windows/System32/rundll32.exe", "url.dll,FileProtocolHandler"],
];

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
            NoBrowser::NoDisplay => {
                "no browser can be shown here: open the address in a browser on this machine".to_owned()
            }
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

/// Opens an address in the browser of Windows; says whether a program took it.
fn open_in_windows(url: &str) -> bool {
    WINDOWS.iter().any(|way| {
        let [program, arguments @ ..] = way else { return false };
        let mut command = Command::new(program);
        command.args(arguments).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// Opens an address. It becomes an argument of other programs, which every user of the machine
/// can list: it must hold no secret.
///
/// # Errors
/// When no browser could be started.
fn open(url: &str, session: Session) -> Result<()> {
    // An xdg-open that lies around in WSL starts, and finds nothing to start.
    if session.wsl && !session.named && open_in_windows(url) {
        return Ok(());
    }
    let mut options = webbrowser::BrowserOptions::new();
    options.with_suppress_output(true);
    webbrowser::open_browser_with_options(webbrowser::Browser::Default, url, &options).map_err(|e| Error::Usage {
        message: format!("no browser could be opened: {e}"),
        hint: Some("docklet open --print prints the address".to_owned()),
    })
}

/// Opens a page, signed in. The browser is given another address, which works once and leads there, so that the password
/// is in no list of arguments. It works for a process of this user alone (or of root, who can read the password
/// anyway): where it cannot be seen who asks, it does not work. `check` is asked right before the password is handed
/// over. Returns when the browser has come, or with `false` after `patience`.
///
/// # Errors
/// When no browser could be started, and what `check` finds.
pub async fn open_privately(
    entrance: &Entrance,
    session: Session,
    patience: Duration,
    check: impl AsyncFn() -> Result<()>,
) -> Result<bool> {
    let broken = |what: String| Error::bug(format!("cannot hand the address to the browser: {what}"));
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| broken(e.to_string()))?;
    let path = format!("/{}", crate::appliance::hex(&random));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| broken(e.to_string()))?;
    let place = listener.local_addr().map_err(|e| broken(e.to_string()))?;
    open(&format!("http://{place}{path}"), session)?;
    match tokio::time::timeout(patience, hand_over(&listener, &path, &way_in(entrance), check)).await {
        Ok(handed) => handed.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// The answer that leads a browser to the page: status and headers, and a body.
fn way_in(entrance: &Entrance) -> (String, String) {
    let Entrance { page, signed_in, hold } = entrance;
    let Some(hold) = hold else { return (format!("302 Found\r\nLocation: {signed_in}"), String::new()) };
    let body = format!(
        r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>docklet</title>
<p>Signing in to <a href="{page}">{page}</a></p>
<script>setTimeout(function () {{ location.replace("{page}") }}, {}); location.href = "{hold}"</script>
"#,
        SIGN_IN.as_millis()
    );
    ("200 OK\r\nContent-Type: text/html".to_owned(), body)
}

/// Answers until the right visitor asks for the right path, and sends that one on if `check` agrees.
async fn hand_over(
    listener: &TcpListener,
    path: &str,
    way_in: &(String, String),
    check: impl AsyncFn() -> Result<()>,
) -> Result<()> {
    let nothing = |status: &str| (status.to_owned(), String::new());
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let Ok(Ok(right)) = tokio::time::timeout(LONGEST_VISIT, asks_for(&mut stream, path)).await else { continue };
        let checked = if right { check().await } else { Ok(()) };
        let refusal = match (right, &checked) {
            (true, Ok(())) => None,
            (true, Err(_)) => Some(nothing("503 Service Unavailable")),
            (false, _) => Some(nothing("404 Not Found")),
        };
        let sent = send(&mut stream, refusal.as_ref().unwrap_or(way_in)).await;
        checked?;
        if right && sent.is_ok() {
            return Ok(());
        }
    }
}

/// Reads a request; whether it is for the path, and from somebody who may know the password.
async fn asks_for(stream: &mut TcpStream, path: &str) -> std::io::Result<bool> {
    let user = ports::user_of(stream.peer_addr()?, stream.local_addr()?);
    // Root passes on connections from Windows to WSL2.
    let welcome = user.is_some_and(|user| user == 0 || user == rustix::process::geteuid().as_raw());
    let mut lines = BufReader::new(stream.take(LONGEST_LINE));
    let mut request = String::new();
    lines.read_line(&mut request).await?;
    // The rest of the request is read, or closing would reset the connection before the answer is.
    let mut header = String::from("x");
    while !header.trim().is_empty() {
        header.clear();
        lines.read_line(&mut header).await?;
    }
    Ok(welcome && request.split_whitespace().take(2).eq(["GET", path]))
}

async fn send(stream: &mut TcpStream, (status, body): &(String, String)) -> std::io::Result<()> {
    let head = "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close";
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    };

    use super::*;

    #[tokio::test]
    async fn the_secret_address_is_handed_over_once_and_to_the_right_path() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let entrance = |hold: Option<&str>| Entrance {
            page: "http://127.0.0.1:3000/".to_owned(),
            signed_in: "http://opencode:secret@127.0.0.1:3000/".to_owned(),
            hold: hold.map(str::to_owned),
        };
        let way = way_in(&entrance(None));
        let asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&asked);
        let check = async move || {
            seen.store(true, SeqCst);
            Ok(())
        };
        let served = tokio::spawn(async move { hand_over(&listener, "/right", &way, check).await });
        let get = async |path: &str| {
            let mut stream = TcpStream::connect(place).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        for wrong in ["/", "/favicon.ico", "/right/", "/righ"] {
            let answer = get(wrong).await;
            assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("secret"), "{wrong}: {answer}");
        }
        assert!(!asked.load(SeqCst), "the check is for the right one");
        let answer = get("/right").await;
        assert!(
            answer.starts_with("HTTP/1.1 302 Found\r\nLocation: http://opencode:secret@127.0.0.1:3000/\r\n"),
            "{answer}"
        );
        let (head, body) = way_in(&entrance(Some("http://opencode:secret@127.0.0.1:3000/slow")));
        assert!(head.starts_with("200 OK") && !head.contains("secret"), "{head}");
        assert!(body.contains("location.replace(\"http://127.0.0.1:3000/\")"), "{body}");
        assert!(body.contains("location.href = \"http://opencode:secret@127.0.0.1:3000/slow\""), "{body}");
        served.await.unwrap().unwrap();
        assert!(asked.load(SeqCst));
        assert!(TcpStream::connect(place).await.is_err(), "it works once");
    }

    #[tokio::test]
    async fn a_check_that_fails_hands_nothing_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let way = ("200 OK".to_owned(), "secret".to_owned());
        let served =
            tokio::spawn(async move { hand_over(&listener, "/right", &way, async || Err(Error::Cancelled)).await });
        let mut stream = TcpStream::connect(place).await.unwrap();
        stream.write_all(b"GET /right HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503") && !answer.contains("secret"), "{answer}");
        assert!(matches!(served.await.unwrap(), Err(Error::Cancelled)));
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn a_browser_needs_somebody_who_sees_it() {
        let session = |ssh, display, wsl| can_open(Session { ssh, display, wsl, named: false });
        assert_eq!(session(false, true, false), Ok(()));
        assert_eq!(session(false, false, false), Err(NoBrowser::NoDisplay));
        assert_eq!(session(true, false, false), Err(NoBrowser::Ssh));
        assert_eq!(session(true, true, false), Ok(()), "ssh -X");
        assert_eq!(session(false, false, true), Ok(()), "Windows has the browser");
        assert!(NoBrowser::Ssh.hint(3001).contains("-L 3001:127.0.0.1:3001"));
    }
}
