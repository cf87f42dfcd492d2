//! `openapi`: prints the document that a running gateway serves at `/openapi.json`. Needs no settings.

use crate::cli::Setting;
use crate::exit::Failure;

/// Prints it, laid out for people, or in one line for scripts.
pub(crate) fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let text = gateway_api::openapi();
    setting.output.say(&text);
    setting.output.json(&serde_json::from_str(&text).map_err(Failure::failed)?);
    Ok(())
}
