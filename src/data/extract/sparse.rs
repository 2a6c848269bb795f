//! Files with holes, as GNU tar stores them in its POSIX format ("PAX Format, Version 1.0" in its manual): a map in
//! decimal numbers, one a line, that fills whole blocks, and behind it what is between the holes.

use std::{
    fs::File,
    io::{self, Write as _},
};

use crate::data::archive::tar::BLOCK;

/// Longest map that is read: some hundred thousand pieces.
const LONGEST_MAP: usize = 4 << 20;

/// Writes one such file, piece by piece.
pub struct Holes {
    size: u64,
    state: MapState,
}

enum MapState {
    /// The map was not read to its end.
    Map(Vec<u8>),
    /// Pieces that are to come, the next one last: where, and how long.
    Data(Vec<(u64, u64)>),
}

impl Holes {
    /// Of a file with this size, holes included.
    pub fn new(size: u64) -> Self {
        Holes { size, state: MapState::Map(vec![]) }
    }

    /// Takes the next bytes of the content; `write` gets those between the holes, and where they are.
    ///
    /// # Errors
    /// When they cannot be written, and when they are no such file.
    pub fn write(&mut self, write: impl FnMut(u64, &[u8]) -> io::Result<()>, bytes: &[u8]) -> io::Result<()> {
        if let MapState::Map(map) = &mut self.state {
            map.extend_from_slice(bytes);
            if let Some((mut pieces, length)) = parsed(map) {
                let rest = map.split_off(length.min(map.len()));
                pieces.reverse();
                self.state = MapState::Data(pieces);
                return self.data(write, &rest);
            }
            return if map.len() > LONGEST_MAP { Err(damaged()) } else { Ok(()) };
        }
        self.data(write, bytes)
    }

    fn data(&mut self, mut write: impl FnMut(u64, &[u8]) -> io::Result<()>, mut bytes: &[u8]) -> io::Result<()> {
        let MapState::Data(pieces) = &mut self.state else { return Err(damaged()) };
        while !bytes.is_empty() {
            let (at, length) = pieces.pop().ok_or_else(damaged)?;
            let fits = at.checked_add(length).is_some_and(|end| end <= self.size);
            let now = bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            if !fits {
                return Err(damaged());
            }
            write(at, &bytes[..now])?;
            bytes = &bytes[now..];
            let (at, length) = (at + now as u64, length - now as u64);
            if length > 0 {
                pieces.push((at, length));
            }
        }
        Ok(())
    }

    /// The content has ended.
    ///
    /// # Errors
    /// When the file cannot have its size, or something is missing.
    pub fn finish(self, mut file: &File) -> io::Result<()> {
        match self.state {
            MapState::Data(pieces) if pieces.iter().all(|(_, length)| *length == 0) => {}
            _ => return Err(damaged()),
        }
        file.set_len(self.size)?;
        file.flush()
    }
}

/// The pieces in a map that is whole, and the map's length in whole blocks.
fn parsed(bytes: &[u8]) -> Option<(Vec<(u64, u64)>, usize)> {
    let mut at = 0;
    let mut number = || {
        let end = at + bytes.get(at..)?.iter().position(|b| *b == b'\n')?;
        let number: u64 = std::str::from_utf8(&bytes[at..end]).ok()?.parse().ok()?;
        at = end + 1;
        Some(number)
    };
    let count = number()?;
    let mut pieces = vec![];
    for _ in 0..count {
        pieces.push((number()?, number()?));
    }
    let length = at.next_multiple_of(BLOCK);
    (bytes.len() >= length).then_some((pieces, length))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its map of holes is damaged")
}
