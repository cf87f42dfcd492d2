//! The client: judges a URL, then makes one exchange with it. Never repeats a request and follows no redirect.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use moka::sync::Cache;
use reqwest::{
    Certificate, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect, retry,
};
use tokio::time;

use crate::{
    address,
    error::{CheckError, SendError},
    exchange::{Answer, Download, end_of, read_answer},
    lookup::{self, LOOKUP_LIMIT, Lookup, SystemLookup},
    resolver::Resolver,
    url::{CheckedUrl, Policy, check_url},
};

/// From a known address to a connection that can be used.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for the addresses of a name while a caller waits for the verdict.
const CHECK_LIMIT: Duration = Duration::from_secs(2);
const VERDICTS_KEPT: u64 = 10_000;
const VERDICT_AGE: Duration = Duration::from_secs(30);
const IDLE_POOL: Duration = Duration::from_secs(15);
const IDLE_PER_HOST: usize = 2;

/// The client could not be built: the system has no usable root certificates, or a given one cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the client for callers' addresses could not be built; are the system's root certificates installed?")]
pub struct BuildError(#[source] reqwest::Error);

/// Reaches addresses that callers name. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    policy: Policy,
    lookup: Arc<dyn Lookup>,
    /// For hosts whose addresses must be public. The HTTP library resolves by host alone, and the same host may be
    /// named on one port only: so each kind has its own client, with its own connections.
    public: reqwest::Client,
    named: reqwest::Client,
    /// Whether a host, named or not, was fit to be accepted.
    verdicts: Cache<(String, bool), bool>,
}

impl Client {
    /// A client that finds addresses with `lookup`.
    pub fn new(policy: Policy, lookup: Arc<dyn Lookup>) -> Result<Self, BuildError> {
        Self::with_roots(policy, lookup, b"")
    }

    /// A client that finds addresses as the system does.
    pub fn system(policy: Policy) -> Result<Self, BuildError> {
        Self::new(policy, Arc::new(SystemLookup::default()))
    }

    /// A client that trusts the certificates in `pem` besides the system's.
    pub fn with_roots(policy: Policy, lookup: Arc<dyn Lookup>, pem: &[u8]) -> Result<Self, BuildError> {
        let roots = Certificate::from_pem_bundle(pem).map_err(BuildError)?;
        let build = |named| {
            reqwest::Client::builder()
                .tls_certs_merge(roots.clone())
                .dns_resolver(Resolver { lookup: Arc::clone(&lookup), named })
                .user_agent(concat!("comfyui-gateway/", env!("CARGO_PKG_VERSION")))
                // The library counts the lookup, which has its own limit, as part of connecting.
                .connect_timeout(LOOKUP_LIMIT + CONNECT_LIMIT)
                .pool_idle_timeout(IDLE_POOL)
                .pool_max_idle_per_host(IDLE_PER_HOST)
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .referer(false)
                .no_proxy()
                // Another crate's features must not make this one unpack what strangers send.
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .http1_only()
                .build()
                .map_err(BuildError)
        };
        let (public, named) = (build(false)?, build(true)?);
        let verdicts = Cache::builder().max_capacity(VERDICTS_KEPT).time_to_live(VERDICT_AGE).build();
        Ok(Self { inner: Arc::new(Inner { policy, lookup, public, named, verdicts }) })
    }

    /// Whether a URL may be accepted now. A host that does not resolve, or not soon, is none of its business: that is
    /// for the exchange to fail on.
    pub async fn check(&self, url: &str) -> Result<(), CheckError> {
        let url = check_url(url, &self.inner.policy)?;
        if url.is_address() || self.has_fit_addresses(&url).await { Ok(()) } else { Err(CheckError::Address) }
    }

    async fn has_fit_addresses(&self, url: &CheckedUrl) -> bool {
        let key = (url.host().to_owned(), url.is_named());
        if let Some(fit) = self.inner.verdicts.get(&key) {
            return fit;
        }
        let found = lookup::addresses(self.inner.lookup.as_ref(), url.host(), CHECK_LIMIT).await;
        let fit = found.is_none_or(|found| address::all_allowed(&found, url.is_named()));
        self.inner.verdicts.insert(key, fit);
        fit
    }

    /// Sends `body` and reads the answer, at most 64 KiB of it, all before `deadline` has passed.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<Answer, SendError> {
        let end = end_of(deadline);
        let (client, url) = self.admit(url)?;
        let request = client.post(url.url().clone()).headers(header_map(headers)?).body(body);
        let response = before(end, request.send()).await?;
        read_answer(response, end).await
    }

    /// Fetches at most `max_bytes`; the last of them must have been read before `deadline` has passed.
    pub async fn get(&self, url: &str, max_bytes: u64, deadline: Duration) -> Result<Download, SendError> {
        let end = end_of(deadline);
        let (client, url) = self.admit(url)?;
        let response = before(end, client.get(url.url().clone()).send()).await?;
        Download::new(response, max_bytes, end)
    }

    fn admit(&self, url: &str) -> Result<(&reqwest::Client, CheckedUrl), SendError> {
        let url = check_url(url, &self.inner.policy).map_err(CheckError::from)?;
        Ok((if url.is_named() { &self.inner.named } else { &self.inner.public }, url))
    }
}

async fn before(
    end: time::Instant,
    sent: impl Future<Output = Result<Response, reqwest::Error>>,
) -> Result<Response, SendError> {
    Ok(time::timeout_at(end, sent).await.map_err(|_elapsed| SendError::Timeout)??)
}

fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, SendError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => map.append(name, value),
            _ => return Err(SendError::Protocol),
        };
    }
    Ok(map)
}

/// Shows nothing of the list: it names hosts inside the operator's network.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(…)")
    }
}
