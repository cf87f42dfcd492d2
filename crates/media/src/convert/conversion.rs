//! What a picture is to become, and the short name of that.

/// The longest side that may be asked for.
const MAX_SIDE: u32 = 16_384;

/// A format that pictures can be converted into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PictureFormat {
    /// PNG, lossless, with alpha.
    Png,
    /// JPEG, without alpha.
    Jpeg,
    /// WebP, with alpha; lossless at quality 100.
    Webp,
}

impl PictureFormat {
    /// Parses a name of the API: `png`, `jpeg` or `jpg`, `webp`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "png" => Some(Self::Png),
            "jpeg" | "jpg" => Some(Self::Jpeg),
            "webp" => Some(Self::Webp),
            _ => None,
        }
    }

    /// The format of a picture of this media type; PNG for those that are not written.
    fn of_content_type(content_type: &str) -> Self {
        let formats = [Self::Png, Self::Jpeg, Self::Webp];
        formats.into_iter().find(|format| format.content_type() == content_type).unwrap_or(Self::Png)
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
        }
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }

    /// The extension of file names.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// The quality that is used where none is asked for; none where the format has no such thing.
    const fn default_quality(self) -> Option<u8> {
        match self {
            Self::Png => None,
            Self::Jpeg => Some(85),
            Self::Webp => Some(80),
        }
    }
}

/// What a picture is to become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Conversion {
    format: Option<PictureFormat>,
    quality: Option<u8>,
    width: Option<u32>,
    height: Option<u32>,
}

impl Conversion {
    /// Checks what a caller asks for: a format's name, a quality of 1 to 100, the sides in pixels (1 to 16384) of the box
    /// that the picture is to fit into. Fails with each field that is wrong and a sentence about it.
    pub fn new(
        format: Option<&str>,
        quality: Option<u32>,
        width: Option<u32>,
        height: Option<u32>,
    ) -> Result<Self, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        let parsed = format.and_then(PictureFormat::parse);
        if format.is_some() && parsed.is_none() {
            wrong.push(("format", "must be one of png, jpeg, webp".to_owned()));
        }
        let checked =
            quality.and_then(|quality| u8::try_from(quality).ok()).filter(|quality| (1..=100).contains(quality));
        if quality.is_some() && checked.is_none() {
            wrong.push(("quality", "must be a whole number from 1 to 100".to_owned()));
        }
        for (field, side) in [("width", width), ("height", height)] {
            if side.is_some_and(|side| !(1..=MAX_SIDE).contains(&side)) {
                wrong.push((field, format!("must be a whole number from 1 to {MAX_SIDE}")));
            }
        }
        if wrong.is_empty() { Ok(Self { format: parsed, quality: checked, width, height }) } else { Err(wrong) }
    }

    /// Whether nothing was asked for.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// A short name, `webp-q80-w512-h512`, of letters, digits and hyphens: the same for the same result.
    pub fn key(&self) -> String {
        let quality = match self.format {
            Some(format) => self.quality_for(format),
            None => self.quality,
        };
        let format = self.format.map_or("same", PictureFormat::as_str);
        let mut key = format.to_owned();
        for (letter, number) in [("q", quality.map(u32::from)), ("w", self.width), ("h", self.height)] {
            if let Some(number) = number {
                key.push_str(&format!("-{letter}{number}"));
            }
        }
        key
    }

    /// The format that a picture of this media type is converted into: its own where none was asked for, and PNG where
    /// that is not written.
    pub fn format_for(&self, content_type: &str) -> PictureFormat {
        self.format.unwrap_or_else(|| PictureFormat::of_content_type(content_type))
    }

    /// The quality that counts with `format`.
    pub(super) fn quality_for(&self, format: PictureFormat) -> Option<u8> {
        let default = format.default_quality()?;
        Some(self.quality.unwrap_or(default))
    }

    /// What a picture of `width` and `height` pixels is scaled to: never up, no side below 1.
    pub(super) fn size_for(&self, width: u32, height: u32) -> (u32, u32) {
        let (most_wide, most_high) =
            (self.width.unwrap_or(width).min(width), self.height.unwrap_or(height).min(height));
        let scaled = |side: u32, by: u32, of: u32| {
            let (side, by, of) = (u64::from(side), u64::from(by), u64::from(of).max(1));
            u32::try_from(((side * by + of / 2) / of).max(1)).unwrap_or(u32::MAX)
        };
        // The side that has to shrink more decides.
        if u64::from(most_wide) * u64::from(height) <= u64::from(most_high) * u64::from(width) {
            (most_wide, scaled(height, most_wide, width).min(most_high))
        } else {
            (scaled(width, most_high, height).min(most_wide), most_high)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversion(format: Option<&str>, quality: Option<u32>, width: Option<u32>, height: Option<u32>) -> Conversion {
        Conversion::new(format, quality, width, height).unwrap()
    }

    #[test]
    fn each_wrong_field_is_named() {
        let wrong = Conversion::new(Some("bmp"), Some(0), Some(0), Some(16_385)).unwrap_err();
        let fields: Vec<&str> = wrong.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["format", "quality", "width", "height"]);
        assert_eq!(Conversion::new(None, Some(101), None, None).unwrap_err().len(), 1);
        assert_eq!(Conversion::new(None, Some(357), None, None).unwrap_err().len(), 1);
        assert!(Conversion::new(Some("jpg"), Some(100), Some(16_384), Some(1)).is_ok());
    }

    #[test]
    fn what_gives_the_same_has_the_same_key() {
        assert_eq!(conversion(Some("webp"), Some(80), Some(512), Some(512)).key(), "webp-q80-w512-h512");
        assert_eq!(conversion(Some("webp"), None, None, None).key(), "webp-q80");
        assert_eq!(conversion(Some("jpg"), None, Some(9), None).key(), "jpeg-q85-w9");
        assert_eq!(conversion(Some("png"), Some(7), None, Some(3)).key(), "png-h3");
        assert_eq!(conversion(None, Some(7), None, None).key(), "same-q7");
        assert_eq!(Conversion::default().key(), "same");
        assert!(Conversion::default().is_nothing());
    }

    #[test]
    fn sizes_fit_keep_their_ratio_and_never_grow() {
        for (width, height, size) in [
            (Some(100), Some(100), (100, 50)),
            (Some(4000), Some(4000), (400, 200)),
            (None, Some(100), (200, 100)),
            (Some(399), None, (399, 200)),
            (Some(1), Some(1), (1, 1)),
            (None, None, (400, 200)),
        ] {
            assert_eq!(conversion(None, None, width, height).size_for(400, 200), size, "{width:?} {height:?}");
        }
        assert_eq!(conversion(None, None, Some(10), None).size_for(10_000, 3), (10, 1));
    }
}
