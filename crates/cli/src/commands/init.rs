//! `init`: what a new installation needs.

use std::path::Path;

use gateway_config::{Overrides, StorageBackend};
use gateway_db::DbError;
use serde_json::json;

use crate::cli::Setting;
use crate::exit::Failure;
use crate::gateway::register_bundled;
use crate::stores::open_beside;

/// Makes folders, `.env` and the bundled workflows; says what it made; overwrites nothing.
pub(crate) async fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let (mut made, mut kept) = (Vec::new(), Vec::new());
    let mut note = |name: String, new: bool| if new { made.push(name) } else { kept.push(name) };
    let env_file = setting.env_file();
    note(env_file.display().to_string(), write_new(env_file)?);
    let settings = setting.load(&Overrides::default())?;
    if let StorageBackend::Local { root } = &settings.storage.backend {
        note(root.display().to_string(), make_folder(root)?);
    }
    let new = settings.database.file().is_some_and(|path| !path.exists());
    let database = match open_beside(&settings).await {
        Ok(database) => Some(database),
        // A gateway that runs has it open, and it is there.
        Err(DbError::InUse { .. }) => None,
        Err(error) => return Err(Failure::failed(error)),
    };
    note(settings.database.shown(), new);
    match database {
        Some(database) => {
            let registered = register_bundled(&database).await.map_err(Failure::failed)?;
            for workflow in gateway_core::workflow::bundled() {
                note(format!("workflow {}", workflow.id), registered.contains(&workflow.id));
            }
        }
        None => setting.output.note("a gateway runs on this database: its workflows are left as they are"),
    }
    for name in &made {
        setting.output.say(format!("made   {name}"));
    }
    for name in &kept {
        setting.output.say(format!("kept   {name} (it was there)"));
    }
    setting.output.say("next:  comfyui-gateway health   (is ComfyUI reachable?)\n       comfyui-gateway run");
    setting.output.json(&json!({"made": made, "kept": kept}));
    Ok(())
}

/// Writes the example settings, unless the file is there.
fn write_new(path: &Path) -> Result<bool, Failure> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| Failure::failed(format!("{} can't be written: {error}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    // It is where secrets are written.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(mut file) => file.write_all(gateway_config::env_example().as_bytes()).map(|()| true).map_err(failed),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn make_folder(path: &Path) -> Result<bool, Failure> {
    let new = !path.is_dir();
    std::fs::create_dir_all(path)
        .map_err(|error| Failure::failed(format!("{} can't be made: {error}", path.display())))?;
    Ok(new)
}
