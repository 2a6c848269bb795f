//! As much of HTTP/1.1 as the proxy must understand: heads, and how long bodies are.

use std::io::{self, BufRead, Write};

/// First line and headers of a message.
pub(super) struct Head {
    pub(super) first: String,
    headers: Vec<(String, String)>,
    pub(super) bytes: Vec<u8>,
}

impl Head {
    /// `None` at the end of the connection.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut lines = Vec::new();
        loop {
            let start = bytes.len();
            if from.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&bytes[start..]).trim_end().to_owned();
            if line.is_empty() && lines.is_empty() {
                bytes.clear();
                continue;
            }
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let headers = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Some(Self { first: lines.swap_remove(0), headers, bytes }))
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(502)
    }

    fn framed(&self) -> Option<Body> {
        let chunked =
            self.value("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
        let length = self.value("content-length").and_then(|length| length.parse().ok());
        if chunked { Some(Body::Chunked) } else { length.map(Body::Length) }
    }

    pub(super) fn request_body(&self) -> Body {
        self.framed().unwrap_or(Body::None)
    }

    pub(super) fn answer_body(&self, method: &str, status: u16) -> Body {
        if method == "HEAD" || status == 204 || status == 304 || status == 101 {
            return Body::None;
        }
        self.framed().unwrap_or(Body::ToEnd)
    }
}

/// How long a body is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
    ToEnd,
}

impl Body {
    /// Passes the body on as it comes, framing included.
    pub(super) fn copy(self, from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Length(length) => pass(from, to, length),
            Self::Chunked => loop {
                let line = pass_line(from, to)?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
                if size == 0 {
                    while !pass_line(from, to)?.trim().is_empty() {}
                    return Ok(());
                }
                pass(from, to, size + 2)?;
            },
            Self::ToEnd => pass(from, to, u64::MAX).or_else(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok(()),
                _ => Err(error),
            }),
        }
    }
}

fn pass(from: &mut impl BufRead, to: &mut impl Write, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let data = from.fill_buf()?;
        if data.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = data.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        to.write_all(&data[..now])?;
        from.consume(now);
        length -= now as u64;
    }
    Ok(())
}

fn pass_line(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<String> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.write_all(&line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}
