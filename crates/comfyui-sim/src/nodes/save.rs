//! Output nodes: names, files and what `executed` says about them.

use image::DynamicImage;
use serde_json::{Value, json};

use super::value::{Datum, Pictures};
use super::{Job, Made, NodeError};
use crate::blob::Blob;
use crate::clock::Civil;
use crate::config::Profile;
use crate::files::{FileKey, Folder};
use crate::picture::{self, PngExtras};
use crate::pyjson;
use crate::switches::HostileFilenames;
use crate::sync::Random;

/// Where a node writes.
struct Target {
    folder: Folder,
    subfolder: String,
    prefix: String,
}

pub(super) fn run(job: &Job) -> Result<Made, NodeError> {
    match job.definition.class.as_str() {
        "SaveImage" | "PreviewImage" => save_pictures(job),
        "SaveImageWebsocket" => send_pictures(job),
        "SaveAnimatedWEBP" | "SaveAnimatedPNG" => save_animation(job),
        "PreviewAny" => {
            let text = match job.datum("source")? {
                Datum::Plain(value) => pyjson::py_str(value),
                other => format!("<{} object>", other.type_name().unwrap_or("object")),
            };
            Ok(shown([("text", json!([text]))]))
        }
        "SaveWEBM" => save_other(job, "webm", "images", &WEBM),
        "SaveVideo" => save_other(job, "mp4", "images", b"\0\0\0\x18ftypisom\0\0\0\0isomiso2\0\0\0\x08mdat"),
        "SaveAudioMP3" => save_other(job, "mp3", "audio", b"ID3\x04\0\0\0\0\0\0"),
        "SaveGLB" => save_other(job, "glb", "3d", b"glTF\x02\0\0\0\x28\0\0\0\x14\0\0\0JSON{\"asset\":{}}    "),
        _ => save_other(job, "flac", "audio", b"fLaC\x80\0\0\0"),
    }
}

fn shown<const N: usize>(fields: [(&str, Value); N]) -> Made {
    let ui = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Made { ui: Some(ui), ..Made::default() }
}

fn failed(error: &dyn std::error::Error) -> NodeError {
    NodeError::new("OSError", &error.to_string())
}

fn save_pictures(job: &Job) -> Result<Made, NodeError> {
    let pictures = job.image("images")?;
    let target = target(job, pictures.size())?;
    let extras = extras(job);
    let count = u32::try_from(pictures.frames.len()).unwrap_or(u32::MAX);
    let first = job.shop.files.reserve(target.folder, &target.subfolder, &target.prefix, count);
    let mut entries = Vec::with_capacity(pictures.frames.len());
    for (number, frame) in (0..).zip(&pictures.frames) {
        let file = picture::png(frame, pictures.alpha, &extras).map_err(|error| failed(&error))?;
        let prefix = target.prefix.replace("%batch_num%", &number.to_string());
        let name = format!("{prefix}_{:05}_.png", first + number);
        entries.push(store(job, &target, &name, file, Some(pictures)));
    }
    Ok(shown([("images", Value::from(entries))]))
}

fn send_pictures(job: &Job) -> Result<Made, NodeError> {
    let pictures = job.image("images")?;
    let mut frames = Vec::with_capacity(pictures.frames.len());
    for frame in &pictures.frames {
        let file = picture::png(frame, pictures.alpha, &PngExtras::default()).map_err(|error| failed(&error))?;
        frames.push(file.to_bytes());
    }
    Ok(Made { frames, ..Made::default() })
}

fn save_animation(job: &Job) -> Result<Made, NodeError> {
    let pictures = job.image("images")?;
    let target = target(job, pictures.size())?;
    let frame = pictures.frames.first().cloned().unwrap_or_default();
    let (ending, file) = if job.definition.class == "SaveAnimatedPNG" {
        let extras = PngExtras { own_chunks: true, ..extras(job) };
        ("png", picture::png(&frame, pictures.alpha, &extras).map_err(|error| failed(&error))?)
    } else {
        let file = picture::webp(&DynamicImage::ImageRgba8(frame)).map_err(|error| failed(&error))?;
        ("webp", file.into())
    };
    let entry = store_numbered(job, &target, ending, file);
    Ok(shown([("images", json!([entry])), ("animated", json!([pictures.frames.len() != 1]))]))
}

/// A file with the first bytes of its format and nothing in it.
fn save_other(job: &Job, ending: &str, key: &'static str, bytes: &'static [u8]) -> Result<Made, NodeError> {
    let target = target(job, (0, 0))?;
    let entry = store_numbered(job, &target, ending, bytes::Bytes::from_static(bytes).into());
    let mut made = shown([(key, json!([entry]))]);
    if key == "images"
        && let Some(ui) = &mut made.ui
    {
        ui.insert("animated".to_owned(), json!([true]));
    }
    Ok(made)
}

fn store_numbered(job: &Job, target: &Target, ending: &str, file: Blob) -> Value {
    let number = job.shop.files.reserve(target.folder, &target.subfolder, &target.prefix, 1);
    store(job, target, &format!("{}_{number:05}_.{ending}", target.prefix), file, None)
}

fn store(job: &Job, target: &Target, name: &str, file: Blob, pictures: Option<&Pictures>) -> Value {
    let name = hostile(job.shop.switches.hostile_filenames, name);
    job.shop.files.put(FileKey::new(target.folder, &target.subfolder, &name), file);
    let mut entry = json!({"filename": name, "subfolder": target.subfolder, "type": target.folder.name()});
    if job.shop.profile >= Profile::V0_40
        && let Value::Object(entry) = &mut entry
    {
        let (width, height) = pictures.map_or((0, 0), Pictures::size);
        let kind = if pictures.is_some() { "image" } else { "file" };
        entry.insert("metadata".to_owned(), json!({"kind": kind, "width": width, "height": height}));
        entry.insert("id".to_owned(), json!(uuid::Uuid::new_v4()));
    }
    entry
}

fn hostile(style: HostileFilenames, name: &str) -> String {
    match style {
        HostileFilenames::None => name.to_owned(),
        HostileFilenames::Traversal => "../../etc/passwd.png".to_owned(),
        HostileFilenames::Nul => format!("a\0{name}"),
        HostileFilenames::Long => format!("{}{name}", "x".repeat(300 - name.len().min(300))),
        HostileFilenames::Rtl => format!("{}\u{202E}gnp.exe", name.trim_end_matches(".png")),
        HostileFilenames::Absolute => "/etc/passwd.png".to_owned(),
        HostileFilenames::Duplicate => "same_00001_.png".to_owned(),
    }
}

fn target(job: &Job, size: (u32, u32)) -> Result<Target, NodeError> {
    let class = job.definition.class.as_str();
    let temporary = class.starts_with("Preview");
    let folder = if temporary { Folder::Temp } else { Folder::Output };
    let mut prefix = match job.plain("filename_prefix") {
        Some(value) => expanded(&pyjson::py_str(value), size),
        None => "ComfyUI".to_owned(),
    };
    if temporary {
        let mut random = Random::new(job.shop.seed);
        // ComfyUI's own list of letters, with its slip.
        let letters = "abcdefghijklmnopqrstupvxyz";
        let drawn = (0..5).filter_map(|_| {
            let place = usize::try_from(random.below(letters.len() as u64)).ok()?;
            letters.chars().nth(place)
        });
        prefix = format!("{prefix}_temp_{}", drawn.collect::<String>());
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." if parts.pop().is_some() => {}
            ".." => return Err(outside(&prefix)),
            part => parts.push(part),
        }
    }
    if prefix.starts_with('/') {
        return Err(outside(&prefix));
    }
    let name = if prefix.ends_with('/') { "" } else { parts.pop().unwrap_or_default() };
    Ok(Target { folder, subfolder: parts.join("/"), prefix: name.to_owned() })
}

fn outside(prefix: &str) -> NodeError {
    let message = format!(
        "**** ERROR: Saving image outside the output folder is not allowed.\n full_output_folder: /comfyui/output/{prefix}\n         output_dir: /comfyui/output\n         commonpath: /comfyui"
    );
    NodeError::new("Exception", &message)
}

fn expanded(prefix: &str, size: (u32, u32)) -> String {
    if !prefix.contains('%') {
        return prefix.to_owned();
    }
    let now = Civil::from(std::time::SystemTime::now());
    let values = [
        ("%width%", size.0.to_string()),
        ("%height%", size.1.to_string()),
        ("%year%", now.year.to_string()),
        ("%month%", format!("{:02}", now.month)),
        ("%day%", format!("{:02}", now.day)),
        ("%hour%", format!("{:02}", now.hour)),
        ("%minute%", format!("{:02}", now.minute)),
        ("%second%", format!("{:02}", now.second)),
    ];
    values.iter().fold(prefix.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// The texts of a PNG: the prompt, and each key of `extra_pnginfo`.
fn extras(job: &Job) -> PngExtras {
    let mut texts = Vec::new();
    if !job.shop.switches.disable_metadata {
        texts.push(("prompt".to_owned(), pyjson::to_string(&job.shop.prompt)));
        let info = job.shop.extra.get("extra_pnginfo").and_then(Value::as_object);
        texts.extend(info.into_iter().flatten().filter(|(key, _)| (1..80).contains(&key.len())).map(text_chunk));
    }
    let at_least = usize::try_from(job.shop.switches.output_bytes).unwrap_or(usize::MAX);
    PngExtras { texts, own_chunks: false, at_least }
}

fn text_chunk((key, value): (&String, &Value)) -> (String, String) {
    (key.clone(), pyjson::to_string(value))
}

/// An EBML header that says WebM, and room after it: what tells contents by their first bytes wants some.
static WEBM: [u8; 512] = {
    let head = b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81\x01\x42\x82\x84webm";
    let mut bytes = [0; 512];
    let (start, _) = bytes.split_at_mut(head.len());
    start.copy_from_slice(head);
    bytes
};
