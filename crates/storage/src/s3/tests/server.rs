//! The S3 server that tests run against: one of their own, or the one that `S3_TEST_ENDPOINT` names.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_config::S3Settings;
pub(crate) use s3_testserver::{BUCKET, OWNER, READER, S3Server};
use secrecy::SecretString;

/// A server, ended when dropped.
pub(crate) struct Server {
    pub(crate) settings: S3Settings,
    /// The tests' own, where it is that.
    own: Option<S3Server>,
}

impl Server {
    /// A server with an empty prefix of the test's own.
    pub(crate) async fn start() -> Self {
        match external() {
            Some(settings) => Self { settings, own: None },
            None => Self::own(None).await,
        }
    }

    /// The tests' own server, of which more can be asked; with a `domain` it takes buckets from host names.
    pub(crate) async fn own(domain: Option<&str>) -> Self {
        let own = S3Server::start(domain).await.unwrap();
        let settings = S3Settings {
            endpoint: Some(own.endpoint()),
            bucket: String::from(BUCKET),
            region: String::from("us-east-1"),
            access_key: SecretString::from(OWNER.0),
            secret_key: SecretString::from(OWNER.1),
            path_style: true,
            prefix: unique(),
        };
        Self { settings, own: Some(own) }
    }

    /// Where the objects of the tests' own server lie.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(S3Server::folder)
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.settings.endpoint.as_deref().and_then(|url| url.strip_prefix("http://")).unwrap().to_owned()
    }
}

fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("test-{}/{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[expect(clippy::disallowed_methods, reason = "tests are told of a server by variables that the gateway does not read")]
fn external() -> Option<S3Settings> {
    let read = |name: &str| std::env::var(format!("S3_TEST_{name}")).ok();
    Some(S3Settings {
        endpoint: Some(read("ENDPOINT")?.trim_end_matches('/').to_owned()),
        bucket: read("BUCKET").expect("S3_TEST_BUCKET"),
        region: read("REGION").unwrap_or_else(|| String::from("us-east-1")),
        access_key: SecretString::from(read("ACCESS_KEY").expect("S3_TEST_ACCESS_KEY")),
        secret_key: SecretString::from(read("SECRET_KEY").expect("S3_TEST_SECRET_KEY")),
        path_style: read("PATH_STYLE").is_none_or(|text| text == "true"),
        prefix: unique(),
    })
}
