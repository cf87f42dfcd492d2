//! What the server answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use crate::READER;

/// `s3s-fs`, with what it lacks of a real server: it lists unfinished uploads, knows which uploads there are, and does
/// not make a bucket that is not there.
pub(crate) struct Files {
    files: FileSystem,
    folder: PathBuf,
    /// Unfinished uploads: key and id.
    uploads: Arc<Mutex<BTreeMap<(String, String), String>>>,
}

impl Files {
    pub(crate) fn new(files: FileSystem, folder: PathBuf) -> Self {
        Self { files, folder, uploads: Arc::default() }
    }

    fn check<T>(&self, req: &S3Request<T>, bucket: &str, writes: bool) -> S3Result<()> {
        if !self.folder.join(bucket).is_dir() {
            return Err(s3_error!(NoSuchBucket));
        }
        if writes && req.credentials.as_ref().is_some_and(|account| account.access_key == READER.0) {
            return Err(s3_error!(AccessDenied));
        }
        Ok(())
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upload(&self, key: &str, id: &str) -> S3Result<()> {
        let known = self.uploads().contains_key(&(key.to_owned(), id.to_owned()));
        if known { Ok(()) } else { Err(s3_error!(NoSuchUpload)) }
    }

    fn ended(&self, key: &str, id: &str) {
        self.uploads().remove(&(key.to_owned(), id.to_owned()));
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
        let id = answer.output.upload_id.clone().unwrap_or_default();
        self.uploads().insert((key, id), String::from("STANDARD"));
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
        let uploads = self.uploads();
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
