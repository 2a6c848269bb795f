//! Fetches a file over HTTPS, across redirects, on the way that `connectivity` finds.

use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;

use super::connectivity::Way;
use crate::http;

/// How often an address may lead to another.
const REDIRECTS: usize = 5;

/// The file at an address. `way` finds the way to a host and port.
///
/// # Errors
/// Why not, in a few words.
pub async fn fetch(
    address: &str,
    way: impl Fn(&str) -> Way,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, String> {
    let fetched = async {
        let mut address = address.to_owned();
        for _ in 0..=REDIRECTS {
            let answer = ask(&address, &way, limit, deadline).await.map_err(|e| format!("{address}: {e}"))?;
            let location = answer.headers.get("location").and_then(|value| value.to_str().ok());
            match (answer.status, location) {
                (200, _) => return Ok(answer.body),
                (301 | 302 | 303 | 307 | 308, Some(location)) => address = follow(&address, location),
                (status, _) => return Err(format!("{address}: HTTP {status}")),
            }
        }
        Err(format!("{address} leads to another address again and again"))
    };
    let late = || Err(format!("{address} was not read within {} s", deadline.as_secs()));
    tokio::time::timeout(deadline, fetched).await.unwrap_or_else(|_| late())
}

async fn ask(
    address: &str,
    way: impl Fn(&str) -> Way,
    limit: usize,
    deadline: Duration,
) -> Result<http::HttpResponse, String> {
    let uri: Uri = address.parse().map_err(|_| "not a valid address".to_owned())?;
    let authority = uri.authority().ok_or("not a valid address")?.as_str();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let way = way(authority);
    if uri.scheme_str() != Some("https") && !way.is_here() {
        return Err("not encrypted (https)".to_owned());
    }
    let stream = way.connect(deadline).await.map_err(|e| e.to_string())?;
    http::get(stream, authority, path, &[("user-agent", "docklet")], limit).await
}

/// Where a redirect leads: an address, or a path on the same server.
fn follow(address: &str, location: &str) -> String {
    let end = address.find("://").map(|at| at + 3).and_then(|at| address[at..].find('/').map(|slash| at + slash));
    match end {
        Some(end) if location.starts_with('/') => format!("{}{location}", &address[..end]),
        _ => location.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Gives each connection the next answer.
    async fn server(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn get(address: &str) -> Result<Bytes, String> {
        let way = |host: &str| Way { host: host.to_owned(), proxy: None, ca_file: None };
        fetch(address, way, 100, Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn redirects_are_followed_and_half_a_file_is_none() {
        const THERE: &str = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
        let address = server(&[THERE, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile"]).await;
        assert_eq!(get(&format!("{address}/here")).await.unwrap(), "file");
        let address = server(&[THERE; 6]).await;
        assert!(get(&format!("{address}/here")).await.unwrap_err().contains("again and again"));
        for (answer, reason) in [
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nfile", "/here: "),
            ("HTTP/1.1 302 Found\r\nLocation: http://a.test/x\r\nContent-Length: 0\r\n\r\n", "not encrypted"),
        ] {
            let address = server(Box::leak(Box::new([answer]))).await;
            let error = get(&format!("{address}/here")).await.unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
