//! GIF: comments and XMP go, with whatever follows the trailer.

use super::StripError;
use super::engine::{Fate, Head, Step, TO_THE_END, Walk};

const NAME: &str = "gif";
const FILE_HEAD: usize = 13;
const IMAGE_HEAD: usize = 10;
const APPLICATION_HEAD: usize = 14;
const XMP: &[u8] = b"XMP DataXMP";

#[derive(Debug, Default)]
pub(super) struct Gif {
    at: At,
}

#[derive(Debug, Default, Clone, Copy)]
enum At {
    #[default]
    Head,
    Block,
    /// Before the byte that says how the picture's data are packed.
    Data,
    Pieces(Fate),
    End,
}

impl Gif {
    fn block(&mut self, head: &[u8]) -> Result<Step, StripError> {
        match head {
            [0x3b, ..] => {
                self.at = At::End;
                Ok(Step::keep(1, 0))
            }
            [0x2c, .., flags] if head.len() == IMAGE_HEAD => {
                self.at = At::Data;
                Ok(Step::keep(IMAGE_HEAD, colours(*flags)))
            }
            [0x2c, ..] => Ok(Step::Need(IMAGE_HEAD)),
            [0x21] => Ok(Step::Need(2)),
            [0x21, 0xfe, ..] => {
                self.at = At::Pieces(Fate::Drop);
                Ok(Step::drop(2, 0))
            }
            [0x21, 0xff] => Ok(Step::Need(3)),
            [0x21, 0xff, 11, name @ ..] if name.len() < XMP.len() => Ok(Step::Need(APPLICATION_HEAD)),
            [0x21, 0xff, 11, name @ ..] => {
                let fate = if name == XMP { Fate::Drop } else { Fate::Keep };
                self.at = At::Pieces(fate);
                let write = if fate == Fate::Drop { Head::Drop } else { Head::Keep };
                Ok(Step::Part { head: APPLICATION_HEAD, write, body: fate, length: 0 })
            }
            [0x21, _, ..] => {
                self.at = At::Pieces(Fate::Keep);
                Ok(Step::keep(2, 0))
            }
            _ => Err(StripError::Malformed(NAME)),
        }
    }
}

impl Walk for Gif {
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError> {
        match (self.at, head) {
            (At::Head, _) if head.len() < FILE_HEAD => Ok(Step::Need(FILE_HEAD)),
            (At::Head, [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', _, _, _, _, flags, ..]) => {
                self.at = At::Block;
                Ok(Step::keep(FILE_HEAD, colours(*flags)))
            }
            (At::Head, _) => Err(StripError::Malformed(NAME)),
            (At::Block, _) => self.block(head),
            (At::Data, _) => {
                self.at = At::Pieces(Fate::Keep);
                Ok(Step::keep(1, 0))
            }
            (At::Pieces(fate), [length, ..]) => {
                if *length == 0 {
                    self.at = At::Block;
                }
                let write = if fate == Fate::Drop { Head::Drop } else { Head::Keep };
                Ok(Step::Part { head: 1, write, body: fate, length: u64::from(*length) })
            }
            (At::Pieces(_), []) => Ok(Step::Need(1)),
            (At::End, _) => Ok(Step::drop(0, TO_THE_END)),
        }
    }

    fn end(&self, _head: &[u8]) -> Result<(), StripError> {
        if matches!(self.at, At::End) { Ok(()) } else { Err(StripError::Incomplete(NAME)) }
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// Bytes of the table of colours that `flags` announce.
fn colours(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}
