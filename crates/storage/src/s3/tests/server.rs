//! The S3 server that tests run against: one of their own, or the one that `S3_TEST_ENDPOINT` names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gateway_config::S3Settings;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::host::SingleDomain;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The bucket of the tests' own server.
pub(crate) const BUCKET: &str = "pictures";
/// An account that may do everything, and one that may only read.
pub(crate) const OWNER: (&str, &str) = ("OWNERKEY", "owner-secret");
pub(crate) const READER: (&str, &str) = ("READERKEY", "reader-secret");

/// A server, ended when dropped.
pub(crate) struct Server {
    pub(crate) settings: S3Settings,
    /// Of the tests' own server.
    pub(crate) folder: Option<tempfile::TempDir>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// A server with an empty prefix of the test's own.
    pub(crate) async fn start() -> Self {
        match external() {
            Some(settings) => Self { settings, folder: None, task: None },
            None => Self::own(None).await,
        }
    }

    /// The tests' own server, of which more can be asked; with a `domain` it takes buckets from host names.
    pub(crate) async fn own(domain: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(serve(listener, folder.path().to_owned(), domain.map(str::to_owned)));
        let settings = S3Settings {
            endpoint: Some(endpoint),
            bucket: String::from(BUCKET),
            region: String::from("us-east-1"),
            access_key: SecretString::from(OWNER.0),
            secret_key: SecretString::from(OWNER.1),
            path_style: true,
            prefix: unique(),
        };
        Self { settings, folder: Some(folder), task: Some(task) }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.settings.endpoint.as_deref().and_then(|url| url.strip_prefix("http://")).unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
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

async fn serve(listener: TcpListener, folder: PathBuf, domain: Option<String>) {
    let files = Files { files: FileSystem::new(&folder).unwrap(), folder, uploads: Arc::default() };
    let mut builder = S3ServiceBuilder::new(files);
    let mut auth = SimpleAuth::new();
    for (id, key) in [OWNER, READER] {
        auth.register(id.to_owned(), key.into());
    }
    builder.set_auth(auth);
    if let Some(domain) = domain {
        builder.set_host(SingleDomain::new(&domain).unwrap());
    }
    let service = builder.build();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let service = service.clone();
        tokio::spawn(async move {
            let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// `s3s-fs`, with what it lacks of a real server: it lists unfinished uploads, knows which uploads there are, and does
/// not make a bucket that is not there.
struct Files {
    files: FileSystem,
    folder: PathBuf,
    /// Unfinished uploads: key and id.
    uploads: Arc<Mutex<BTreeMap<(String, String), String>>>,
}

impl Files {
    fn check<T>(&self, req: &S3Request<T>, bucket: &str, writes: bool) -> S3Result<()> {
        if !self.folder.join(bucket).is_dir() {
            return Err(s3_error!(NoSuchBucket));
        }
        if writes && req.credentials.as_ref().is_some_and(|account| account.access_key == READER.0) {
            return Err(s3_error!(AccessDenied));
        }
        Ok(())
    }

    fn upload(&self, key: &str, id: &str) -> S3Result<()> {
        let known = self.uploads.lock().unwrap().contains_key(&(key.to_owned(), id.to_owned()));
        if known { Ok(()) } else { Err(s3_error!(NoSuchUpload)) }
    }

    fn ended(&self, key: &str, id: &str) {
        self.uploads.lock().unwrap().remove(&(key.to_owned(), id.to_owned()));
    }
}

#[async_trait]
impl S3 for Files {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.check(&req, &req.input.bucket, true)?;
        self.files.put_object(req).await
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.check(&req, &req.input.bucket, false)?;
        self.files.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.check(&req, &req.input.bucket, false)?;
        self.files.head_object(req).await
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check(&req, &req.input.bucket, true)?;
        self.files.delete_objects(req).await
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.check(&req, &req.input.bucket, false)?;
        self.files.list_objects_v2(req).await
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.check(&req, &req.input.bucket, true)?;
        let key = req.input.key.clone();
        let answer = self.files.create_multipart_upload(req).await?;
        let id = answer.output.upload_id.clone().unwrap();
        self.uploads.lock().unwrap().insert((key, id), String::from("STANDARD"));
        Ok(answer)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.check(&req, &req.input.bucket, true)?;
        self.upload(&req.input.key, &req.input.upload_id)?;
        self.files.upload_part(req).await
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (key, id) = (req.input.key.clone(), req.input.upload_id.clone());
        self.upload(&key, &id)?;
        let answer = self.files.complete_multipart_upload(req).await?;
        self.ended(&key, &id);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let (key, id) = (req.input.key.clone(), req.input.upload_id.clone());
        self.upload(&key, &id)?;
        let answer = self.files.abort_multipart_upload(req).await?;
        self.ended(&key, &id);
        Ok(answer)
    }

    /// One upload a page, so that paging is always tried.
    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.check(&req, &req.input.bucket, false)?;
        let prefix = req.input.prefix.clone().unwrap_or_default();
        let after = (req.input.key_marker.unwrap_or_default(), req.input.upload_id_marker.unwrap_or_default());
        let uploads = self.uploads.lock().unwrap();
        let mut rest = uploads.iter().filter(|((key, id), _)| {
            key.starts_with(&prefix) && (after.0.is_empty() || (key, id) > (&after.0, &after.1))
        });
        let first = rest.next();
        let upload = first.map(|((key, id), class)| MultipartUpload {
            initiated: Some(std::time::SystemTime::now().into()),
            key: Some(key.clone()),
            storage_class: Some(StorageClass::from(class.clone())),
            upload_id: Some(id.clone()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(req.input.bucket),
            is_truncated: Some(rest.next().is_some()),
            next_key_marker: first.map(|((key, _), _)| key.clone()),
            next_upload_id_marker: first.map(|((_, id), _)| id.clone()),
            uploads: upload.map(|upload| vec![upload]),
            ..Default::default()
        }))
    }
}
