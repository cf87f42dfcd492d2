//! Answers: their caps and their deadline. Connects to nothing.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{Response, header::RETRY_AFTER};
use tokio::time::{self, Instant};

use crate::error::SendError;

/// Most of an answer to a delivery that is read; then the connection is closed.
const MAX_READ: usize = 64 * 1024;
/// Most of it that is kept.
const MAX_EXCERPT: usize = 1024;
/// No exchange may last longer, whatever deadline it was given.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The answer to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; a redirect is shown as it is.
    pub status: u16,
    /// The header of that name, if it is plain text.
    pub retry_after: Option<String>,
    /// The first KiB of the body.
    pub excerpt: Bytes,
}

/// When an exchange that starts now must be over.
pub(crate) fn end_of(deadline: Duration) -> Instant {
    Instant::now() + deadline.min(LONGEST)
}

/// Reads the answer to a delivery. A success must arrive whole, or as far as it is read; of anything else the status
/// counts, whatever becomes of the body.
pub(crate) async fn read_answer(mut response: Response, end: Instant) -> Result<Answer, SendError> {
    let success = response.status().is_success();
    let mut answer = Answer {
        status: response.status().as_u16(),
        retry_after: response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned),
        excerpt: Bytes::new(),
    };
    let mut excerpt = BytesMut::new();
    let read = time::timeout_at(end, read_body(&mut response, &mut excerpt)).await;
    answer.excerpt = excerpt.freeze();
    match read {
        Err(_elapsed) if success => Err(SendError::Timeout),
        Ok(Err(error)) if success => Err(error),
        _ => Ok(answer),
    }
}

async fn read_body(response: &mut Response, excerpt: &mut BytesMut) -> Result<(), SendError> {
    let mut read = 0;
    while let Some(chunk) = response.chunk().await? {
        read += chunk.len();
        let room = MAX_EXCERPT.saturating_sub(excerpt.len());
        excerpt.extend(chunk.iter().take(room));
        if read >= MAX_READ {
            break;
        }
    }
    Ok(())
}

/// A body on its way in.
pub struct Download {
    response: Response,
    end: Instant,
    declared: Option<u64>,
    left: u64,
}

impl Download {
    pub(crate) fn new(response: Response, max_bytes: u64, end: Instant) -> Result<Self, SendError> {
        if !response.status().is_success() {
            return Err(SendError::Status(response.status().as_u16()));
        }
        let declared = response.content_length();
        if declared.is_some_and(|length| length > max_bytes) {
            return Err(SendError::TooLarge);
        }
        Ok(Self { response, end, declared, left: max_bytes })
    }

    /// The length that the host announced.
    pub fn declared_length(&self) -> Option<u64> {
        self.declared
    }

    /// The next piece, or `None` after the last one.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        let chunk =
            time::timeout_at(self.end, self.response.chunk()).await.map_err(|_elapsed| SendError::Timeout)??;
        if let Some(chunk) = &chunk {
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            self.left = self.left.checked_sub(length).ok_or(SendError::TooLarge)?;
        }
        Ok(chunk)
    }
}

/// The HTTP library's own form would show the URL.
impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("declared", &self.declared).field("left", &self.left).finish_non_exhaustive()
    }
}
