//! Why a file is not taken, in sentences for the API's caller.

/// Why a file is not taken. Each is the caller's fault, and says what to do otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// Of a kind that we don't take.
    #[error(
        "the file is {0}; accepted are pictures as png, jpeg, webp or gif, videos as mp4 or webm, and sounds as wav, mp3, \
         flac or ogg"
    )]
    NotAccepted(String),
    /// A picture whose header or structure is not one.
    #[error("the {0} picture is broken: its header can't be read")]
    Broken(&'static str),
    /// A picture without its end.
    #[error("the {0} picture is incomplete: it ends too early")]
    Incomplete(&'static str),
    /// A side is too long.
    #[error("the picture is {width} x {height} pixels large; its sides may have at most {limit} pixels")]
    TooWide {
        /// Pixels from left to right.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
        /// Pixels that a side may have.
        limit: u32,
    },
    /// The sides are short enough, the surface is too large.
    #[error("the picture is {width} x {height} pixels large; it may have at most {limit} pixels in all")]
    TooManyPixels {
        /// Pixels from left to right.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
        /// Pixels that a frame may have.
        limit: u64,
    },
    /// Animated, and too long.
    #[error("the picture is animated with more than {limit} frames, the most that are accepted")]
    TooManyFrames {
        /// Frames that a picture may have.
        limit: u32,
    },
    /// A PNG with much packed data beside the picture.
    #[error("the png picture has a chunk {0} of more than 1 MiB; save it without metadata")]
    LargeChunk(&'static str),
}
