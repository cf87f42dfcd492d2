//! `worker`: a worker alone.

use gateway_config::Overrides;

use crate::cli::Setting;
use crate::exit::Failure;

/// Ends at once: without a queue that processes share, a worker alone would find no work.
pub(crate) fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    setting.load(&Overrides::default())?;
    Err(Failure::usage(
        "a worker alone needs a queue that processes share (REDIS_URL), and none is set; \
         `comfyui-gateway run` serves the API and works the queue in one process",
    ))
}
