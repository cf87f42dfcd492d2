//! Breaks websocket frames of a server into fragments, as the protocol allows between any two bytes.
//! Works on bytes alone, because the websocket library offers no way to send a message in parts.

/// The most bytes a fragment holds; large messages get larger ones, to keep the number of frames sane.
const FRAGMENT: usize = 64;
const MOST_FRAGMENTS: usize = 256;

const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0F;

/// Takes whole frames in any portions, gives fragments.
#[derive(Debug, Default)]
pub(crate) struct Fragmenter {
    input: Vec<u8>,
    output: Vec<u8>,
}

struct Header {
    opcode: u8,
    length: usize,
    size: usize,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let (first, rest) = bytes.split_first()?;
    let (second, rest) = rest.split_first()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    let (length, size) = match second & 0x7F {
        126 => (number(rest.get(..2)?), 4),
        127 => (number(rest.get(..8)?), 10),
        short => (usize::from(short), 2),
    };
    Some(Header { opcode: first & OPCODE, length, size })
}

impl Fragmenter {
    /// Takes bytes of frames.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(rest) = self.input.get(done..)
            && let Some(header) = header(rest)
            && let Some(frame) = rest.get(..header.size + header.length)
        {
            // Control frames must stay whole; only text and binary messages are broken.
            if matches!(header.opcode, 1 | 2)
                && let Some(payload) = frame.get(header.size..)
            {
                write_fragments(&mut self.output, header.opcode, payload);
            } else {
                self.output.extend_from_slice(frame);
            }
            done += header.size + header.length;
        }
        self.input.drain(..done);
    }

    /// What is to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.output
    }

    /// So many bytes were written.
    pub(crate) fn written(&mut self, count: usize) {
        self.output.drain(..count.min(self.output.len()));
    }
}

fn write_fragments(output: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let size = FRAGMENT.max(payload.len() / MOST_FRAGMENTS + 1);
    let count = payload.chunks(size).count();
    if count == 0 {
        output.extend_from_slice(&[FINAL | opcode, 0]);
    }
    for (number, part) in payload.chunks(size).enumerate() {
        let last = if number + 1 == count { FINAL } else { 0 };
        output.push(last | if number == 0 { opcode } else { 0 });
        match (u8::try_from(part.len()), u16::try_from(part.len())) {
            (Ok(short), _) if short < 126 => output.push(short),
            (_, Ok(middle)) => {
                output.push(126);
                output.extend_from_slice(&middle.to_be_bytes());
            }
            _ => {
                output.push(127);
                output.extend_from_slice(&(part.len() as u64).to_be_bytes());
            }
        }
        output.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fed_in_portions_comes_out_in_fragments_and_control_frames_whole() {
        let mut frames = vec![0x81, 126, 0, 100];
        frames.extend(std::iter::repeat_n(b'x', 100));
        frames.extend([0x89, 1, b'p']);
        let mut fragmenter = Fragmenter::default();
        for byte in frames {
            fragmenter.feed(&[byte]);
        }
        let mut expected = vec![0x01, 64];
        expected.extend(std::iter::repeat_n(b'x', 64));
        expected.extend([0x80, 36]);
        expected.extend(std::iter::repeat_n(b'x', 36));
        expected.extend([0x89, 1, b'p']);
        assert_eq!(fragmenter.pending(), expected);
    }
}
