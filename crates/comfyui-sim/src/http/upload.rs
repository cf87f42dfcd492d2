//! `/upload/image` and `/upload/mask`: names, folders and renames as ComfyUI decides them.

use std::collections::HashMap;

use axum::extract::{FromRequest as _, Multipart, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use image::imageops::{self, FilterType};
use serde_json::{Value, json};

use super::prompt::read_body;
use super::{Shared, reply};
use crate::blob::Blob;
use crate::config::Profile;
use crate::files::{FileKey, Folder};
use crate::life::Life;
use crate::picture::{self, PngExtras};

/// The fields of a form.
#[derive(Default)]
struct Form {
    texts: HashMap<String, String>,
    image: Option<(String, Bytes)>,
}

async fn read_form(life: &Shared, request: Request) -> Result<Form, Response> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(life, body).await?;
    let request = Request::from_parts(parts, bytes.into());
    // A body that is no form has no fields, and so no image.
    let Ok(mut fields) = Multipart::from_request(request, life).await else { return Ok(Form::default()) };
    let mut form = Form::default();
    while let Ok(Some(field)) = fields.next_field().await {
        let name = field.name().unwrap_or_default().to_owned();
        let file_name = field.file_name().map(str::to_owned);
        let Ok(bytes) = field.bytes().await else { break };
        match file_name {
            Some(file_name) if name == "image" => form.image = Some((file_name, bytes)),
            _ => {
                form.texts.insert(name, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
    Ok(form)
}

/// Where an upload goes. Err: the status for what cannot be stored.
fn destination(form: &Form) -> Result<(FileKey, Bytes), StatusCode> {
    let kind = form.texts.get("type").map_or("input", String::as_str);
    let Some(folder) = Folder::parse(kind) else { return Err(StatusCode::INTERNAL_SERVER_ERROR) };
    let Some((name, bytes)) = &form.image else { return Err(StatusCode::BAD_REQUEST) };
    let subfolder = form.texts.get("subfolder").map_or("", String::as_str);
    let climbs = |text: &str| text.starts_with('/') || text.split('/').any(|part| part == "..");
    if climbs(subfolder) || climbs(name) {
        return Err(StatusCode::BAD_REQUEST);
    }
    if name.is_empty() || name.contains('/') || name.chars().any(char::is_control) {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    Ok((FileKey::new(folder, subfolder, name), bytes.clone()))
}

fn refused(status: StatusCode) -> Response {
    if status.is_server_error() { reply::server_error() } else { reply::empty(status) }
}

/// The name under which the bytes are stored: another one when the name is taken by other bytes.
fn free_name(life: &Life, mut key: FileKey, file: &Blob) -> (FileKey, bool) {
    let (stem, ending) = match key.name.rsplit_once('.') {
        Some((stem, ending)) => (stem.to_owned(), format!(".{ending}")),
        None => (key.name.clone(), String::new()),
    };
    let mut number = 0;
    while let Some(stored) = life.app.files.get(&key) {
        if stored.blob.same_content(file) {
            return (key, false);
        }
        number += 1;
        key.name = format!("{stem} ({number}){ending}");
    }
    (key, true)
}

fn stored(life: &Life, key: &FileKey, form: &Form, size: usize) -> Response {
    let subfolder = form.texts.get("subfolder").map_or("", String::as_str);
    let mut answer = json!({"name": key.name, "subfolder": subfolder, "type": key.folder.name()});
    if life.profile >= Profile::V0_40
        && let Value::Object(answer) = &mut answer
    {
        let asset = json!({"id": uuid::Uuid::new_v4(), "name": key.name, "size": size, "tags": [key.folder.name()]});
        answer.insert("asset".to_owned(), asset);
    }
    reply::ok_json(&answer)
}

pub(super) async fn image(State(life): State<Shared>, request: Request) -> Response {
    let form = match read_form(&life, request).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let (key, bytes) = match destination(&form) {
        Ok(found) => found,
        Err(status) => return refused(status),
    };
    let size = bytes.len();
    let file = Blob::from(bytes);
    let overwrite = form.texts.get("overwrite").is_some_and(|text| text == "true" || text == "1");
    let (key, write) = if overwrite { (key, true) } else { free_name(&life, key, &file) };
    if write {
        life.app.files.put(key.clone(), file);
    }
    stored(&life, &key, &form, size)
}

/// The alpha of the upload becomes the alpha of the original. When that fails the answer is 200 all the same.
pub(super) async fn mask(State(life): State<Shared>, request: Request) -> Response {
    let form = match read_form(&life, request).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let (key, bytes) = match destination(&form) {
        Ok(found) => found,
        Err(status) => return refused(status),
    };
    let original = form.texts.get("original_ref").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(original) = original else { return reply::server_error() };
    let text = |name: &str| original.get(name).and_then(Value::as_str);
    let folder = Folder::parse(text("type").unwrap_or("output"));
    let original = folder
        .zip(text("filename"))
        .map(|(folder, name)| FileKey::new(folder, text("subfolder").unwrap_or_default(), name));
    let merged = original.and_then(|original| merge_alpha(&life, &original, &bytes));
    let size = bytes.len();
    if let Some(file) = merged {
        life.app.files.put(key.clone(), file);
    }
    stored(&life, &key, &form, size)
}

fn merge_alpha(life: &Life, original: &FileKey, mask: &[u8]) -> Option<Blob> {
    let stored = life.app.files.get(original)?;
    let mut picture = image::load_from_memory(&stored.blob.to_bytes()).ok()?.to_rgba8();
    let (width, height) = picture.dimensions();
    let mask = image::load_from_memory(mask).ok()?.to_rgba8();
    let mask = imageops::resize(&mask, width, height, FilterType::Triangle);
    for (pixel, mask) in picture.pixels_mut().zip(mask.pixels()) {
        pixel.0[3] = mask.0[3];
    }
    picture::png(&picture, true, &PngExtras::default()).ok()
}
