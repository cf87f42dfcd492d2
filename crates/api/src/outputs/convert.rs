//! Pictures in another form: made once, few at a time, and kept beside the output that they are made from.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use gateway_core::record::Output;
use gateway_core::{ErrorCode, OutputKind};
use gateway_media::{Conversion, ConvertError, Converted, convert};
use gateway_storage::{ByteRange, StorageError};

use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;

/// The parameters that ask for another form.
pub(super) const PARAMETERS: [&str; 4] = ["format", "quality", "width", "height"];
/// Largest picture that is converted, in bytes.
const LARGEST: i64 = 64 << 20;
/// How long a conversion may wait for its turn.
const TURN: Duration = Duration::from_secs(30);

/// What the query asks for; `None` where it asks for the output as it is.
pub(super) fn wish(query: &mut Query) -> Option<Conversion> {
    let number = |text: &str| text.parse::<u32>().ok();
    let quality = query.parse("quality", "a whole number from 1 to 100", number);
    let width = query.parse("width", "a whole number from 1 to 16384", number);
    let height = query.parse("height", "a whole number from 1 to 16384", number);
    let format = query.text("format").map(str::to_owned);
    match Conversion::new(format.as_deref(), quality, width, height) {
        Ok(conversion) => Some(conversion).filter(|conversion| !conversion.is_nothing()),
        Err(wrong) => {
            for (field, message) in wrong {
                query.refuse(field, message);
            }
            None
        }
    }
}

/// `output` in the form of `conversion`, as an output of its own.
pub(super) async fn form(state: &ApiState, output: &Output, conversion: Conversion) -> Result<Output, ApiError> {
    if output.kind != OutputKind::Image {
        return Err(ApiError::fault("?format", "only pictures are converted; this output is none"));
    }
    if output.size > LARGEST {
        let detail = format!("the picture is larger than the {LARGEST} bytes that are converted");
        return Err(ApiError::new(ErrorCode::PayloadTooLarge, detail).recommend("fetch it as it is"));
    }
    let place = Place::of(output, &conversion);
    if let Some(size) = size_of(state, &place.storage_key).await? {
        return Ok(place.output(output, size));
    }
    let turn = tokio::time::timeout(TURN, state.conversions.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        return Err(ApiError::new(ErrorCode::StorageError, "too many pictures are being converted").retry_after(5));
    };
    // Somebody else may have made it meanwhile.
    if let Some(size) = size_of(state, &place.storage_key).await? {
        return Ok(place.output(output, size));
    }
    let made = make(read(state, output).await?, conversion).await?;
    let size = made.bytes.len() as u64;
    let mut writer = state.parts.storage.create(&place.storage_key).await?;
    writer.write(Bytes::from(made.bytes)).await?;
    writer.finish().await?;
    Ok(place.output(output, size))
}

/// Where a form is kept: under the beginning of its output's name, with which it goes.
struct Place {
    storage_key: String,
    content_type: &'static str,
    file: String,
    tag: String,
}

impl Place {
    fn of(output: &Output, conversion: &Conversion) -> Self {
        let (key, format) = (conversion.key(), conversion.format_for(&output.content_type));
        let stem = output.file.rsplit_once('.').map_or(output.file.as_str(), |(stem, _)| stem);
        Self {
            storage_key: format!("{}.{key}.{}", output.storage_key, format.extension()),
            content_type: format.content_type(),
            file: format!("{stem}.{}", format.extension()),
            tag: format!("{}-{key}", output.sha256),
        }
    }

    /// The form as an output. In place of its digest it has a tag of its own.
    fn output(self, from: &Output, size: u64) -> Output {
        Output {
            file: self.file,
            content_type: self.content_type.to_owned(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            sha256: self.tag,
            storage_key: self.storage_key,
            ..from.clone()
        }
    }
}

async fn size_of(state: &ApiState, key: &str) -> Result<Option<u64>, ApiError> {
    match state.parts.storage.open(key, Some(ByteRange { start: 0, length: 0 })).await {
        Ok(reader) => Ok(Some(reader.size)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn read(state: &ApiState, output: &Output) -> Result<Vec<u8>, ApiError> {
    let reader = state.parts.storage.open(&output.storage_key, None).await?;
    let chunks: Vec<Bytes> = reader.stream.try_collect().await?;
    Ok(chunks.concat())
}

async fn make(bytes: Vec<u8>, conversion: Conversion) -> Result<Converted, ApiError> {
    let made = tokio::task::spawn_blocking(move || convert(&bytes, &conversion)).await;
    match made {
        Ok(Ok(converted)) => Ok(converted),
        Ok(Err(error @ (ConvertError::Refused(_) | ConvertError::NotAPicture | ConvertError::Unwritable { .. }))) => {
            Err(ApiError::fault("?format", format!("the picture can't be converted: {error}")))
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "a stored picture can't be converted");
            Err(ApiError::fault("?format", "the picture can't be read; fetch it as it is"))
        }
        Err(error) => {
            tracing::error!(%error, "converting a picture failed");
            Err(ApiError::new(ErrorCode::Internal, "the picture could not be converted"))
        }
    }
}
