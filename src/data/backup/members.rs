//! Which members of a first pass over the volumes are still what they were. Pure, but for files that hold what does not
//! fit into memory.
//!
//! Every change to a file, folder or link sets the time of its change (ctime) to that of the clock, which nobody inside
//! can set. So a member is the same if it was read under the same path with the same time, and that time lies before the
//! first pass. Times have the resolution of a clock tick, on some file systems of a second: what changed shortly before
//! counts as changed. So does a time in the future.
//!
//! A folder that was given another name and got the old one back has other times itself, but what is in it has not: what
//! was read under its path may have been something else's.

use std::{
    fs::File,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead, BufReader, BufWriter, Read as _, Seek as _, Write as _},
};

use crate::data::archive::tar::{Entry, EntryKind};

/// How much older than the first pass a change must be, in seconds.
const MARGIN: i64 = 2;

/// Most members that are remembered, for which 16 MiB are enough.
pub const MOST: usize = 2_000_000;

/// Flags of a listed member.
const FOLDER: u8 = 1;
const CHANGED: u8 = 2;
const LINKED: u8 = 4;

/// Seconds and nanoseconds since 1970, as they are written.
type Time = (i64, u32);

/// The clocks of the engine's machine: that of the day, and that which nobody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    day: Time,
    up: Time,
}

impl Clocks {
    /// Of `SECONDS SECONDS`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let at = text.iter().position(|byte| *byte == b' ')?;
        Some(Clocks { day: time(&text[..at])?, up: time(&text[at + 1..])? })
    }

    /// Whether the clock of the day was set back by more than a second between these and later ones. The two are not
    /// read in the same moment.
    fn was_set_back_until(self, later: Clocks) -> bool {
        let milliseconds = |from: Time, to: Time| {
            let whole = to.0.saturating_sub(from.0).saturating_mul(1000);
            whole.saturating_add((i64::from(to.1) - i64::from(from.1)) / 1_000_000)
        };
        milliseconds(self.up, later.up).saturating_sub(milliseconds(self.day, later.day)) > 1000
    }
}

/// What the first pass has read.
pub struct Members {
    began: Clocks,
    hasher: RandomState,
    /// A hash of path and times for each member; later sorted.
    read: Vec<u64>,
    /// Of other names of a file: the same, and that of the name which the content is under.
    links: Vec<(u64, u64)>,
}

impl Members {
    /// Of a pass that began at this time.
    pub fn new(began: Clocks) -> Self {
        Members { began, hasher: RandomState::new(), read: vec![], links: vec![] }
    }

    /// Takes note of an entry of the first pass.
    pub fn add(&mut self, entry: &Entry) {
        // Without times it is never the same.
        let Some((modified, changed)) = times(entry) else { return };
        let hash = self.hash(&entry.path, modified, changed);
        self.read.push(hash);
        if entry.kind == EntryKind::HardLink {
            self.links.push((hash, self.hash(&entry.link, modified, changed)));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read.len()
    }

    fn hash(&self, path: &[u8], modified: Time, changed: Time) -> u64 {
        self.hasher.hash_one((path.strip_suffix(b"/").unwrap_or(path), modified, changed))
    }

    /// Reads the list of what is there now, up to an empty line, and compares. `spools` are two empty files that go
    /// away by themselves. Unless it was `clean`, and the clock not set back until `now`, nothing counts as the same.
    ///
    /// # Errors
    /// What `list` and `spools` say, and `InvalidData` for what is no such list.
    pub fn compare(
        mut self,
        list: &mut impl BufRead,
        clean: bool,
        now: Clocks,
        spools: [File; 2],
    ) -> io::Result<Changed> {
        let trusted = clean && !self.began.was_set_back_until(now);
        self.read.sort_unstable();
        self.read.dedup();
        self.links.sort_unstable();
        let [listed, names] = spools;
        let mut keep = KeptMembers { bits: vec![0; self.read.len().div_ceil(64)], members: self };
        let mut groups = vec![];
        let mut out = BufWriter::with_capacity(64 * 1024, listed);
        let (mut line, mut moved) = (vec![], None::<Vec<u8>>);
        loop {
            line.clear();
            list.read_until(0, &mut line)?;
            if line.pop() != Some(0) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.is_empty() {
                break;
            }
            let one = ListedMember::parse(&line).ok_or(io::ErrorKind::InvalidData)?;
            let hash = keep.members.hash(one.path, one.modified, one.changed);
            let is_old = one.changed.0 < keep.members.began.day.0 - MARGIN;
            if moved.as_ref().is_some_and(|folder| !is_below(one.path, folder)) {
                moved = None;
            }
            let same = trusted && is_old && moved.is_none() && keep.set(hash);
            let first = keep.members.first_name(hash);
            let linked = one.links > 1 && !one.folder || first.is_some();
            if linked {
                groups.push((keep.members.hasher.hash_one(one.inode), if same { first.unwrap_or(hash) } else { 0 }));
            }
            if one.folder && !is_old && one.changed != one.modified && moved.is_none() {
                moved = Some(one.path.to_vec());
            }
            let flags = u8::from(one.folder) * FOLDER + u8::from(!same) * CHANGED + u8::from(linked) * LINKED;
            if flags != 0 {
                out.write_all(&[flags])?;
                for number in [hash, keep.members.hasher.hash_one(one.inode)] {
                    out.write_all(&number.to_le_bytes())?;
                }
                out.write_all(one.path)?;
                out.write_all(&[0])?;
            }
        }
        let listed = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let broken = keep.broken(groups);
        keep.choose(listed, &broken, names)
    }

    /// The name that has the content of another name of a file.
    fn first_name(&self, hash: u64) -> Option<u64> {
        let at = self.links.binary_search_by_key(&hash, |(hash, _)| *hash).ok()?;
        Some(self.links[at].1)
    }
}

/// What came of a comparison.
pub struct Changed {
    /// Which members of the first pass are still right.
    pub keep: KeptMembers,
    /// The paths of what must be read again, a NUL behind each.
    pub names: File,
    /// How many there are, folders not counted.
    pub count: u64,
}

/// Says of the first pass's entries whether they are still right.
pub struct KeptMembers {
    members: Members,
    bits: Vec<u64>,
}

impl KeptMembers {
    /// Whether an entry belongs into the archive; the first time that it is asked for.
    pub fn take(&mut self, entry: &Entry) -> bool {
        let Some((modified, changed)) = times(entry).filter(|_| !entry.oversized) else { return false };
        let hash = self.members.hash(&entry.path, modified, changed);
        let is_kept = self.is_set(hash);
        self.clear(hash);
        is_kept
    }

    fn at(&self, hash: u64) -> Option<(usize, u64)> {
        let at = self.members.read.binary_search(&hash).ok()?;
        Some((at / 64, 1 << (at % 64)))
    }

    fn set(&mut self, hash: u64) -> bool {
        self.at(hash).map(|(word, bit)| self.bits[word] |= bit).is_some()
    }

    fn clear(&mut self, hash: u64) {
        if let Some((word, bit)) = self.at(hash) {
            self.bits[word] &= !bit;
        }
    }

    fn is_set(&self, hash: u64) -> bool {
        self.at(hash).is_some_and(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// The files of which not all names are what they were, under one first name. All their names are read again.
    fn broken(&self, mut groups: Vec<(u64, u64)>) -> Vec<u64> {
        groups.sort_unstable();
        let files = groups.chunk_by(|a, b| a.0 == b.0);
        let broken = files.filter(|names| {
            let first = names[0].1;
            !self.is_set(first) || names.iter().any(|(_, other)| *other != first)
        });
        broken.map(|names| names[0].0).collect()
    }

    /// Chooses what is read again: what has changed, and the folders above it, so that they get their times back when
    /// all that is in them is there.
    fn choose(mut self, mut listed: File, broken: &[u64], names: File) -> io::Result<Changed> {
        listed.rewind()?;
        let mut listed = BufReader::with_capacity(64 * 1024, listed);
        let mut out = BufWriter::with_capacity(64 * 1024, names);
        let mut above: Vec<(Vec<u8>, u64, bool)> = vec![];
        let mut count = 0;
        let mut fixed = [0; 17];
        let mut path = vec![];
        while !listed.fill_buf()?.is_empty() {
            listed.read_exact(&mut fixed)?;
            path.clear();
            listed.read_until(0, &mut path)?;
            path.pop();
            let number = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().unwrap_or_default());
            let (flags, hash, inode) = (fixed[0], number(1), number(9));
            while above.last().is_some_and(|(folder, ..)| !is_below(&path, folder)) {
                above.pop();
            }
            let again = flags & CHANGED != 0 || flags & LINKED != 0 && broken.binary_search(&inode).is_ok();
            if again {
                for (folder, hash, written) in above.iter_mut().filter(|(.., written)| !written) {
                    *written = true;
                    self.clear(*hash);
                    out.write_all(folder)?;
                    out.write_all(&[0])?;
                }
                self.clear(hash);
                out.write_all(&path)?;
                out.write_all(&[0])?;
                count += u64::from(flags & FOLDER == 0);
            }
            if flags & FOLDER != 0 {
                above.push((path.clone(), hash, again));
            }
        }
        let mut names = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        names.rewind()?;
        Ok(Changed { keep: self, names, count })
    }
}

/// A line of the list of what is there now: `MODIFIED CHANGED LINKS INODE KIND PATH`.
struct ListedMember<'a> {
    modified: Time,
    changed: Time,
    links: u64,
    inode: &'a [u8],
    folder: bool,
    path: &'a [u8],
}

impl<'a> ListedMember<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let mut word = || words.next();
        Some(ListedMember {
            modified: time(word()?)?,
            changed: time(word()?)?,
            links: std::str::from_utf8(word()?).ok()?.parse().ok()?,
            inode: word()?,
            folder: word()? == b"d",
            path: word()?,
        })
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// When an entry was modified and changed.
fn times(entry: &Entry) -> Option<(Time, Time)> {
    let modified = entry.extended(b"mtime").map_or(Some((entry.modified(), 0)), time);
    Some((modified?, time(entry.extended(b"ctime")?)?))
}

/// A time with as many digits behind the point as the program that wrote it likes.
fn time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds =
        digits.try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + u32::from(digit - b'0')))?;
    Some((seconds.parse().ok()?, nanoseconds))
}

#[cfg(test)]
mod tests;
