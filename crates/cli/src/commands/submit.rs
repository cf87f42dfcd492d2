//! `submit`: one job to a running gateway.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use gateway_config::Overrides;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::cli::{Setting, Submit};
use crate::exit::Failure;
use crate::http::Remote;
use crate::output::Output;

const POLL: Duration = Duration::from_millis(200);
/// How long a gateway that went away is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Submits, and where asked waits, shows progress and downloads.
pub(crate) async fn run(setting: &Setting<'_>, args: Submit) -> Result<(), Failure> {
    let settings = setting.load(&Overrides::default())?;
    let remote = match &args.gateway {
        Some(url) => Remote::new(url)?.with_key(&settings),
        None => Remote::local(&settings)?,
    };
    let mut body = json!({"workflowId": args.workflow, "inputs": inputs(&args.inputs)?});
    if let (Some(priority), Some(object)) = (&args.priority, body.as_object_mut()) {
        object.insert(String::from("priority"), value_of(priority));
    }
    if let Some(folder) = &args.out {
        make_folder(folder).await?;
    }
    let answer = remote.send(Method::POST, "/jobs", Some(&body)).await.map_err(|error| hint(error, &args.inputs))?;
    let id = text(&answer, "jobId").to_owned();
    if !args.wait && args.out.is_none() {
        setting.output.say(format!("queued {id}\nfollow it: {}/jobs/{id}", remote.base()));
        setting.output.json(&answer);
        return Ok(());
    }
    setting.output.say(format!("queued {id}"));
    let job = follow(&remote, &id, setting.output).await?;
    let files = match &args.out {
        Some(folder) => download(&remote, &job, folder).await,
        None => Ok(Vec::new()),
    };
    setting.output.json(&job);
    conclude(&remote, &job, &files?, setting.output)
}

/// `key=value` pairs: what reads as JSON is JSON, else text.
fn inputs(pairs: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut inputs = Map::new();
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Failure::usage(format!("`{pair}` is not KEY=VALUE, such as steps=20")))?;
        if inputs.insert(key.to_owned(), value_of(value)).is_some() {
            return Err(Failure::usage(format!("`{key}` is given twice")));
        }
    }
    Ok(inputs)
}

/// A text such as `true` or `123` was taken for JSON: says how to write it.
fn hint(error: Failure, pairs: &[String]) -> Failure {
    if !error.to_string().contains("must be a string") {
        return error;
    }
    let taken = pairs.iter().filter_map(|pair| pair.split_once('=')).find(|(_, value)| !value_of(value).is_string());
    match taken {
        Some((key, value)) => error.adding(format!("a text that reads as JSON needs quotes: '{key}=\"{value}\"'")),
        None => error,
    }
}

fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_text| Value::from(text))
}

/// Follows a job to its end with a progress bar, or with lines where there is no terminal.
pub(crate) async fn follow(remote: &Remote, id: &str, output: Output) -> Result<Value, Failure> {
    let bar = bar(output);
    let mut last = String::new();
    let mut heard = Instant::now();
    loop {
        let job = match remote.get(&format!("/jobs/{id}")).await {
            Ok(job) => job,
            // A gateway that is restarted goes on with the job.
            Err(error) if error.is_unreachable() && heard.elapsed() < PATIENCE => {
                bar.set_message("the gateway does not answer; waiting for it");
                tokio::time::sleep(POLL).await;
                continue;
            }
            Err(error) => {
                bar.finish_and_clear();
                return Err(error.adding(format!("the job goes on: {}/jobs/{id}", remote.base())));
            }
        };
        heard = Instant::now();
        let (percent, line) = describe(&job);
        bar.set_position(percent);
        bar.set_message(line.clone());
        if bar.is_hidden() && line != last && !output.is_json() {
            output.note(format!("{percent:>3}%  {line}"));
        }
        last = line;
        if matches!(text(&job, "status"), "succeeded" | "failed" | "canceled") {
            bar.finish_and_clear();
            return Ok(job);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A bar on a terminal where a person reads; else a hidden one.
pub(crate) fn bar(output: Output) -> ProgressBar {
    if output.is_json() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(100);
    if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/blue} {pos:>3}%  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Percent, and a line: node, step, time left.
fn describe(job: &Value) -> (u64, String) {
    let number = |name: &str| job.pointer(&format!("/progress/{name}")).and_then(Value::as_u64);
    let title = job.pointer("/progress/nodeTitle").and_then(Value::as_str);
    let mut line = match text(job, "status") {
        "queued" => match job.get("position").and_then(Value::as_u64) {
            Some(position) => format!("waiting, place {position}"),
            None => String::from("waiting"),
        },
        "running" => title.unwrap_or("starting").to_owned(),
        ended => ended.to_owned(),
    };
    if let (Some(step), Some(steps)) = (number("step"), number("steps")) {
        line.push_str(&format!(", step {step} of {steps}"));
    }
    if let Some(eta) = number("etaSeconds") {
        line.push_str(&format!(", about {eta} s left"));
    }
    (number("percent").unwrap_or(0), line)
}

/// Makes the folder for the outputs and tries whether it can be written, before anything is run for it.
async fn make_folder(folder: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::failed(format!("--out: {} can't be written: {error}", folder.display()));
    tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    tokio::fs::write(&probe, b"").await.map_err(failed)?;
    tokio::fs::remove_file(&probe).await.map_err(failed)
}

async fn download(remote: &Remote, job: &Value, folder: &Path) -> Result<Vec<String>, Failure> {
    let mut files = Vec::new();
    let id = text(job, "jobId");
    for output in job.get("outputs").and_then(Value::as_array).into_iter().flatten() {
        let target = folder.join(format!("{id}-{}", text(output, "file")));
        remote.download(text(output, "url"), &target).await?;
        files.push(target.display().to_string());
    }
    Ok(files)
}

/// Says how the job ended; fails where it did not succeed.
pub(crate) fn conclude(remote: &Remote, job: &Value, files: &[String], output: Output) -> Result<(), Failure> {
    let status = text(job, "status");
    if status != "succeeded" {
        let part = |name: &str| job.pointer(&format!("/error/{name}")).and_then(Value::as_str);
        let mut message = match status {
            "canceled" => String::from("the job was canceled"),
            status => format!("the job {status}"),
        };
        if let (Some(code), Some(text)) = (part("code"), part("message")) {
            message = format!("the job {status}: {code}: {text}");
        }
        if let Some(recommendation) = part("recommendation") {
            message.push_str(&format!("\n  {recommendation}"));
        }
        return Err(Failure::job(message));
    }
    output.say("succeeded");
    for item in job.get("outputs").and_then(Value::as_array).into_iter().flatten() {
        output.say(format!(
            "  {}{}  ({} bytes)",
            remote.base(),
            text(item, "url"),
            item.get("size").unwrap_or(&Value::Null)
        ));
    }
    for file in files {
        output.say(format!("  saved {file}"));
    }
    Ok(())
}

/// The string `name` of `value`; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_as_json_is_json_and_all_else_is_text() {
        let pairs = ["steps=20", "prompt=a fox = nice", "flag=true", "name=\"20\"", "empty="].map(String::from);
        let inputs = inputs(&pairs).ok().unwrap();
        assert_eq!(
            Value::Object(inputs),
            json!({"steps": 20, "prompt": "a fox = nice", "flag": true, "name": "20", "empty": ""})
        );
    }

    #[test]
    fn a_pair_without_a_key_or_given_twice_is_refused() {
        for bad in [&["steps"][..], &["=1"], &["a=1", "a=2"]] {
            let pairs: Vec<String> = bad.iter().map(|pair| (*pair).to_owned()).collect();
            assert!(inputs(&pairs).is_err(), "{bad:?}");
        }
    }
}
