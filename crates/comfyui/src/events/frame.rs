//! Binary messages to events: previews with and without metadata, and texts.
//! Owns the checks on the lengths inside; whatever does not fit becomes `Event::Other`, never an error.

use bytes::{Buf, Bytes};
use serde_json::Value;

use super::{Event, PreviewFormat};
use crate::{failure::id_text, json};

const PREVIEW: u32 = 1;
const TEXT: u32 = 3;
const PREVIEW_WITH_METADATA: u32 = 4;

/// Reads one binary message.
pub(super) fn parse(mut frame: Bytes) -> Event {
    let event = match frame.try_get_u32() {
        Ok(PREVIEW) => preview(frame),
        Ok(TEXT) => text(frame),
        Ok(PREVIEW_WITH_METADATA) => preview_with_metadata(frame),
        Ok(kind) => Some(Event::Other { kind: format!("binary {kind}") }),
        Err(_too_short) => None,
    };
    event.unwrap_or_else(Event::unreadable)
}

fn preview(mut frame: Bytes) -> Option<Event> {
    let format = match frame.try_get_u32().ok()? {
        1 => PreviewFormat::Jpeg,
        2 => PreviewFormat::Png,
        _ => sniff(&frame)?,
    };
    Some(Event::Preview { prompt_id: None, node_id: None, format, bytes: frame })
}

fn text(mut frame: Bytes) -> Option<Event> {
    let node_id = sized_part(&mut frame)?;
    Some(Event::Text {
        node_id: String::from_utf8_lossy(&node_id).into_owned(),
        text: String::from_utf8_lossy(&frame).into_owned(),
    })
}

fn preview_with_metadata(mut frame: Bytes) -> Option<Event> {
    let metadata: Value = json::parse(&sized_part(&mut frame)?).ok()?;
    let format = match metadata.get("image_type").and_then(Value::as_str) {
        Some("image/jpeg") => PreviewFormat::Jpeg,
        Some("image/png") => PreviewFormat::Png,
        _ => sniff(&frame)?,
    };
    let id = |key: &str| metadata.get(key).and_then(id_text);
    Some(Event::Preview { prompt_id: id("prompt_id"), node_id: id("node_id"), format, bytes: frame })
}

/// Takes a part that is preceded by its length.
fn sized_part(frame: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(frame.try_get_u32().ok()?).ok()?;
    (length <= frame.len()).then(|| frame.split_to(length))
}

fn sniff(bytes: &[u8]) -> Option<PreviewFormat> {
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(PreviewFormat::Jpeg)
    } else if bytes.starts_with(b"\x89PNG") {
        Some(PreviewFormat::Png)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use proptest::prelude::*;

    use super::*;

    fn frame(parts: &[&[u8]]) -> Bytes {
        let mut frame = BytesMut::new();
        for part in parts {
            frame.put_slice(part);
        }
        frame.freeze()
    }

    fn number(value: u32) -> [u8; 4] {
        value.to_be_bytes()
    }

    #[test]
    fn a_recorded_preview_with_metadata_names_prompt_and_node() {
        let metadata = br#"{"node_id": "3", "prompt_id": "9a72fba4-cbe8-40f9-8ec1-c0f45892d957", "display_node_id": "3", "parent_node_id": null, "real_node_id": "3", "image_type": "image/jpeg"}"#;
        let length = number(u32::try_from(metadata.len()).unwrap());
        assert_eq!(length, [0, 0, 0, 0xa6]);
        let event = parse(frame(&[&number(4), &length, metadata, b"\xff\xd8\xff\xe0"]));
        let expected = Event::Preview {
            prompt_id: Some("9a72fba4-cbe8-40f9-8ec1-c0f45892d957".to_owned()),
            node_id: Some("3".to_owned()),
            format: PreviewFormat::Jpeg,
            bytes: Bytes::from_static(b"\xff\xd8\xff\xe0"),
        };
        assert_eq!(event, expected);
    }

    #[test]
    fn plain_previews_and_texts_are_read() {
        let png = parse(frame(&[&number(1), &number(2), b"\x89PNG..."]));
        assert!(matches!(png, Event::Preview { format: PreviewFormat::Png, prompt_id: None, node_id: None, .. }));
        let odd = parse(frame(&[&number(1), &number(9), b"\xff\xd8\xff"]));
        assert!(matches!(odd, Event::Preview { format: PreviewFormat::Jpeg, .. }));
        let text = parse(frame(&[&number(3), &number(1), b"2", "width: 64 ✓".as_bytes()]));
        assert_eq!(text, Event::Text { node_id: "2".to_owned(), text: "width: 64 ✓".to_owned() });
    }

    #[test]
    fn short_frames_and_lying_lengths_are_unreadable_but_harmless() {
        for bad in [
            frame(&[]),
            frame(&[b"\0\0\0"]),
            frame(&[&number(1)]),
            frame(&[&number(1), &number(7), b"????"]),
            frame(&[&number(3), &number(u32::MAX), b"2"]),
            frame(&[&number(4), &number(50), b"{}"]),
            frame(&[&number(4), &number(2), b"{]", b"\xff\xd8\xff"]),
            frame(&[&number(4), &number(0)]),
            frame(&[&number(4), &number(2), b"{}", b"RIFF"]),
        ] {
            assert_eq!(parse(bad.clone()), Event::unreadable(), "{bad:?}");
        }
        assert_eq!(parse(frame(&[&number(77), b"x"])), Event::Other { kind: "binary 77".to_owned() });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(head in 0_u32..6, rest in prop::collection::vec(any::<u8>(), 0..64)) {
            let _event = parse(frame(&[&number(head), &rest]));
            let _event = parse(Bytes::from(rest));
        }
    }
}
