#![doc = include_str!("../README.md")]

mod files;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::host::SingleDomain;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::files::Files;

/// Its bucket.
pub const BUCKET: &str = "pictures";
/// An account that may do everything: the id of its key, and the key.
pub const OWNER: (&str, &str) = ("OWNERKEY", "owner-secret");
/// An account that may only read.
pub const READER: (&str, &str) = ("READERKEY", "reader-secret");

/// A server, ended when dropped.
pub struct S3Server {
    address: SocketAddr,
    folder: TempDir,
    task: JoinHandle<()>,
}

impl S3Server {
    /// Starts one on a free port of this machine; with a `domain` it takes buckets from host names.
    ///
    /// # Errors
    /// Whatever keeps it from making its folder or binding.
    pub async fn start(domain: Option<&str>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = service(folder.path(), domain)?;
        Ok(Self { address, folder, task: tokio::spawn(serve(listener, service)) })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its objects lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn service(folder: &Path, domain: Option<&str>) -> io::Result<S3Service> {
    let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let files = FileSystem::new(folder).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(Files::new(files, folder.to_owned()));
    let mut auth = SimpleAuth::new();
    for (id, key) in [OWNER, READER] {
        auth.register(id.to_owned(), key.into());
    }
    builder.set_auth(auth);
    if let Some(domain) = domain {
        builder.set_host(SingleDomain::new(domain).map_err(|error| other(&error))?);
    }
    Ok(builder.build())
}

async fn serve(listener: TcpListener, service: S3Service) {
    while let Ok((socket, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            // A client that goes away is no fault.
            let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
