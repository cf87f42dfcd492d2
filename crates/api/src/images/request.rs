//! What a request of the images API asks for, whether it came as JSON or as a form.

use gateway_core::Fault;
use gateway_media::Conversion;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::jobs::request::OutputWish;

/// Pictures that one request may ask for.
const MOST: u64 = 10;
/// Characters of a user's name.
const MAX_USER: usize = 255;
/// Fields of that API which a workflow may have a use for; where it has none they are passed over.
const HINTS: [&str; 4] = ["quality", "style", "moderation", "input_fidelity"];

/// What a caller asks for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) model: Option<String>,
    pub(super) prompt: String,
    pub(super) count: usize,
    /// Width and height in pixels; `None`: whatever the workflow makes.
    pub(super) size: Option<(u64, u64)>,
    /// Whether URLs are wanted, and not bytes.
    pub(super) links: bool,
    pub(super) output: OutputWish,
    pub(super) user: Option<String>,
    /// Inputs of the workflow which that API does not have; a workflow without them refuses them.
    pub(super) more: Map<String, Value>,
    /// The same, but a workflow without them passes them over.
    pub(super) hints: Map<String, Value>,
}

/// Reads the fields of a request.
pub(super) fn read(body: Map<String, Value>) -> Result<Wish, ApiError> {
    let mut wish = Wish { count: 1, ..Wish::default() };
    let mut links = None;
    let mut faults = Vec::new();
    for (field, value) in body.into_iter().filter(|(_, value)| !value.is_null()) {
        let read = match field.as_str() {
            "model" => text(value).map(|model| wish.model = Some(model)),
            "prompt" => text(value).map(|prompt| wish.prompt = prompt),
            "user" => short(value).map(|user| wish.user = Some(user)),
            "n" => number(&value, 1, MOST).map(|count| wish.count = usize::try_from(count).unwrap_or(1)),
            "size" => size(&value).map(|size| wish.size = size),
            "response_format" => one_of(&value, &["url", "b64_json"]).map(|format| links = Some(format == "url")),
            "output_format" => {
                one_of(&value, &["png", "jpeg", "webp"]).map(|format| wish.output.format = Some(format.to_owned()))
            }
            "output_compression" => {
                number(&value, 0, 100).map(|quality| wish.output.quality = u32::try_from(quality.max(1)).ok())
            }
            "background" => one_of(&value, &["auto", "opaque"]).map(|_| ()),
            "stream" if value == false || value == "false" => Ok(()),
            "stream" => Err(String::from("is not served here; watch a job with GET /jobs/{id}/events")),
            "partial_images" => number(&value, 0, 0).map(|_| ()),
            hint if HINTS.contains(&hint) => {
                wish.hints.insert(field.clone(), value);
                Ok(())
            }
            _ => {
                wish.more.insert(field.clone(), value);
                Ok(())
            }
        };
        if let Err(message) = read {
            faults.push(Fault::new(format!("/{field}"), message));
        }
    }
    if wish.prompt.is_empty() && !faults.iter().any(|fault| fault.path == "/prompt") {
        faults.push(Fault::new("/prompt", "is missing"));
    }
    let OutputWish { format, quality, .. } = &wish.output;
    if let Err(wrong) = Conversion::new(format.as_deref(), *quality, None, None) {
        faults.extend(wrong.into_iter().map(|(_, message)| Fault::new("/output_compression", message)));
    }
    // Models of that name have always answered with bytes, and refuse to be asked.
    let bytes = wish.model.as_deref().is_some_and(|model| model.starts_with("gpt-image"));
    wish.links = links.unwrap_or(!bytes);
    if faults.is_empty() { Ok(wish) } else { Err(ApiError::invalid(faults)) }
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(String::from("must be a string that is not empty")),
    }
}

/// What is kept as it is.
fn short(value: Value) -> Result<String, String> {
    let text = text(value)?;
    if text.chars().count() <= MAX_USER { Ok(text) } else { Err(format!("may have at most {MAX_USER} characters")) }
}

/// A number, which in a form is written as text.
fn number(value: &Value, least: u64, most: u64) -> Result<u64, String> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|number| (least..=most).contains(number)).ok_or_else(|| match least == most {
        true => format!("must be {least}"),
        false => format!("must be a whole number from {least} to {most}"),
    })
}

fn one_of<'a>(value: &Value, allowed: &[&'a str]) -> Result<&'a str, String> {
    let found = allowed.iter().find(|word| value.as_str() == Some(word));
    found.copied().ok_or_else(|| format!("must be one of {}", allowed.join(", ")))
}

fn size(value: &Value) -> Result<Option<(u64, u64)>, String> {
    let text = value.as_str().unwrap_or_default();
    if text == "auto" {
        return Ok(None);
    }
    let sides = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let sides = sides.filter(|(width, height): &(u64, u64)| *width > 0 && *height > 0);
    sides.map(Some).ok_or_else(|| String::from("must be auto, or width and height in pixels such as 1024x1024"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish(body: Value) -> Result<Wish, Vec<String>> {
        let paths = |error: ApiError| error.faults.into_iter().map(|fault| fault.path).collect();
        read(body.as_object().unwrap().clone()).map_err(paths)
    }

    #[test]
    fn a_request_is_read_from_json_and_from_a_form() {
        let given = wish(json!({
            "prompt": "a kite", "model": "sdxl", "n": 2, "size": "512x768", "response_format": "b64_json", "steps": 8,
            "output_format": "webp", "output_compression": 70, "quality": "high", "style": null,
        }));
        let given = given.unwrap();
        assert_eq!((given.count, given.size, given.links), (2, Some((512, 768)), false));
        assert_eq!((given.output.format.as_deref(), given.output.quality), (Some("webp"), Some(70)));
        assert_eq!(Value::Object(given.more), json!({"steps": 8}));
        assert_eq!(Value::Object(given.hints), json!({"quality": "high"}));
        let form = wish(json!({"prompt": "a kite", "n": "3", "size": "auto", "stream": "false"})).unwrap();
        assert_eq!((form.count, form.size, form.links), (3, None, true));
        assert!(!wish(json!({"prompt": "a kite", "model": "gpt-image-1"})).unwrap().links);
    }

    #[test]
    fn every_fault_is_named() {
        let wrong = json!({
            "model": 1, "n": 11, "size": "1024", "response_format": "gif", "output_format": "bmp", "stream": true,
            "background": "transparent", "partial_images": 2, "output_compression": 101,
        });
        let wanted = [
            "/model",
            "/n",
            "/size",
            "/response_format",
            "/output_format",
            "/stream",
            "/background",
            "/partial_images",
            "/output_compression",
            "/prompt",
        ];
        assert_eq!(wish(wrong).unwrap_err(), wanted);
        let user = "x".repeat(256);
        assert_eq!(wish(json!({"prompt": "a kite", "size": "0x5", "user": user})).unwrap_err(), ["/size", "/user"]);
    }
}
