//! The command line: what there is, in which words. Flags that change a setting have no default of their own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gateway_config::{Overrides, Settings};
use gateway_core::access::MAX_WEIGHT;
use gateway_core::audit::KeptHead;

use crate::commands;
use crate::exit::Failure;
use crate::output::Output;

/// A secure, durable REST service in front of ComfyUI.
///
/// Settings come from the environment and from .env; see .env.example.
///
/// Exit codes: 0 done, 1 it failed, 2 wrong usage or configuration, 3 the job did not succeed, 4 something that is
/// needed can't be reached.
#[derive(Debug, Parser)]
#[command(name = "comfyui-gateway", version, max_term_width = 100)]
pub struct Cli {
    /// Write results as JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    /// The file with settings; by default .env, where that is there.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make folders, .env and register the bundled workflows; overwrites nothing.
    Init,
    /// Register a workflow: through the running gateway, or straight into the database.
    AddWorkflow(AddWorkflow),
    /// List the registered workflows.
    ListWorkflows(ListWorkflows),
    /// Start the gateway: the API, and without REDIS_URL a worker in the same process.
    Run(RunArgs),
    /// Start a worker alone: takes jobs from the queue in Redis (REDIS_URL) for its ComfyUI servers.
    Worker,
    /// Say what is reachable, and the likely cause where something isn't.
    Health,
    /// Look for what is wrong or dangerous, and say what to do about each.
    ///
    /// Looks at settings, database, Redis, storage, ComfyUI, workflows, webhooks and clocks. Changes nothing but a small
    /// object in the storage, which it removes again, and may run beside a gateway.
    ///
    /// Exit codes: 0 nothing worse than a warning, 1 an error (with --strict a warning, too), 2 the configuration can't
    /// be used, 4 something that is needed can't be reached.
    Doctor(Doctor),
    /// Make, list and revoke keys of callers.
    Keys(Keys),
    /// Look after the audit log.
    Audit(Audit),
    /// Print the OpenAPI document of the API.
    Openapi,
    /// Submit a job to a running gateway.
    Submit(Submit),
    /// Offer a running gateway's workflows to an agent as tools (MCP, over standard input and output).
    ///
    /// A client such as Claude Desktop starts it. The key is that of GATEWAY_API_KEY, or in the file that --api-key-file names.
    Mcp(Mcp),
    /// Start a simulated ComfyUI that needs no GPU.
    Sim(Sim),
    /// Make one picture, show how, then keep serving.
    Demo(Demo),
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Port to serve on (PORT).
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Address to bind (HOST).
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Work the queue in this process, too; always so without REDIS_URL.
    #[arg(long)]
    pub(crate) with_worker: bool,
}

/// Flags of `add-workflow`.
#[derive(Debug, Args)]
pub(crate) struct AddWorkflow {
    /// The graph in ComfyUI's API format (Workflow menu, Export (API)).
    pub(crate) file: PathBuf,
    /// Its id: 1 to 64 of a-z, 0-9, _ and -; by default the file's name.
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Its name for people.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it is for.
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// JSON Schema of its inputs; derived from the placeholders where none is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Output nodes, where not all that save something count.
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub(crate) outputs: Vec<String>,
    /// Replace a workflow of the same id by a new version.
    #[arg(long)]
    pub(crate) replace: bool,
    /// The gateway to register it with; by default whoever holds the database.
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,
}

/// Flags of `list-workflows`.
#[derive(Debug, Args)]
pub(crate) struct ListWorkflows {
    /// The gateway to ask; by default whoever holds the database.
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Send a test message (gateway.test) to this URL, signed and guarded as webhooks are.
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Look at what `comfyui-gateway worker` needs: not at who may call.
    #[arg(long)]
    pub(crate) worker: bool,
    /// End with 1 where there are warnings, too.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Flags of `keys`.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
    /// The gateway whose keys they are; by default whoever holds the database.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) gateway: Option<String>,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; it is shown this once.
    Create(CreateKey),
    /// List the keys of the database.
    List,
    /// Revoke a key: within a second no replica takes it any more.
    Revoke {
        /// Its id, as `keys list` shows it.
        id: String,
    },
}

/// Flags of `keys create`.
#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// Whose jobs it makes; keys of the same name share them.
    #[arg(long)]
    pub(crate) name: String,
    /// admin or user.
    #[arg(long, default_value = "user")]
    pub(crate) role: String,
    /// Days after which it ends; never without this.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) expires_days: Option<u16>,
    /// Requests in each window (RATE_LIMIT_WINDOW_MS), in place of RATE_LIMIT_MAX.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate_limit: Option<u32>,
    /// Jobs that may wait, in place of OWNER_QUEUE_LIMIT.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) queue_limit: Option<u32>,
    /// Jobs that may run at once, in place of OWNER_RUNNING_LIMIT.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) running_limit: Option<u32>,
    /// How much its owner gets where others wait, too: 3 is three times as much as 1, which all others get.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_WEIGHT)))]
    pub(crate) weight: Option<u32>,
    /// A workflow that it may run, and no other; may be given several times.
    #[arg(long)]
    pub(crate) workflow: Vec<String>,
    /// Let it run graphs that are not registered (with ALLOW_RAW_WORKFLOWS).
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Flags of `audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: AuditCommand,
    /// The gateway whose log it is; by default whoever holds the database.
    #[arg(long, global = true, value_name = "URL")]
    gateway: Option<String>,
}

/// What can be done with the audit log.
#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that no entry was changed or removed; names the first that was.
    Verify {
        /// Also that the log still leads over this head, which an earlier check told: its end was not cut off.
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<KeptHead>,
    },
}

/// Flags of `submit`.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The workflow's id.
    pub(crate) workflow: String,
    /// Inputs: key=value. What reads as JSON is JSON (steps=20); prompt="a fox" is text.
    #[arg(value_name = "KEY=VALUE")]
    pub(crate) inputs: Vec<String>,
    /// Wait for the end and show progress.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Download the outputs into this folder (implies --wait).
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// low, normal, high, or 0 to 9.
    #[arg(long)]
    pub(crate) priority: Option<String>,
    /// The gateway; by default the one of HOST and PORT on this machine.
    #[arg(long, value_name = "URL")]
    pub(crate) gateway: Option<String>,
}

/// Flags of `mcp`.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// The gateway; by default the one of HOST and PORT on this machine.
    #[arg(long, value_name = "URL", alias = "url")]
    pub(crate) gateway: Option<String>,
    /// A file that holds the key to show, in place of GATEWAY_API_KEY.
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
}

/// Flags of `sim`.
#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8188)]
    pub(crate) port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: std::net::IpAddr,
    /// The ComfyUI version to behave as: 0.3.40, 0.3.64, 0.3.70, 2026-01, 0.26 or 0.40.
    #[arg(long, default_value = "0.3.64")]
    pub(crate) profile: comfyui_sim::Profile,
    /// Milliseconds that each node takes.
    #[arg(long, default_value_t = 20)]
    pub(crate) node_ms: u64,
    /// Milliseconds that each sampling step takes.
    #[arg(long, default_value_t = 50)]
    pub(crate) step_ms: u64,
    /// Milliseconds that the first load of a checkpoint takes.
    #[arg(long, default_value_t = 500)]
    pub(crate) load_ms: u64,
    /// Run out of memory above this many pixels (width x height x batch).
    #[arg(long, value_name = "PIXELS")]
    pub(crate) memory_limit: Option<u64>,
    /// Further switches as JSON; change them while it runs with PATCH /sim/switches.
    #[arg(long, value_name = "JSON")]
    pub(crate) switches: Option<String>,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End after the picture, with exit code 0 only if it was made.
    #[arg(long)]
    pub(crate) once: bool,
    /// Port to serve on (PORT).
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// What to make a picture of.
    #[arg(long, default_value = "a red fox in fresh snow, golden hour")]
    pub(crate) prompt: String,
}

/// What every command needs.
pub(crate) struct Setting<'a> {
    pub(crate) output: Output,
    env_file: &'a Path,
}

impl Setting<'_> {
    /// The settings, with what the command line adds.
    pub(crate) fn load(&self, overrides: &Overrides) -> Result<Settings, Failure> {
        gateway_config::load(self.env_file, overrides).map_err(Failure::usage)
    }

    pub(crate) fn env_file(&self) -> &Path {
        self.env_file
    }
}

impl Cli {
    /// The command line of this process; the exit code to end with where it makes no sense or only asked for help.
    ///
    /// # Errors
    /// The exit code, once all that there is to say was said.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            let json = std::env::args_os().any(|argument| argument == "--json");
            if json && error.use_stderr() {
                let text = error.render().to_string();
                Output::new(true).fail(text.trim_start_matches("error: ").trim_end());
            } else {
                // Nobody is there to read it.
                let _ = error.print();
            }
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        })
    }

    /// Runs the command.
    pub async fn run(self) -> ExitCode {
        // Two crates bring a TLS provider each; without a choice the first secure connection would panic.
        if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was chosen before");
        }
        let output = Output::new(self.json);
        let env_file = self.env_file.as_deref().unwrap_or(Path::new(".env"));
        let setting = Setting { output, env_file };
        let missing = self.env_file.as_deref().filter(|path| !path.exists());
        if let Some(path) = missing.filter(|_| !matches!(self.command, Command::Init)) {
            let failure = Failure::usage(format!("--env-file: there is no {}", path.display()));
            output.fail(&failure);
            return failure.code();
        }
        if !matches!(self.command, Command::Submit(_)) {
            keep_private();
        }
        let result = match self.command {
            Command::Init => commands::init::run(&setting).await,
            Command::AddWorkflow(args) => commands::add_workflow::run(&setting, args).await,
            Command::ListWorkflows(args) => commands::list_workflows::run(&setting, args).await,
            Command::Run(args) => commands::run::run(&setting, args).await,
            Command::Worker => commands::worker::run(&setting).await,
            Command::Health => commands::health::run(&setting).await,
            Command::Doctor(args) => commands::doctor::run(&setting, args).await,
            Command::Keys(args) => commands::keys::run(&setting, args).await,
            Command::Audit(Audit { command: AuditCommand::Verify { head }, gateway }) => {
                commands::audit::verify(&setting, gateway.as_deref(), head).await
            }
            Command::Openapi => commands::openapi::run(&setting),
            Command::Submit(args) => commands::submit::run(&setting, args).await,
            Command::Mcp(args) => commands::mcp::run(&setting, args).await,
            Command::Sim(args) => commands::sim::run(&setting, args).await,
            Command::Demo(args) => commands::demo::run(&setting, args).await,
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                if !failure.is_told() {
                    output.fail(&failure);
                }
                failure.code()
            }
        }
    }
}

/// What is written from here on, only this user may read: the database holds prompts, and pictures are somebody's.
fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// The process can't even begin: says why.
pub fn no_runtime(error: &std::io::Error) -> ExitCode {
    let failure = Failure::failed(format!("no threads can be started: {error}"));
    Output::new(false).fail(&failure);
    failure.code()
}
