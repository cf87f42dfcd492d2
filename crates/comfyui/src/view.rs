//! `GET /view`: fetching files, whole or from an offset, as a stream of chunks.
//! Owns the checks that what arrives is the file, all of it, and not a web page. Knows nothing of where it goes.

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::{
    Method, Response,
    header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, RANGE},
};

use crate::{
    client::ComfyClient,
    error::CallError,
    output::FileRef,
    transport::{Answer, BodyKind, header_text, send},
};

/// A file on its way. Read it with [`Download::next_chunk`] until that gives `None`.
#[derive(Debug)]
pub struct Download {
    /// Bytes that this answer brings, if announced.
    pub content_length: Option<u64>,
    /// Media type that the server guesses from the file's name.
    pub content_type: Option<String>,
    /// Changes with the file; give it to [`ComfyClient::view_from`].
    pub etag: Option<String>,
    /// Position in the file of the first byte that this answer brings.
    pub offset: u64,
    received: u64,
    ended: bool,
    response: Response,
}

impl ComfyClient {
    /// `GET /view`: a file from its beginning.
    ///
    /// # Errors
    /// [`CallError`] as for every call; 404 if the file is gone, 400 for names that the server refuses.
    pub async fn view(&self, file: &FileRef) -> Result<Download, CallError> {
        let answer = send(self.view_request(file)?).await?.success()?;
        Download::start(answer, file, 0)
    }

    /// `GET /view` with `Range`: a file from an offset in bytes, to continue a broken download.
    ///
    /// If the file has changed since `etag`, or the server does not do ranges, the file comes from its beginning:
    /// look at [`Download::offset`].
    ///
    /// # Errors
    /// [`CallError`] as for [`ComfyClient::view`]; status 416 if the file is shorter than `offset`.
    pub async fn view_from(&self, file: &FileRef, offset: u64, etag: Option<&str>) -> Result<Download, CallError> {
        if offset == 0 {
            return self.view(file).await;
        }
        let mut request = self.view_request(file)?.header(RANGE, format!("bytes={offset}-"));
        if let Some(etag) = etag {
            request = request.header(IF_RANGE, etag);
        }
        let answer = send(request).await?.success()?;
        if answer.status.as_u16() != 206 {
            return Download::start(answer, file, 0);
        }
        let headers = answer.response.headers();
        // ComfyUI's web server overlooks an entity tag in If-Range and sends the part of another file.
        let same_file = etag.is_none() || header_text(headers, &ETAG).as_deref() == etag;
        if same_file && range_start(headers) == Some(offset) {
            Download::start(answer, file, offset)
        } else {
            self.view(file).await
        }
    }

    fn view_request(&self, file: &FileRef) -> Result<reqwest::RequestBuilder, CallError> {
        let mut url = self.transport().url(&["view"])?;
        url.query_pairs_mut()
            .append_pair("filename", &file.filename)
            .append_pair("subfolder", &file.subfolder)
            .append_pair("type", file.kind.as_str());
        Ok(self.transport().request(Method::GET, url))
    }
}

impl Download {
    fn start(answer: Answer, file: &FileRef, offset: u64) -> Result<Self, CallError> {
        if answer.body == BodyKind::Html && !is_web_page(&file.filename) {
            return Err(CallError::Misconfigured {
                status: answer.status.as_u16(),
                reason: "a web page came back instead of the file: the address leads to a proxy, a login page or another program",
            });
        }
        let response = answer.response;
        Ok(Self {
            content_length: response.content_length(),
            content_type: header_text(response.headers(), &CONTENT_TYPE),
            etag: header_text(response.headers(), &ETAG),
            offset,
            received: 0,
            ended: false,
            response,
        })
    }

    /// The next bytes; `None` once the whole file is there.
    ///
    /// # Errors
    /// [`CallError::Truncated`] if the body ends before its announced length, [`CallError::Timeout`] if it stalls.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        if self.ended {
            return Ok(None);
        }
        match self.response.chunk().await {
            Ok(Some(chunk)) => {
                self.received += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                Ok(Some(chunk))
            }
            Ok(None) => {
                self.ended = true;
                if self.content_length.is_some_and(|expected| self.received < expected) {
                    Err(self.truncated())
                } else {
                    Ok(None)
                }
            }
            Err(error) => {
                self.ended = true;
                Err(match CallError::from_body(error) {
                    CallError::Cut { .. } => self.truncated(),
                    other => other,
                })
            }
        }
    }

    /// Bytes that have arrived so far.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// The chunks as a stream that ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, CallError>> + Send {
        stream::try_unfold(self, |mut download| async move {
            Ok(download.next_chunk().await?.map(|chunk| (chunk, download)))
        })
    }

    const fn truncated(&self) -> CallError {
        CallError::Truncated { expected: self.content_length, received: self.received }
    }
}

/// The first position of `bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = header_text(headers, &CONTENT_RANGE)?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn is_web_page(filename: &str) -> bool {
    let lower = filename.to_ascii_lowercase();
    [".html", ".htm", ".xhtml"].iter().any(|ending| lower.ends_with(ending))
}
