//! Pictures that stand for what a model would paint: told apart by seed and prompt, readable by a person.
//! Also the encoders. Knows nothing of nodes or files.

mod encode;
mod letters;

use image::{Rgba, RgbaImage};

use crate::sync::Random;
pub(crate) use encode::{PngExtras, jpeg, png, webp};

/// The edge of a picture in the fast mode.
pub(crate) const TINY: u32 = 8;

/// What a generated picture shows.
#[derive(Debug, Clone)]
pub(crate) struct Scene<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) seed: u64,
    pub(crate) steps: u32,
    pub(crate) text: &'a str,
    /// The place in its batch.
    pub(crate) index: u32,
}

type Colour = [u8; 3];

struct Blob {
    x: f32,
    y: f32,
    radius: f32,
    colour: Colour,
}

/// Paints a scene.
pub(crate) fn paint(scene: &Scene<'_>) -> RgbaImage {
    let mut picture = background(scene);
    if scene.width >= 64 && scene.height >= 48 {
        caption(&mut picture, scene);
    }
    picture
}

/// A single colour, chosen by seed and text; the same cost for every scene.
pub(crate) fn tiny(scene: &Scene<'_>) -> RgbaImage {
    let mut random = scene_random(scene);
    let [red, green, blue] = bright(&mut random);
    RgbaImage::from_pixel(TINY, TINY, Rgba([red, green, blue, 255]))
}

fn scene_random(scene: &Scene<'_>) -> Random {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64 ^ scene.seed;
    for byte in scene.text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    Random::new(hash.wrapping_add(u64::from(scene.index).wrapping_mul(0x9E37)))
}

#[expect(clippy::cast_possible_truncation, reason = "below 256")]
fn bright(random: &mut Random) -> Colour {
    [0, 0, 0].map(|_| 40 + random.below(200) as u8)
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn fraction(random: &mut Random) -> f32 {
    random.below(1000) as f32 / 1000.0
}

/// The flat colour that a prompt such as "a knight, green background" asks for, so that it can be cut out.
fn flat_background(text: &str) -> Option<Colour> {
    let text = text.to_lowercase();
    let named: [(&str, Colour); 6] = [
        ("white background", [255, 255, 255]),
        ("black background", [0, 0, 0]),
        ("green background", [0, 255, 0]),
        ("blue background", [0, 0, 255]),
        ("magenta background", [255, 0, 255]),
        ("gray background", [128, 128, 128]),
    ];
    named.into_iter().find(|(name, _)| text.contains(name)).map(|(_, colour)| colour)
}

fn mix(from: Colour, to: Colour, part: f32) -> Colour {
    let [red, green, blue] = from;
    let [to_red, to_green, to_blue] = to;
    [channel(red, to_red, part), channel(green, to_green, part), channel(blue, to_blue, part)]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "stays between two bytes")]
fn channel(from: u8, to: u8, part: f32) -> u8 {
    (f32::from(from) + (f32::from(to) - f32::from(from)) * part) as u8
}

/// A gradient with three soft discs, or one disc on a flat colour. Painted in coarse cells: cheap at any size.
#[expect(clippy::cast_precision_loss, reason = "edges of pictures are small numbers")]
fn background(scene: &Scene<'_>) -> RgbaImage {
    let mut random = scene_random(scene);
    let (from, to) = (bright(&mut random), bright(&mut random));
    let flat = flat_background(scene.text);
    let blobs: Vec<Blob> = match flat {
        Some(_) => vec![Blob { x: 0.5, y: 0.5, radius: 0.32, colour: from }],
        None => (0..3)
            .map(|_| Blob {
                x: fraction(&mut random),
                y: fraction(&mut random),
                radius: 0.1 + 0.25 * fraction(&mut random),
                colour: bright(&mut random),
            })
            .collect(),
    };
    let cell = (scene.width.max(scene.height) / 256).max(1);
    let (wide, high) = (scene.width as f32, scene.height as f32);
    let mut pixels = Vec::with_capacity(scene.width as usize * scene.height as usize * 4);
    let mut row = Vec::with_capacity(scene.width as usize * 4);
    for y in 0..scene.height {
        if y % cell == 0 {
            row.clear();
            for x in (0..scene.width).step_by(cell as usize) {
                let place = (x as f32 / wide, y as f32 / high);
                let [red, green, blue] = cell_colour(place, flat, (from, to), &blobs);
                for _ in 0..cell.min(scene.width - x) {
                    row.extend_from_slice(&[red, green, blue, 255]);
                }
            }
        }
        pixels.extend_from_slice(&row);
    }
    RgbaImage::from_raw(scene.width, scene.height, pixels).unwrap_or_default()
}

fn cell_colour(place: (f32, f32), flat: Option<Colour>, gradient: (Colour, Colour), blobs: &[Blob]) -> Colour {
    let (x, y) = place;
    let mut colour = flat.unwrap_or_else(|| mix(gradient.0, gradient.1, (x + y) / 2.0));
    for blob in blobs {
        let distance = ((x - blob.x).powi(2) + (y - blob.y).powi(2)).sqrt() / blob.radius;
        if distance < 1.0 {
            // On a flat background the edge stays hard, or its halo could not be cut out.
            let part = if flat.is_some() { 1.0 } else { 1.0 - distance * distance };
            colour = mix(colour, blob.colour, part);
        }
    }
    colour
}

fn caption(picture: &mut RgbaImage, scene: &Scene<'_>) {
    let (width, height) = picture.dimensions();
    let scale = (width.min(height) / 170).clamp(1, 8);
    let line = 10 * scale;
    let margin = 4 * scale;
    let columns = (width.saturating_sub(2 * margin) / (8 * scale)).max(1) as usize;
    let rows = (height / line).saturating_sub(2).clamp(1, 8) as usize;
    for (number, text) in letters::wrap(scene.text, columns).iter().take(rows).enumerate() {
        let top = margin + u32::try_from(number).unwrap_or(0) * line;
        letters::write(picture, text, (margin, top), scale);
    }
    let mut facts = format!("seed {} \u{b7} {width}x{height} \u{b7} {} steps", scene.seed, scene.steps);
    if scene.index > 0 {
        facts = format!("#{} {facts}", scene.index + 1);
    }
    let facts = letters::wrap(&facts, columns);
    let bottom = height.saturating_sub(margin);
    for (number, text) in facts.iter().rev().take(3).enumerate() {
        let above = (u32::try_from(number).unwrap_or(0) + 1) * line;
        letters::write(picture, text, (margin, bottom.saturating_sub(above)), scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(seed: u64, text: &str) -> RgbaImage {
        paint(&Scene { width: 128, height: 96, seed, steps: 4, text, index: 0 })
    }

    #[test]
    fn seed_prompt_and_place_in_the_batch_each_change_the_picture() {
        let one = scene(1, "a cat");
        assert_eq!(one, scene(1, "a cat"));
        assert_ne!(one, scene(2, "a cat"));
        assert_ne!(one, scene(1, "a dog"));
        let second = paint(&Scene { width: 128, height: 96, seed: 1, steps: 4, text: "a cat", index: 1 });
        assert_ne!(one, second);
    }

    #[test]
    fn a_named_background_is_flat_in_the_corners() {
        let picture = scene(3, "knight, green background");
        assert_eq!(picture.get_pixel(127, 0), &Rgba([0, 255, 0, 255]));
        assert_ne!(picture.get_pixel(64, 48), &Rgba([0, 255, 0, 255]));
    }
}
