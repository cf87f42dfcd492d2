//! Objects on their way down: streamed, and taken up again where a connection was cut.

use backon::ExponentialBackoff;
use bytes::Bytes;
use futures_util::stream;
use s3::command::Command;
use s3::error::S3Error;
use s3::request::Request as _;
use s3::request::tokio_backend::ReqwestRequest;

use super::client::Client;
use super::failure::Failure;
use crate::{ByteRange, ObjectReader};

type Response = <ReqwestRequest<'static> as s3::request::Request>::Response;

/// Opens the object `key` (in the bucket), or a part of it.
pub(super) async fn open(client: &Client, key: String, range: Option<ByteRange>) -> Result<ObjectReader, Failure> {
    let Some(range) = range.filter(|range| range.length > 0) else {
        return match range {
            None => whole(client, key).await,
            Some(_) => nothing(client, key).await,
        };
    };
    let end = range.start.saturating_add(range.length);
    let answer = get(client, &key, range.start, end).await?;
    if end > answer.size {
        return Err(Failure::nonsense(format!("the object ends at {} and not at {end}", answer.size)));
    }
    Ok(answer.read(client, key, range.start, end))
}

async fn whole(client: &Client, key: String) -> Result<ObjectReader, Failure> {
    let response = client.quick(|| send(client, &key, Command::GetObject)).await?;
    let size =
        response.content_length().ok_or_else(|| Failure::nonsense("the server does not say an object's size"))?;
    Ok(Answer { size, tag: tag(&response), response }.read(client, key, 0, size))
}

/// A part of no bytes, for which there is no range: only the size is asked for.
async fn nothing(client: &Client, key: String) -> Result<ObjectReader, Failure> {
    let (head, _status) = client.quick(|| client.bucket.head_object(&key)).await?;
    let size = head.content_length.and_then(|size| u64::try_from(size).ok());
    let size = size.ok_or_else(|| Failure::nonsense("the server does not say an object's size"))?;
    Ok(ObjectReader { size, stream: Box::pin(stream::empty()) })
}

/// The head of an answer, its body still to come.
struct Answer {
    /// Of the whole object.
    size: u64,
    tag: Option<String>,
    response: Response,
}

impl Answer {
    fn read(self, client: &Client, key: String, at: u64, end: u64) -> ObjectReader {
        let reading = Reading {
            waits: client.patience.waits(),
            client: client.clone(),
            key,
            tag: self.tag,
            response: Some(self.response),
            at,
            end,
        };
        let stream = stream::try_unfold(reading, |mut reading| async move {
            match reading.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, reading))),
                Ok(None) => Ok(None),
                Err(failure) => Err(reading.client.error("read an object", failure)),
            }
        });
        ObjectReader { size: self.size, stream: Box::pin(stream) }
    }
}

/// Asks for the bytes from `start` up to `end`, which is above it.
async fn get(client: &Client, key: &str, start: u64, end: u64) -> Result<Answer, Failure> {
    let last = end.saturating_sub(1);
    let response = client.quick(|| send(client, key, Command::GetObjectRange { start, end: Some(last) })).await?;
    let header = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let size = header.and_then(|text| parse_range(text, start));
    let size = size.ok_or_else(|| Failure::nonsense("the server does not answer the range that was asked for"))?;
    Ok(Answer { size, tag: tag(&response), response })
}

async fn send(client: &Client, key: &str, command: Command<'_>) -> Result<Response, S3Error> {
    ReqwestRequest::new(&client.bucket, key, command).await?.response().await
}

/// The size in a `Content-Range` that begins at `start`.
fn parse_range(text: &str, start: u64) -> Option<u64> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    (first.parse::<u64>().ok()? == start).then(|| size.parse().ok())?
}

fn tag(response: &Response) -> Option<String> {
    response.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned)
}

/// An object that is being read.
struct Reading {
    client: Client,
    key: String,
    tag: Option<String>,
    response: Option<Response>,
    at: u64,
    end: u64,
    waits: ExponentialBackoff,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while self.at < self.end {
            let mut response = match self.response.take() {
                Some(response) => response,
                None => self.again().await?,
            };
            let failure = match tokio::time::timeout(self.client.patience.quick, response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    self.at += bytes.len() as u64;
                    self.response = Some(response);
                    self.waits = self.client.patience.waits();
                    return Ok(Some(bytes));
                }
                Ok(Ok(None)) => Failure::nonsense(format!("the answer ended {} bytes early", self.end - self.at)),
                Ok(Err(error)) => S3Error::from(error).into(),
                Err(_elapsed) => Failure::Deadline { after: self.client.patience.quick },
            };
            let Some(wait) = self.waits.next() else { return Err(failure) };
            tracing::warn!(
                error = failure.short(),
                offset = self.at,
                "reading an object was cut off and is taken up again"
            );
            tokio::time::sleep(wait).await;
        }
        Ok(None)
    }

    /// Asks for the rest, which must be of the same object.
    async fn again(&self) -> Result<Response, Failure> {
        let answer = get(&self.client, &self.key, self.at, self.end).await?;
        if answer.tag == self.tag {
            Ok(answer.response)
        } else {
            Err(Failure::nonsense("the object was replaced while it was read"))
        }
    }
}
