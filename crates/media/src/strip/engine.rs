//! Moves bytes from the input to the output as a walker decides. Owns what is held back; knows no format.

use bytes::{Bytes, BytesMut};

use super::StripError;

/// Length of a part that goes on to the end of the file.
pub(super) const TO_THE_END: u64 = u64::MAX;

/// Reads the heads of a format's parts.
pub(super) trait Walk: std::fmt::Debug + Send {
    /// What becomes of the next part, whose first bytes are `head`.
    fn step(&mut self, head: &[u8]) -> Result<Step, StripError>;

    /// Whether the file may end here, after `head` that was too short for [`Walk::step`].
    fn end(&self, head: &[u8]) -> Result<(), StripError>;

    /// The format's name, for errors.
    fn name(&self) -> &'static str;
}

/// What a walker wants.
#[derive(Debug)]
pub(super) enum Step {
    /// To see at least so many bytes first. Of a small, bounded number, larger than what it has seen.
    Need(usize),
    /// To be done with a part: `head` bytes of what it has seen, then `length` bytes that it need not see.
    Part { head: usize, write: Head, body: Fate, length: u64 },
}

/// What becomes of a part's head.
#[derive(Debug)]
pub(super) enum Head {
    Keep,
    Drop,
    Replace(Vec<u8>),
}

/// What becomes of a part's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Drop,
    Zero,
}

impl Step {
    /// A part that stays as it is.
    pub(super) const fn keep(head: usize, length: u64) -> Self {
        Self::Part { head, write: Head::Keep, body: Fate::Keep, length }
    }

    /// A part that goes.
    pub(super) const fn drop(head: usize, length: u64) -> Self {
        Self::Part { head, write: Head::Drop, body: Fate::Drop, length }
    }

    /// A part whose head becomes `with`, and whose body becomes zeros.
    pub(super) const fn blank(head: usize, with: Vec<u8>, length: u64) -> Self {
        Self::Part { head, write: Head::Replace(with), body: Fate::Zero, length }
    }
}

/// One file on its way.
#[derive(Debug)]
pub(super) struct Engine {
    walker: Box<dyn Walk>,
    /// Bytes of the head that the walker is to see.
    held: BytesMut,
    /// How many bytes it wants to see.
    needed: usize,
    body: Fate,
    /// Bytes of the body that are still to come.
    left: u64,
    failed: Option<StripError>,
}

impl Engine {
    pub(super) fn new(walker: Box<dyn Walk>) -> Self {
        Self { walker, held: BytesMut::new(), needed: 1, body: Fate::Keep, left: 0, failed: None }
    }

    pub(super) fn push(&mut self, bytes: Bytes) -> Result<Bytes, StripError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.walk(bytes).inspect_err(|failed| self.failed = Some(*failed))
    }

    pub(super) fn finish(self) -> Result<Bytes, StripError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.left > 0 && self.left != TO_THE_END {
            return Err(StripError::Incomplete(self.walker.name()));
        }
        self.walker.end(&self.held)?;
        Ok(self.held.freeze())
    }

    fn walk(&mut self, mut input: Bytes) -> Result<Bytes, StripError> {
        let mut output = Output::default();
        loop {
            if self.left > 0 {
                if self.held.is_empty() && input.is_empty() {
                    return Ok(output.finish());
                }
                self.pass(&mut input, &mut output);
                continue;
            }
            let missing = self.needed.saturating_sub(self.held.len());
            self.held.extend_from_slice(&input.split_to(missing.min(input.len())));
            if self.held.len() < self.needed {
                return Ok(output.finish());
            }
            match self.walker.step(&self.held)? {
                Step::Need(needed) if needed > self.held.len() => self.needed = needed,
                Step::Part { head, write, body, length } if head <= self.held.len() && (head > 0 || length > 0) => {
                    let seen = self.held.split_to(head);
                    match write {
                        Head::Keep => output.add(seen.freeze()),
                        Head::Drop => {}
                        Head::Replace(with) => output.add(with.into()),
                    }
                    (self.body, self.left, self.needed) = (body, length, 1);
                }
                _ => return Err(StripError::Malformed(self.walker.name())),
            }
        }
    }

    /// Moves some of a part's body: first what was seen beyond its head.
    fn pass(&mut self, input: &mut Bytes, output: &mut Output) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let bytes = if self.held.is_empty() {
            input.split_to(left.min(input.len()))
        } else {
            self.held.split_to(left.min(self.held.len())).freeze()
        };
        if self.left != TO_THE_END {
            self.left -= bytes.len() as u64;
        }
        match self.body {
            Fate::Keep => output.add(bytes),
            Fate::Drop => {}
            Fate::Zero => output.add(BytesMut::zeroed(bytes.len()).freeze()),
        }
    }
}

/// What one push gives: one run of the input is handed on without a copy.
#[derive(Debug, Default)]
struct Output {
    first: Bytes,
    more: BytesMut,
}

impl Output {
    fn add(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if self.first.is_empty() {
            self.first = bytes;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(&bytes);
    }

    fn finish(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.freeze() }
    }
}
