//! Whether a file has its end, for formats that tell: a proxy that cuts an answer short may say that it is complete.
//! Pure.

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const CHUNK_HEAD: usize = 8;
const CHECKSUM: u64 = 4;

/// Reads along while a file passes.
#[derive(Debug)]
pub(super) enum Whole {
    Png(Png),
    /// Bytes that are missing of what the head announces.
    Announced(u64),
    /// Of a format that does not tell.
    Unknown,
}

/// The chunks of a PNG.
#[derive(Debug)]
pub(super) struct Png {
    skip: u64,
    head: Vec<u8>,
    last: bool,
}

impl Whole {
    /// For a file that begins with `head`; the rest goes to [`Whole::take`].
    pub(super) fn of(head: &[u8]) -> Self {
        let mut whole = if head.starts_with(PNG) {
            Self::Png(Png { skip: PNG.len() as u64, head: Vec::with_capacity(CHUNK_HEAD), last: false })
        } else {
            webp_length(head).map_or(Self::Unknown, Self::Announced)
        };
        whole.take(head);
        whole
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Png(png) => png.take(bytes),
            Self::Announced(missing) => *missing = missing.saturating_sub(bytes.len() as u64),
            Self::Unknown => {}
        }
    }

    /// Whether nothing is missing, as far as the format tells.
    pub(super) const fn is_whole(&self) -> bool {
        match self {
            Self::Png(png) => png.has_ended(),
            Self::Announced(missing) => *missing == 0,
            Self::Unknown => true,
        }
    }
}

impl Png {
    const fn has_ended(&self) -> bool {
        self.last && self.skip == 0
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.has_ended() {
            if self.skip > 0 {
                let passed = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= passed as u64;
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            let (part, rest) = bytes.split_at((CHUNK_HEAD - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(part);
            bytes = rest;
            if let Ok([a, b, c, d, kind @ ..]) = <[u8; CHUNK_HEAD]>::try_from(self.head.as_slice()) {
                self.skip = u64::from(u32::from_be_bytes([a, b, c, d])) + CHECKSUM;
                self.last = kind == *b"IEND";
                self.head.clear();
            }
        }
    }
}

/// What a WebP says of its length.
fn webp_length(head: &[u8]) -> Option<u64> {
    let length = head.strip_prefix(b"RIFF")?.first_chunk::<4>()?;
    let is_webp = head.get(8..12) == Some(b"WEBP");
    is_webp.then(|| u64::from(u32::from_le_bytes(*length)) + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png() -> Vec<u8> {
        let mut file = PNG.to_vec();
        for (kind, data) in [(b"IHDR", &[7_u8; 13][..]), (b"IDAT", b"some IEND inside"), (b"IEND", b"")] {
            file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            file.extend(kind);
            file.extend(data);
            file.extend([0; 4]);
        }
        file
    }

    fn webp() -> Vec<u8> {
        [&b"RIFF"[..], &24_u32.to_le_bytes(), b"WEBPVP8 ", &[0; 16]].concat()
    }

    fn whole(file: &[u8], head: usize, chunk: usize) -> bool {
        let (head, rest) = file.split_at(head.min(file.len()));
        let mut whole = Whole::of(head);
        rest.chunks(chunk).for_each(|chunk| whole.take(chunk));
        whole.is_whole()
    }

    #[test]
    fn a_file_is_whole_only_with_its_last_byte_however_it_arrives() {
        for file in [png(), webp()] {
            for (head, chunk) in [(file.len(), 1), (12, 1), (13, 3), (20, 1_000)] {
                assert!(whole(&file, head, chunk), "head {head}, chunks of {chunk}");
            }
            for length in 12..file.len() {
                assert!(!whole(&file[..length], 12, 5), "{length} of {} bytes", file.len());
            }
        }
    }

    #[test]
    fn bytes_after_the_end_and_formats_that_do_not_tell_are_no_fault() {
        assert!(whole(&[png(), b"more".to_vec()].concat(), 12, 7));
        assert!(whole(&[webp(), b"more".to_vec()].concat(), 12, 7));
        assert!(whole(b"GIF89a", 3, 1));
        assert!(whole(b"RIFF\x10\0\0\0WAVEfmt ", 4, 4));
    }
}
