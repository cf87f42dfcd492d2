//! Talks to a running gateway, as any client would.

use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use gateway_config::Settings;
use gateway_db::DbError;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::exit::Failure;

/// What the answer's own advice means for a command.
const KEY_ADVICE: &str = "commands show the key that GATEWAY_API_KEY has";

/// A gateway at a URL.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    client: Client,
    base: String,
    key: Option<SecretString>,
}

impl Remote {
    pub(crate) fn new(base: &str) -> Result<Self, Failure> {
        let is_http = Url::parse(base).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_http {
            let example = "such as http://127.0.0.1:3000";
            return Err(Failure::usage(format!("`{base}` is not the URL of a gateway, {example}")));
        }
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key: None })
    }

    /// The same, showing the key that these settings name.
    #[must_use]
    pub(crate) fn with_key(self, settings: &Settings) -> Self {
        Self { key: settings.access.client_key.clone(), ..self }
    }

    /// The same, showing this key.
    #[must_use]
    pub(crate) fn with_secret(self, key: SecretString) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The gateway that these settings would start on this machine.
    pub(crate) fn local(settings: &Settings) -> Result<Self, Failure> {
        let host = match settings.http.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
        let scheme = if settings.access.tls.is_some() { "https" } else { "http" };
        Ok(Self::new(&format!("{scheme}://{host}:{}", settings.http.port))?.with_key(settings))
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a request; an error answer becomes a failure with the gateway's own words.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        self.read(self.request(method, path, body).await?).await
    }

    /// The answer; or how long to wait, where the gateway says that it was asked too often.
    pub(crate) async fn get_or_wait(&self, path: &str) -> Result<Result<Value, Duration>, Failure> {
        let response = self.request(Method::GET, path, None).await?;
        match wait_of(&response) {
            Some(wait) => Ok(Err(wait)),
            None => self.read(response).await.map(Ok),
        }
    }

    async fn read(&self, response: Response) -> Result<Value, Failure> {
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let failure = Failure::failed(explain(status.as_u16(), &value));
        Err(if status == StatusCode::UNAUTHORIZED { failure.adding(KEY_ADVICE) } else { failure })
    }

    /// The status of a request, and its answer.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Failure> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("x-api-key", key.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// Downloads `path` into `target`, streaming.
    pub(crate) async fn download(&self, path: &str, target: &Path) -> Result<(), Failure> {
        let mut response = self.request(Method::GET, path, None).await?;
        if !response.status().is_success() {
            return Err(Failure::failed(format!("{path} can't be downloaded: {}", response.status())));
        }
        let write = |error: std::io::Error| Failure::failed(format!("{}: {error}", target.display()));
        let mut file = tokio::fs::File::create(target).await.map_err(write)?;
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            file.write_all(&chunk).await.map_err(write)?;
        }
        file.flush().await.map_err(write)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let cause = if error.is_connect() { "is it running? (comfyui-gateway run)" } else { "it broke off" };
        Failure::unreachable(format!("the gateway at {} can't be reached: {cause}", self.base))
    }
}

/// What `Retry-After` says of an answer that there were too many requests.
fn wait_of(response: &Response) -> Option<Duration> {
    let later = (response.status() == StatusCode::TOO_MANY_REQUESTS).then(|| response.headers().get(RETRY_AFTER))?;
    let seconds: u64 = later?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.max(1)))
}

/// A problem response in one or more lines.
fn explain(status: u16, problem: &Value) -> String {
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    let (Some(code), Some(detail)) = (text("code"), text("detail")) else {
        return format!("what answered is no gateway (status {status}): is the URL right?");
    };
    let faults = problem.get("errors").and_then(Value::as_array).filter(|faults| !faults.is_empty());
    let mut lines = vec![match faults {
        Some(_) => format!("{code} ({status}):"),
        None => format!("{code} ({status}): {detail}"),
    }];
    for fault in faults.into_iter().flatten() {
        let part = |name: &str| fault.get(name).and_then(Value::as_str).unwrap_or_default();
        lines.push(format!("  {}: {}", part("path"), part("message")));
    }
    if let Some(recommendation) = text("recommendation") {
        lines.push(format!("  {recommendation}"));
    }
    lines.join("\n")
}

/// The database is `held` by a gateway that does not answer where the settings say: it was told another port.
pub(crate) fn elsewhere<'a>(error: Failure, held: impl Into<Option<&'a DbError>>) -> Failure {
    let held: Option<&DbError> = held.into();
    let Some(DbError::InUse { pid: Some(pid), .. }) = held else { return error };
    if !error.is_unreachable() {
        return error;
    }
    error.adding(format!("process {pid} holds the database: name its address with --gateway URL"))
}
