//! Small files of every format, with a canary where metadata stands.

use image::{ImageFormat, RgbImage, RgbaImage};

/// Stands in all metadata that must go.
pub(crate) const CANARY: &str = "CANARY-prompt-workflow";

pub(crate) fn has_canary(file: &[u8]) -> bool {
    file.windows(6).any(|window| window == b"CANARY")
}

/// Pixels that are all different, with alpha.
pub(crate) fn picture(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let [a, b] = [(x * 7 + y) as u8, (y * 13 + x * 3) as u8];
        image::Rgba([a, b, a ^ b, 255 - (x as u8 % 200)])
    })
}

/// A smooth picture without alpha.
pub(crate) fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90]))
}

pub(crate) fn encoded(picture: impl Into<image::DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.into().write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub(crate) fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let typed = [kind, data].concat();
    let sum = !typed.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0xedb8_8320 })
    });
    [&(data.len() as u32).to_be_bytes()[..], &typed, &sum.to_be_bytes()].concat()
}

/// A PNG with `chunks` between its head and its data.
pub(crate) fn png_with(chunks: &[Vec<u8>]) -> Vec<u8> {
    let plain = encoded(picture(9, 5), ImageFormat::Png);
    let (head, rest) = plain.split_at(33);
    [head, &chunks.concat(), rest].concat()
}

pub(crate) fn png() -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 9, 5);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.add_text_chunk("prompt".into(), CANARY.into()).unwrap();
    encoder.add_ztxt_chunk(format!("{CANARY} keyword"), "packed ".repeat(50)).unwrap();
    encoder.add_itxt_chunk("workflow".into(), CANARY.into()).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&picture(9, 5)).unwrap();
    writer.write_text_chunk(&png::text_metadata::TEXtChunk::new("late", CANARY)).unwrap();
    writer.write_chunk(png::chunk::ChunkType(*b"comf"), format!("prompt\0{CANARY}").as_bytes()).unwrap();
    writer.finish().unwrap();
    let exif = png_chunk(b"eXIf", CANARY.as_bytes());
    let (head, rest) = file.split_at(33);
    [head, &exif, rest, CANARY.as_bytes()].concat()
}

pub(crate) fn jpeg_segment(marker: u8, data: &[u8]) -> Vec<u8> {
    [&[0xff, marker][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat()
}

pub(crate) fn jpeg() -> Vec<u8> {
    let plain = encoded(photo(20, 10), ImageFormat::Jpeg);
    let segments =
        [(0xe1, "Exif\0\0"), (0xe1, "http://ns.adobe.com/xap/1.0/\0"), (0xed, "Photoshop 3.0\0"), (0xfe, "")]
            .map(|(marker, name)| jpeg_segment(marker, format!("{name}{CANARY}").as_bytes()));
    let profile = jpeg_segment(0xe2, b"ICC_PROFILE\0\x01\x01some profile");
    [&plain[..2], &profile, &segments.concat(), &[0xff], &plain[2..]].concat()
}

fn riff(form: &[u8; 4], chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = form.to_vec();
    for (kind, data) in chunks {
        body.extend(*kind);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(data);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

pub(crate) fn webp() -> Vec<u8> {
    let pixels = picture(9, 5);
    let plain = webp::Encoder::from_rgba(&pixels, 9, 5).encode_lossless();
    let mut head = vec![0x1c, 0, 0, 0];
    head.extend([8, 0, 0, 4, 0, 0]);
    let data = plain[20..].to_vec();
    let xmp = format!("<x:xmpmeta>{CANARY}").into_bytes();
    let exif = format!("II*\0\x08\0\0\0{CANARY}").into_bytes();
    riff(b"WEBP", &[(b"VP8X", head), (b"VP8L", data), (b"EXIF", exif), (b"XMP ", xmp)])
}

/// An animated WebP of `frames` frames, which are not real ones.
pub(crate) fn animated_webp(frames: usize) -> Vec<u8> {
    let mut frame = vec![0; 6];
    frame.extend([8, 0, 0, 4, 0, 0, 0, 0, 0, 0]);
    let head = vec![2, 0, 0, 0, 8, 0, 0, 4, 0, 0];
    let mut chunks: Vec<(&[u8; 4], Vec<u8>)> = vec![(b"VP8X", head), (b"ANIM", vec![0; 6])];
    chunks.extend((0..frames).map(|_| (b"ANMF", frame.clone())));
    riff(b"WEBP", &chunks)
}

pub(crate) fn wav() -> Vec<u8> {
    wav_of(300)
}

/// A WAV of `length` bytes of sound, after metadata of an odd length.
pub(crate) fn wav_of(length: usize) -> Vec<u8> {
    let list = format!("INFOICMT{CANARY}.").into_bytes();
    riff(b"WAVE", &[(b"fmt ", vec![1; 16]), (b"LIST", list), (b"data", vec![3; length])])
}

/// A GIF of `frames` frames, with a comment and XMP.
pub(crate) fn gif(frames: usize) -> Vec<u8> {
    let frame = b"\x2c\0\0\0\0\x02\0\x02\0\0\x02\x03\x84\x51\x00\0";
    let canary = CANARY.as_bytes();
    let mut file = b"GIF89a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    file.extend(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
    file.extend([b"\x21\xff\x0bXMP DataXMP", &[canary.len() as u8][..], canary, &[0]].concat());
    for _ in 0..frames {
        file.extend([b"\x21\xfe", &[canary.len() as u8][..], canary, &[0]].concat());
        file.extend(b"\x21\xf9\x04\0\0\0\0\0");
        file.extend(frame);
    }
    file.push(0x3b);
    file.extend(canary);
    file
}

pub(crate) fn mp4_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn long_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&1_u32.to_be_bytes()[..], kind, &(body.len() as u64 + 16).to_be_bytes(), body].concat()
}

fn moov() -> Vec<u8> {
    let canary = CANARY.as_bytes();
    let udta = mp4_box(b"udta", &mp4_box(b"meta", canary));
    let trak = mp4_box(b"trak", &[mp4_box(b"tkhd", b"head"), long_box(b"udta", canary), vec![0; 4]].concat());
    let body = [mp4_box(b"mvhd", b"head"), udta.clone(), trak, mp4_box(b"meta", canary)].concat();
    mp4_box(b"moov", &body)
}

/// A film whose index stands before or behind its samples.
pub(crate) fn mp4(samples: &[u8], index_first: bool) -> Vec<u8> {
    let canary = CANARY.as_bytes();
    let head = mp4_box(b"ftyp", b"isom\0\0\x02\0isommp41");
    let rest = [mp4_box(b"uuid", canary), mp4_box(b"meta", canary)].concat();
    if index_first {
        let mdat = [&0_u32.to_be_bytes()[..], b"mdat", samples].concat();
        [head, moov(), rest, mdat].concat()
    } else {
        [head, long_box(b"mdat", samples), moov(), mp4_box(b"moof", &mp4_box(b"traf", &moov()[8..])), rest].concat()
    }
}

/// An EBML element; its size is written in `size_length` bytes.
pub(crate) fn element(id: &[u8], size_length: usize, body: &[u8]) -> Vec<u8> {
    let size = (1_u64 << (7 * size_length)) | body.len() as u64;
    [id, &size.to_be_bytes()[8 - size_length..], body].concat()
}

/// A WebM of known or unknown lengths, with tags before and behind the samples.
pub(crate) fn webm(live: bool) -> Vec<u8> {
    let canary = CANARY.as_bytes();
    let tags = [0x12, 0x54, 0xc3, 0x67];
    let cluster = [0x1f, 0x43, 0xb6, 0x75];
    let segment = [0x18, 0x53, 0x80, 0x67];
    let samples = element(&[0xa3], 2, &[0xec; 300]);
    let head = element(&[0x1a, 0x45, 0xdf, 0xa3], 1, b"\x42\x82\x84webm");
    let mut body: Vec<u8> = (1..=8).flat_map(|size_length| element(&tags, size_length, canary)).collect();
    body.extend(element(&[0x15, 0x49, 0xa9, 0x66], 8, b"info"));
    if live {
        body.extend(
            [&cluster[..], &[0xff], &samples, &cluster, &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &samples]
                .concat(),
        );
    } else {
        body.extend(element(&cluster, 4, &samples));
    }
    body.extend(element(&tags, 3, canary));
    if live { [&head[..], &segment, &[0xff], &body].concat() } else { [head, element(&segment, 8, &body)].concat() }
}

pub(crate) fn flac() -> Vec<u8> {
    let block = |kind: u8, body: &[u8]| [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat();
    [b"fLaC".to_vec(), block(0, &[7; 34]), block(0x84, CANARY.as_bytes()), vec![0xff, 0xf8, 1, 2, 3]].concat()
}

pub(crate) fn mp3() -> Vec<u8> {
    let tag = |flags: u8, padding: usize| {
        let body = [CANARY.as_bytes(), &vec![0; padding]].concat();
        let (high, low) = ((body.len() >> 7) as u8, (body.len() & 0x7f) as u8);
        [b"ID3\x04\0", &[flags, 0, 0, high, low][..], &body].concat()
    };
    [tag(0, 300), tag(0x10, 1), b"3DI\x04\0\x10\0\0\0\x17".to_vec(), vec![0xff, 0xfb, 0x90, 0x64, 0, 1, 2]].concat()
}

pub(crate) fn ogg_page(flags: u8, serial: u32, number: u32, lacing: &[u8], body: &[u8]) -> Vec<u8> {
    let mut page = [b"OggS\0", &[flags][..], &[0; 8], &serial.to_le_bytes(), &number.to_le_bytes(), &[0; 4]].concat();
    page.push(lacing.len() as u8);
    page.extend(lacing);
    page.extend(body);
    let sum = ogg_sum(&page);
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}

pub(crate) fn ogg_sum(page: &[u8]) -> u32 {
    page.iter().fold(0_u32, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum, _| (sum << 1) ^ ((sum >> 31) * 0x04c1_1db7))
    })
}

/// Sound in Ogg whose packet of comments begins with `magic`, over two pages; setup follows on the second.
pub(crate) fn ogg(first: &[u8], magic: &[u8]) -> Vec<u8> {
    let mut comments = [magic, CANARY.repeat(20).as_bytes()].concat();
    comments.resize(600, b'C');
    [
        ogg_page(2, 5, 0, &[first.len() as u8], first),
        ogg_page(0, 5, 1, &[255], &comments[..255]),
        ogg_page(1, 5, 2, &[255, 90, 5], &[&comments[255..], b"setup"].concat()),
        ogg_page(4, 5, 3, &[9], b"the sound"),
    ]
    .concat()
}
