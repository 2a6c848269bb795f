//! One request to the page, as plainly as it goes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Status (0: no answer) and body of a request to 127.0.0.1.
pub fn http(port: u16, method: &str, path: &str, password: Option<&str>, body: Option<&str>) -> (u16, String) {
    http_within(Duration::from_secs(10), port, method, path, password, body).unwrap_or_default()
}

/// The same with a limit to each wait for more of the answer; `None` for no answer.
pub fn http_within(
    patience: Duration,
    port: u16,
    method: &str,
    path: &str,
    password: Option<&str>,
    body: Option<&str>,
) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    socket.set_read_timeout(Some(patience)).ok()?;
    let auth = password.map_or(String::new(), |password| {
        format!("authorization: Basic {}\r\n", STANDARD.encode(format!("opencode:{password}")))
    });
    let body = body.unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{auth}content-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).ok()?;
    // opencode keeps the connection of its page open whatever it is asked, so the length decides.
    let mut answer = Vec::new();
    let mut buffer = [0; 16_384];
    while !is_whole(&answer) {
        match socket.read(&mut buffer).ok()? {
            0 => break,
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Some((status, if chunked { unchunked(body) } else { body.to_owned() }))
}

/// Sends a request of HTTP/1.0, which whoever answers closes the connection behind; status, head and body of the answer.
pub fn exchange(mut connection: impl Read + Write, head: &str, body: &[u8]) -> (u16, String, String) {
    let head = format!("{head}content-length: {}\r\n\r\n", body.len());
    connection.write_all(&[head.as_bytes(), body].concat()).expect("to send a request");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("its status");
    (status, head.to_owned(), body.to_owned())
}

/// Whether an answer that says how long it is has all arrived.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| answer.len() >= end + 4 + length)
}

fn unchunked(mut body: &str) -> String {
    let mut plain = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        plain.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    plain
}
