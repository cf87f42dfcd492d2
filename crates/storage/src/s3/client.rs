//! Calls to one bucket: each under a deadline, tried again where trying again can help. Knows no object.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder, Retryable as _};
use gateway_config::S3Settings;
use s3::Bucket;
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::region::Region;
use secrecy::{ExposeSecret as _, SecretString};

use super::failure::Failure;
use crate::StorageError;

/// How long calls may take, and how often they are tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a call without a large body, and for the next bytes of an answer.
    pub(super) quick: Duration,
    /// For a part to go up, or for the server to put parts together.
    pub(super) slow: Duration,
    /// Waits between tries.
    pub(super) waits: ExponentialBuilder,
}

impl Patience {
    pub(super) const DEFAULT: Self = Self {
        quick: Duration::from_secs(30),
        slow: Duration::from_secs(180),
        waits: ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(4),
    };

    /// One try, with this much time for each call.
    pub(super) const fn once(time: Duration) -> Self {
        Self { quick: time, slow: time, waits: Self::DEFAULT.waits.with_max_times(0) }
    }

    pub(super) fn waits(&self) -> ExponentialBackoff {
        self.waits.build()
    }
}

/// A bucket and the keys to it. Cheap to clone; has no `Debug`, which would show the keys.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) bucket: Arc<Bucket>,
    pub(super) patience: Patience,
    pub(super) endpoint: Arc<str>,
    secrets: Arc<[SecretString; 2]>,
}

impl Client {
    pub(super) fn new(settings: &S3Settings, patience: Patience) -> Result<Self, Failure> {
        // Another part of the process may have installed a provider; any one will do.
        let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // The library's own tries wait whole seconds, and leave out most calls.
        s3::set_retries(0);
        let endpoint = endpoint(settings);
        let region = Region::Custom { region: settings.region.clone(), endpoint: endpoint.clone() };
        let (id, key) = (settings.access_key.expose_secret(), settings.secret_key.expose_secret());
        let credentials = Credentials::new(Some(id), Some(key), None, None, None).map_err(S3Error::from)?;
        let mut bucket = Bucket::new(&settings.bucket, region, credentials)?;
        // Its deadline would count the whole of a long download.
        bucket.set_request_timeout(None);
        if settings.path_style {
            bucket.set_path_style();
        }
        url::Url::parse(&bucket.url()).map_err(S3Error::from)?;
        Ok(Self {
            bucket: Arc::from(bucket),
            patience,
            endpoint: Arc::from(endpoint),
            secrets: Arc::new([settings.access_key.clone(), settings.secret_key.clone()]),
        })
    }

    /// Tries `attempt`, each time for `deadline` at most, until it succeeds or trying again can't help.
    pub(super) async fn call<T, E, F>(&self, deadline: Duration, attempt: impl Fn() -> F) -> Result<T, Failure>
    where
        E: Into<Failure>,
        F: Future<Output = Result<T, E>>,
    {
        let once = || async {
            match tokio::time::timeout(deadline, attempt()).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_elapsed) => Err(Failure::Deadline { after: deadline }),
            }
        };
        once.retry(self.patience.waits)
            .when(Failure::is_passing)
            .notify(|failure: &Failure, wait| {
                let (error, wait) = (failure.short(), u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                tracing::warn!(error, waitMs = wait, "a call to the S3 server failed and is tried again");
            })
            .await
    }

    /// [`Self::call`] for one without a large body.
    pub(super) async fn quick<T, E, F>(&self, attempt: impl Fn() -> F) -> Result<T, Failure>
    where
        E: Into<Failure>,
        F: Future<Output = Result<T, E>>,
    {
        self.call(self.patience.quick, attempt).await
    }

    /// `failure` as an error of the storage. A server's words may repeat what it was sent: the keys are taken out.
    pub(super) fn error(&self, action: &'static str, failure: Failure) -> StorageError {
        StorageError::Io { action, source: self.source(failure) }
    }

    /// `failure` as a cause.
    pub(super) fn source(&self, failure: Failure) -> std::io::Error {
        std::io::Error::other(failure.without(self.secrets.iter().map(SecretString::expose_secret)))
    }
}

/// The URL of the server.
pub(super) fn endpoint(settings: &S3Settings) -> String {
    settings.endpoint.clone().unwrap_or_else(|| aws_endpoint(&settings.region))
}

fn aws_endpoint(region: &str) -> String {
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://s3.{region}.amazonaws.com{china}")
}
