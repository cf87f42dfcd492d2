//! `/view`: files with ranges and entity tags, and pictures made from them.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use image::DynamicImage;

use super::{Shared, reply};
use crate::clock::Civil;
use crate::config::Profile;
use crate::connection::Peer;
use crate::files::{FileKey, Folder, Stored};
use crate::life::Life;
use crate::picture::{self, PngExtras};
use crate::switches::{HostileFilenames, ViewFault};

type Parameters = HashMap<String, String>;

pub(super) async fn serve(
    State(life): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let switches = life.switches();
    match switches.view_fault {
        ViewFault::Html => return reply::html(StatusCode::OK),
        ViewFault::Empty => return reply::ok_empty(),
        ViewFault::Status502 => return reply::html(StatusCode::BAD_GATEWAY),
        ViewFault::None | ViewFault::Truncate | ViewFault::WrongLength => {}
    }
    let key = match find(&life, &query) {
        Ok(key) => key,
        Err(status) => return reply::empty(status),
    };
    let Some(stored) = read(&life, &key).await else { return reply::empty(StatusCode::NOT_FOUND) };
    let fault = switches.view_fault;
    let mut response = match converted(&query, &stored).await {
        Form::Picture(Some((kind, bytes))) => whole(kind, bytes.into(), fault),
        Form::Picture(None) => return reply::server_error(),
        Form::Raw => file(&stored, &headers, content_type(&key.name, life.profile), fault),
    };
    if fault == ViewFault::WrongLength {
        cut_in_half(&mut response, &stored, peer);
    }
    disposition(&mut response, &key.name, life.profile);
    response
}

/// Where the file lies, or the status for a request that names none.
fn find(life: &Life, query: &Parameters) -> Result<FileKey, StatusCode> {
    let given = query.get("filename").ok_or(StatusCode::NOT_FOUND)?;
    let subfolder = query.get("subfolder").map_or("", String::as_str);
    let kind = query.get("type").map_or("output", String::as_str);
    if life.switches().hostile_filenames != HostileFilenames::None
        && let Some(folder) = Folder::parse(kind)
    {
        // A server that makes up such names serves them too.
        let key = FileKey::new(folder, subfolder, given);
        if life.app.files.exists(&key) {
            return Ok(key);
        }
    }
    let annotated = Folder::ALL.into_iter().find_map(|folder| {
        let mut letters = given.strip_suffix(&format!("[{}]", folder.name()))?.chars();
        letters.next_back();
        Some((letters.as_str(), folder))
    });
    let (name, folder) = match annotated {
        Some((name, folder)) => (name, Some(folder)),
        None => (given.as_str(), Folder::parse(kind)),
    };
    if name.is_empty() || name.starts_with('/') || name.contains("..") {
        return Err(StatusCode::BAD_REQUEST);
    }
    let folder = folder.ok_or(StatusCode::BAD_REQUEST)?;
    if subfolder.starts_with('/') || subfolder.split('/').any(|part| part == "..") {
        return Err(StatusCode::FORBIDDEN);
    }
    let name = name.rsplit('/').next().unwrap_or(name);
    Ok(FileKey::new(folder, subfolder, name))
}

async fn read(life: &Shared, key: &FileKey) -> Option<Stored> {
    if !life.app.files.is_on_disk(key) {
        return life.app.files.get(key);
    }
    let (files, key) = (life.app.files.clone(), key.clone());
    tokio::task::spawn_blocking(move || files.get(&key)).await.ok().flatten()
}

/// What a request asks for.
enum Form {
    /// The file as it is.
    Raw,
    /// A picture in another form. None: the file is no picture.
    Picture(Option<(&'static str, Vec<u8>)>),
}

async fn converted(query: &Parameters, stored: &Stored) -> Form {
    let preview = query.get("preview").cloned();
    let channel = query.get("channel").cloned().unwrap_or_default();
    if preview.is_none() && !matches!(channel.as_str(), "rgb" | "a") {
        return Form::Raw;
    }
    let bytes = stored.blob.to_bytes();
    let work = tokio::task::spawn_blocking(move || {
        let picture = image::load_from_memory(&bytes).ok()?;
        match preview {
            Some(preview) => preview_of(&picture, &preview, &channel),
            None => channel_of(&picture, &channel),
        }
    });
    Form::Picture(work.await.ok().flatten())
}

fn preview_of(picture: &DynamicImage, preview: &str, channel: &str) -> Option<(&'static str, Vec<u8>)> {
    let (format, quality) = preview.split_once(';').unwrap_or((preview, ""));
    if format == "jpeg" && !channel.contains('a') {
        let quality = quality.parse().unwrap_or(90);
        return Some(("image/jpeg", picture::jpeg(&picture.to_rgba8(), quality).ok()?));
    }
    Some(("image/webp", picture::webp(picture).ok()?))
}

fn channel_of(picture: &DynamicImage, channel: &str) -> Option<(&'static str, Vec<u8>)> {
    let mut picture = picture.to_rgba8();
    let only_alpha = channel == "a";
    if only_alpha {
        picture.pixels_mut().for_each(|pixel| pixel.0 = [0, 0, 0, pixel.0[3]]);
    }
    let file = picture::png(&picture, only_alpha, &PngExtras::default()).ok()?;
    Some(("image/png", file.to_bytes().to_vec()))
}

fn whole(kind: &'static str, bytes: Bytes, fault: ViewFault) -> Response {
    let length = if fault == ViewFault::Truncate { bytes.len() / 2 } else { bytes.len() };
    let mut response = bytes.slice(..length).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn stream_of(parts: Vec<Bytes>) -> Body {
    Body::from_stream(stream::iter(parts.into_iter().map(Ok::<_, io::Error>)))
}

fn file(stored: &Stored, headers: &HeaderMap, kind: &'static str, fault: ViewFault) -> Response {
    let etag = stored.etag();
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == etag.as_bytes()) {
        let mut response = reply::empty(StatusCode::NOT_MODIFIED);
        insert(&mut response, header::ETAG, &etag);
        return response;
    }
    let length = if fault == ViewFault::Truncate { stored.blob.len() / 2 } else { stored.blob.len() };
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (status, range) = match asked.map(|range| parse_range(range, length)) {
        None | Some(Asked::Ignored) => (StatusCode::OK, 0..length),
        Some(Asked::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Asked::Impossible) => {
            let mut response = reply::empty(StatusCode::RANGE_NOT_SATISFIABLE);
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
            return response;
        }
    };
    let mut response = (status, stream_of(stored.blob.slice(range.clone()))).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let last = range.end.saturating_sub(1);
        insert(&mut response, header::CONTENT_RANGE, &format!("bytes {}-{last}/{length}", range.start));
    }
    insert(&mut response, header::CONTENT_LENGTH, &range.len().to_string());
    insert(&mut response, header::CONTENT_TYPE, kind);
    insert(&mut response, header::ETAG, &etag);
    insert(&mut response, header::LAST_MODIFIED, &Civil::from(stored.modified).http_date());
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    response
}

enum Asked {
    Part(Range<usize>),
    Impossible,
    Ignored,
}

fn parse_range(text: &str, length: usize) -> Asked {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Ignored;
    };
    let range = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) if from <= to => from..to.saturating_add(1).min(length),
        (Ok(from), Err(_)) if to.is_empty() => from..length,
        (Err(_), Ok(last)) if from.is_empty() => length.saturating_sub(last)..length,
        _ => return Asked::Ignored,
    };
    if range.is_empty() { Asked::Impossible } else { Asked::Part(range) }
}

/// Announces the whole length and ends the connection after half of it.
fn cut_in_half(response: &mut Response, stored: &Stored, peer: Peer) {
    let length = stored.blob.len();
    let half = stream::iter(stored.blob.slice(0..length / 2).into_iter().map(Ok::<_, io::Error>));
    let end = stream::once(async move {
        // The first half is written while the second one is waited for.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        peer.cut();
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    *response.body_mut() = Body::from_stream(half.chain(end));
    insert(response, header::CONTENT_LENGTH, &length.to_string());
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn disposition(response: &mut Response, name: &str, profile: Profile) {
    let dangerous = name.ends_with(".svg") || name.ends_with(".xml");
    let text = if dangerous && profile >= Profile::V0_40 {
        insert(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        insert(response, header::CACHE_CONTROL, "no-store");
        format!("attachment; filename=\"{name}\"")
    } else {
        format!("filename=\"{name}\"")
    };
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
}

/// By the ending alone; what a browser would run is served as plain bytes.
fn content_type(name: &str, profile: Profile) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "svg" if profile < Profile::V0_40 => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        "wav" => "audio/x-wav",
        "glb" => "model/gltf-binary",
        "json" => "application/json",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        let part = |text: &str| match parse_range(text, 10) {
            Asked::Part(range) => Some(range),
            Asked::Impossible | Asked::Ignored => None,
        };
        assert_eq!(part("bytes=2-4"), Some(2..5));
        assert_eq!(part("bytes=8-"), Some(8..10));
        assert_eq!(part("bytes=-3"), Some(7..10));
        assert_eq!(part("bytes=4-99"), Some(4..10));
        assert_eq!(part("bytes=10-"), None);
        assert_eq!(part("lines=1-2"), None);
    }
}
