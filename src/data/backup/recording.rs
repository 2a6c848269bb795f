//! Keeps what is read of the volumes until the backup is written: the entries as they will be in it, compressed, and beside
//! them an index, with which it is told later what of them is wanted.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::{Arc, atomic::AtomicBool},
};

use zstd::stream::{read::Decoder, write::Encoder};

use super::{
    packing::threads,
    spool::{Spool, SpoolWriter},
};
use crate::{
    age_key::Recipient,
    data::archive::{
        frames::{Frame, FrameWriter},
        tar::{BLOCK, Damage, Entry, Reader},
        write::{ArchivePart, Source, copy_entry},
    },
};

/// The index is small and alike in all its parts: zstd's fastest ordinary level.
const INDEX_LEVEL: i32 = 1;

/// What is being kept.
pub struct Recorder {
    entries: FrameWriter<SpoolWriter>,
    index: Encoder<'static, SpoolWriter>,
    oversized: Vec<Entry>,
}

impl Recorder {
    /// In two empty files that go away by themselves.
    pub fn new([entries, index]: [File; 2], recipients: &[Recipient]) -> io::Result<Self> {
        Ok(Recorder {
            entries: FrameWriter::new(SpoolWriter::new(entries, recipients)?, threads()),
            index: Encoder::new(SpoolWriter::new(index, recipients)?, INDEX_LEVEL)?,
            oversized: vec![],
        })
    }

    /// Keeps the entry that `reader` has just read, and its content.
    pub fn add(&mut self, entry: Entry, reader: &mut Reader<impl Read>) -> Result<(), Damage> {
        if entry.oversized {
            // It lacks a part of its headers, and no backup may hold it.
            self.oversized.push(Entry { raw: vec![], ..entry });
            return Ok(());
        }
        let (digest, padding) = copy_entry(&entry, reader, &mut self.entries, &mut |_| {})?;
        for part in [&entry.raw[..], &digest, &padding] {
            self.index.write_all(part)?;
        }
        Ok(())
    }

    /// All is kept.
    pub fn finish(mut self) -> io::Result<Recording> {
        self.index.write_all(&[0; 2 * BLOCK])?;
        let (entries, frames) = self.entries.finish()?;
        let (entries, index) = (entries.finish()?, self.index.finish()?.finish()?);
        Ok(Recording { entries, frames, index, oversized: self.oversized })
    }
}

/// What was kept.
pub struct Recording {
    entries: Spool,
    frames: Vec<Frame>,
    index: Spool,
    oversized: Vec<Entry>,
}

impl Recording {
    /// What of it belongs into the archive. Reading ends with an error once `stop` is true.
    pub fn part(
        self,
        stop: &Arc<AtomicBool>,
        keep: impl FnMut(&Entry) -> bool + 'static,
    ) -> io::Result<ArchivePart<'static>> {
        let source = Source::Recorded {
            oversized: self.oversized,
            index: Box::new(Decoder::new(self.index.read(stop)?)?),
            packed: self.entries.read(stop)?,
            frames: self.frames,
        };
        Ok(ArchivePart { source, keep: Box::new(keep) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::archive::{FORMAT, Header, Manifest, VolumeIn, write};

    /// A tar with files of these sizes, which compress a little; the last has attributes that no backup holds.
    fn tar(sizes: &[usize]) -> Vec<u8> {
        let mut tar = ::tar::Builder::new(vec![]);
        let mut number = 1_u32;
        for (n, size) in sizes.iter().enumerate() {
            if n + 1 == sizes.len() {
                tar.append_pax_extensions([("SCHILY.xattr.user.large", vec![b'x'; 5 << 20].as_slice())]).unwrap();
            }
            let content = std::iter::repeat_with(|| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                b'a' + u8::try_from(number >> 28).unwrap()
            });
            let mut header = ::tar::Header::new_ustar();
            header.set_path(format!("volumes/session/{n}")).unwrap();
            header.set_size(*size as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, content.take(*size).collect::<Vec<u8>>().as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn archive(part: ArchivePart<'_>) -> (Vec<u8>, Manifest) {
        let header = Header {
            format: FORMAT,
            created: "2026-11-21T05:06:07Z".into(),
            volumes: vec![VolumeIn { role: "session".into(), mount: "/session".into() }],
            ..Header::default()
        };
        let around = write::Around { header: &header, settings: None, secrets: None };
        let (mut out, spool) = (vec![], tempfile::tempfile().unwrap());
        let manifest = write::write(&mut out, &around, vec![part], spool, 2, &mut |_, _| {}, |_| {}).unwrap();
        (zstd::decode_all(out.as_slice()).unwrap(), manifest)
    }

    #[test]
    fn what_was_kept_makes_the_archive_that_its_tar_makes() {
        let sizes = [10, 0, 3_000_000, 700, 1_500_000, 512, 2_000_000, 1, 4_000_000, 5];
        let tar = tar(&sizes);
        let key = crate::age_key::Identity::generate().unwrap();
        for (wanted, recipients) in
            [("0123456789", vec![]), ("0246789", vec![key.recipient()]), ("1357", vec![]), ("", vec![])]
        {
            let keep = move |entry: &Entry| wanted.contains(char::from(*entry.path.last().unwrap()));
            let files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
            let mut recorder = Recorder::new(files, &recipients).unwrap();
            let mut reader = Reader::new(tar.as_slice());
            while let Some(entry) = reader.next_entry().unwrap() {
                recorder.add(entry, &mut reader).unwrap();
            }
            let recorded = archive(recorder.finish().unwrap().part(&Arc::default(), keep).unwrap());
            let (plain, manifest) = archive(ArchivePart { keep: Box::new(keep), ..ArchivePart::whole(tar.as_slice()) });
            assert!(recorded.0 == plain, "{wanted}");
            assert_eq!(recorded.1, manifest);
            let files = wanted.chars().filter(|name| *name != '9').count() as u64;
            assert_eq!((manifest.volumes[0].files, manifest.left_out_count), (files, u64::from(wanted.contains('9'))));
        }
    }

    #[test]
    fn nothing_is_read_when_nobody_wants_it() {
        let files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        let recording = Recorder::new(files, &[]).unwrap().finish().unwrap();
        assert!(recording.part(&Arc::new(AtomicBool::new(true)), |_| true).is_err());
    }
}
