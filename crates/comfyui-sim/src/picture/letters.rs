//! Draws text with an eight by eight font, enlarged. Wraps words; draws nothing outside of the picture.

use font8x8::{BASIC_FONTS, LATIN_FONTS, UnicodeFonts as _};
use image::{Rgba, RgbaImage};

const INK: Rgba<u8> = Rgba([255, 255, 255, 255]);
const SHADOW: Rgba<u8> = Rgba([0, 0, 0, 255]);

/// Breaks a text into lines of at most `columns` characters, between words where that is possible.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let text = &spell_out(text);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(columns) {
            if length > 0 && length + 1 + piece.len() > columns {
                lines.push(std::mem::take(&mut line));
                length = 0;
            }
            if length > 0 {
                line.push(' ');
                length += 1;
            }
            line.extend(piece);
            length += piece.len();
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Letters that the font lacks become their code points: two prompts never look alike.
fn spell_out(text: &str) -> String {
    let mut spelt = String::new();
    for letter in text.chars() {
        if letter.is_whitespace() || glyph(letter).is_some() {
            spelt.push(letter);
        } else {
            spelt.push_str(&format!("<{:X}>", u32::from(letter)));
        }
    }
    spelt
}

fn glyph(letter: char) -> Option<[u8; 8]> {
    BASIC_FONTS.get(letter).or_else(|| LATIN_FONTS.get(letter))
}

/// Writes one line with its top left corner at `place`.
pub(super) fn write(picture: &mut RgbaImage, text: &str, place: (u32, u32), scale: u32) {
    let (left, top) = place;
    // The shadow keeps letters readable on a bright picture.
    for (colour, shift) in [(SHADOW, scale.div_ceil(2)), (INK, 0)] {
        let mut x = left + shift;
        for letter in text.chars() {
            draw(picture, letter, (x, top + shift), (scale, colour));
            x += 8 * scale;
        }
    }
}

fn draw(picture: &mut RgbaImage, letter: char, place: (u32, u32), look: (u32, Rgba<u8>)) {
    let (left, top) = place;
    let (scale, colour) = look;
    for (row, bits) in (0..).zip(glyph(letter).unwrap_or_default()) {
        for column in (0..8).filter(|column| bits & (1 << column) != 0) {
            for y in 0..scale {
                for x in 0..scale {
                    let pixel = picture.get_pixel_mut_checked(left + column * scale + x, top + row * scale + y);
                    if let Some(pixel) = pixel {
                        *pixel = colour;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_whole_when_they_fit() {
        assert_eq!(wrap("a red fox jumps", 7), ["a red", "fox", "jumps"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("é 狐", 20), ["é <72D0>"]);
    }
}
