//! Reads pictures from the folders: `LoadImage` and its relatives.

use image::{DynamicImage, GrayImage, Luma, Rgba, RgbaImage};

use super::value::{Datum, Pictures};
use super::{Job, Made, NodeError};
use crate::files::{FileKey, Folder};

/// The edge of the empty mask that stands for a missing alpha channel.
const EMPTY_EDGE: u32 = 64;

/// Where `sub/name.png [output]` lies; without a folder behind it, in `input`.
pub(crate) fn annotated_key(text: &str) -> FileKey {
    let annotated = Folder::ALL.into_iter().find_map(|folder| {
        // As in ComfyUI the character before the bracket goes too, whatever it is.
        let path = text.strip_suffix(&format!("[{}]", folder.name()))?;
        let mut letters = path.chars();
        letters.next_back();
        Some(FileKey::from_path(folder, letters.as_str()))
    });
    annotated.unwrap_or_else(|| FileKey::from_path(Folder::Input, text))
}

pub(super) fn run(job: &Job) -> Result<Made, NodeError> {
    let name = job.text("image");
    let picture = open(job, name)?;
    if job.definition.class == "LoadImageMask" {
        return Ok(Made::one(Datum::mask(vec![channel_mask(&picture, job.text("channel"))])));
    }
    let mask = channel_mask(&picture, "alpha");
    let mut frame = picture.into_rgba8();
    frame.pixels_mut().for_each(|pixel| pixel.0[3] = 255);
    let pictures = Pictures { frames: vec![frame], alpha: false };
    Ok(Made::values(vec![Datum::image(pictures), Datum::mask(vec![mask])]))
}

fn open(job: &Job, name: &str) -> Result<DynamicImage, NodeError> {
    let key = annotated_key(name);
    let path = format!("/comfyui/{}/{name}", key.folder.name());
    let file = job.shop.files.get(&key).ok_or_else(|| {
        NodeError::new("FileNotFoundError", &format!("[Errno 2] No such file or directory: '{path}'"))
    })?;
    match image::load_from_memory(&file.blob.to_bytes()) {
        Ok(picture) => Ok(picture),
        Err(_) => Err(NodeError::new("PIL.UnidentifiedImageError", &format!("cannot identify image file '{path}'"))),
    }
}

/// What a channel says as a mask: transparent is bright. Empty when there is no such channel.
fn channel_mask(picture: &DynamicImage, channel: &str) -> GrayImage {
    let place = match channel {
        "red" => 0,
        "green" => 1,
        "blue" => 2,
        _ if picture.color().has_alpha() => 3,
        _ => return GrayImage::new(EMPTY_EDGE, EMPTY_EDGE),
    };
    let picture: RgbaImage = picture.to_rgba8();
    let mut mask = GrayImage::new(picture.width(), picture.height());
    for (target, Rgba(channels)) in mask.pixels_mut().zip(picture.pixels()) {
        let value = channels.get(place).copied().unwrap_or_default();
        *target = Luma([if place == 3 { 255 - value } else { value }]);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_brackets_wins() {
        assert_eq!(annotated_key("a/b.png [output]"), FileKey::new(Folder::Output, "a", "b.png"));
        assert_eq!(annotated_key("b.png"), FileKey::new(Folder::Input, "", "b.png"));
    }
}
