//! Talks to a running gateway, as any client would.

use std::error::Error;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use gateway_config::Settings;
use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::exit::Failure;

/// What the answer's own advice means for a command.
const KEY_ADVICE: &str = "commands show the key that GATEWAY_API_KEY has";

/// What to do about a certificate.
const TRUST_ADVICE: &str = "SSL_CERT_FILE=/path/to/authority.pem names the authority of its certificate, in \
                                      which HOST must stand; what speaks no TLS is reached with http://";

/// A gateway at a URL.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    client: Client,
    base: String,
    key: Option<SecretString>,
    /// Who holds the database for which this gateway is asked.
    holder: Option<String>,
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
            // The key is for this gateway, and would go wherever it leads.
            .redirect(Policy::none())
            .build()
            .map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key: None, holder: None })
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

    /// The same, asked for the database that the process `pid` holds.
    #[must_use]
    pub(crate) fn holding_database(self, pid: Option<String>) -> Self {
        Self { holder: pid, ..self }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(Method::GET, path, None).await
    }

    /// What the list at `path` holds.
    pub(crate) async fn items(&self, path: &str) -> Result<Vec<Value>, Failure> {
        items_of(&mut self.get(path).await?)
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
        match serde_json::from_slice(&bytes) {
            Ok(value) if status.is_success() => Ok(value),
            Err(_no_content) if status.is_success() && bytes.is_empty() => Ok(Value::Null),
            value => {
                let failure = Failure::failed(explain(status, &value.unwrap_or_default()));
                Err(if status == StatusCode::UNAUTHORIZED { failure.adding(KEY_ADVICE) } else { failure })
            }
        }
    }

    /// The status of a request, and its answer, which leads nowhere else.
    pub(crate) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Failure> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("x-api-key", key.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_redirection() { Err(self.leads_elsewhere(&response)) } else { Ok(response) }
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
        if error.is_connect() && self.base.starts_with("https://") && is_tls_trouble(error) {
            let message = format!("what listens at {} can't be trusted: {}", self.base, innermost(error));
            return Failure::failed(message).adding(TRUST_ADVICE);
        }
        let cause = if error.is_connect() { "is it running? (comfyui-gateway run)" } else { "it broke off" };
        let failure = Failure::unreachable(format!("the gateway at {} can't be reached: {cause}", self.base));
        match &self.holder {
            Some(pid) => {
                failure.adding(format!("process {pid} holds the database: name its address with --gateway URL"))
            }
            None => failure,
        }
    }

    /// A redirect. Of where it leads only the server is told: the rest may hold what is nobody's business.
    fn leads_elsewhere(&self, response: &Response) -> Failure {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let target = location.and_then(|location| Url::parse(&self.base).ok()?.join(location).ok());
        let target = target.map_or_else(|| String::from("another address"), |url| url.origin().ascii_serialization());
        let message = format!("{} leads to {target} (status {})", self.base, response.status().as_u16());
        let advice = "that is not followed, as the key would go there, too: if it is the gateway, name its address with \
                      --gateway URL";
        Failure::failed(message).adding(advice)
    }
}

/// Whether TLS is what began it all. What is told around that may name a host, and hosts have any name.
pub(crate) fn is_tls_trouble(error: &(dyn Error + 'static)) -> bool {
    let text = innermost(error).to_string().to_ascii_lowercase();
    ["tls", "certificate", "corrupt message", "handshake"].iter().any(|word| text.contains(word))
}

/// What all began with.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error)
}

/// What `Retry-After` says of an answer that there were too many requests.
fn wait_of(response: &Response) -> Option<Duration> {
    let later = (response.status() == StatusCode::TOO_MANY_REQUESTS).then(|| response.headers().get(RETRY_AFTER))?;
    let seconds: u64 = later?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.max(1)))
}

/// What a page of a list holds.
pub(crate) fn items_of(page: &mut Value) -> Result<Vec<Value>, Failure> {
    match page.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(Failure::failed(no_gateway("it lists nothing"))),
    }
}

fn no_gateway(why: &str) -> String {
    format!("what answered is no gateway ({why}): is the URL right?")
}

/// A problem response in one or more lines.
fn explain(status: StatusCode, problem: &Value) -> String {
    let status = status.as_u16();
    let text = |name: &str| problem.get(name).and_then(Value::as_str);
    let (Some(code), Some(detail)) = (text("code"), text("detail")) else {
        return no_gateway(&format!("status {status}"));
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
