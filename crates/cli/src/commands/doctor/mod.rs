//! `doctor`: looks for what is wrong or dangerous, and says what to do about each. Changes nothing but a small object
//! in the storage, which it removes again; takes no lock, and stands in no running gateway's way. Each look has its own
//! deadline, and none waits for another.

mod clocks;
mod comfyui;
mod configuration;
mod database;
mod disk;
mod finding;
mod gateway;
mod redis;
mod storage;
mod waiting;
mod webhooks;
mod workflows;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use gateway_config::{Overrides, Settings};

use self::clocks::Skew;
use self::finding::{Finding, Report};
use self::waiting::Waiting;
use crate::cli::{Doctor, Setting};
use crate::exit::Failure;

/// How long one look may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Looks at everything, and ends as badly as the worst of it.
pub(crate) async fn run(setting: &Setting<'_>, args: Doctor) -> Result<(), Failure> {
    let findings = match gateway_config::load(setting.env_file(), &Overrides::default()) {
        Ok(settings) => examine(setting, Arc::new(settings), &args).await,
        Err(error) => configuration::unusable(&error),
    };
    let report = Report::new(findings, args.strict);
    setting.output.json(&report.json());
    setting.output.say(report.text(std::io::stdout().is_terminal()));
    report.end()
}

async fn examine(setting: &Setting<'_>, settings: Arc<Settings>, args: &Doctor) -> Vec<Finding> {
    let waiting = Waiting::new(setting.output);
    let looks = async {
        tokio::join!(
            waiting.during("the database", database::look(&settings)),
            waiting.during("Redis", redis::look(&settings)),
            waiting.during("the storage", storage::look(&settings)),
            waiting.during("ComfyUI", comfyui::look(&settings)),
            waiting.during("webhooks", webhooks::look(&settings, args.webhook.as_deref())),
            waiting.during("the gateway", gateway::look(&settings)),
        )
    };
    let (database, redis, storage, servers, webhooks, gateway) = waiting.until(looks).await;
    let has_keys = database.content.as_ref().map(|content| content.has_keys);
    let works = args.worker || !comfyui::is_elsewhere(&settings);
    let mut findings = configuration::look(&settings, setting.env_file(), works);
    if !args.worker {
        findings.extend(configuration::access(&settings, has_keys));
    }
    findings.extend(database.findings);
    findings.extend(redis.0);
    findings.extend(storage.0);
    findings.extend(comfyui::findings(&servers, &settings));
    if !comfyui::is_elsewhere(&settings) {
        findings.extend(workflows::findings(database.content.as_ref(), &servers));
    }
    findings.extend(webhooks);
    let skews = [database.skew, redis.1, storage.1].into_iter().flatten();
    let skews: Vec<Skew> = skews.chain(servers.iter().filter_map(|server| server.skew.clone())).collect();
    findings.extend(clocks::findings(&skews));
    if !args.worker {
        findings.extend(gateway);
    }
    findings
}
