//! Pictures in another form: made once, few at a time, and kept beside the output that they are made from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_core::record::Output;
use gateway_core::{ErrorCode, OutputKind};
use gateway_media::{Conversion, ConvertError, Converted, Share, convert};
use gateway_storage::Storage;
use gateway_telemetry::carried;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;
use crate::stored::{read_all, size_of};

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

/// Where pictures are converted, and how many at once.
#[derive(Clone)]
pub(crate) struct Conversions {
    turns: Arc<Semaphore>,
    /// The process' own: of what has to be waited for here, only the end wakes a thread that answers requests.
    runtime: Handle,
}

impl Conversions {
    /// On the runtime that the caller is in.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(at_once)), runtime: Handle::current() }
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
    let Conversions { turns, runtime } = &state.conversions;
    let made = made(
        Arc::clone(&state.parts.storage),
        Arc::clone(turns),
        [output.storage_key.clone(), place.storage_key.clone()],
        conversion,
    );
    // A caller that gives up waits no longer for its turn.
    let made = AbortOnDropHandle::new(runtime.spawn(carried(made))).await;
    Ok(place.output(output, made.map_err(failed)??))
}

/// The bytes of the object `to`, which is made of the picture `from` where it is not there.
async fn made(
    storage: Arc<dyn Storage>,
    turns: Arc<Semaphore>,
    [from, to]: [String; 2],
    conversion: Conversion,
) -> Result<u64, ApiError> {
    let storage = &*storage;
    if let Some(size) = size_of(storage, &to).await? {
        return Ok(size);
    }
    let Ok(Ok(turn)) = tokio::time::timeout(TURN, turns.acquire_owned()).await else {
        return Err(ApiError::new(ErrorCode::StorageError, "too many pictures are being converted").retry_after(5));
    };
    // Somebody else may have made it meanwhile.
    if let Some(size) = size_of(storage, &to).await? {
        return Ok(size);
    }
    let (made, _turn) = make(turn, read_all(storage, &from).await?, conversion).await?;
    let size = made.bytes.len() as u64;
    let mut writer = storage.create(&to).await?;
    writer.write(Bytes::from(made.bytes)).await?;
    writer.finish().await?;
    Ok(size)
}

/// What a caller is told of a task that did not come to its end.
fn failed(error: JoinError) -> ApiError {
    tracing::error!(%error, "converting a picture failed");
    ApiError::internal()
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

/// The picture in `bytes`, converted, and the turn that it took.
async fn make(
    turn: OwnedSemaphorePermit,
    bytes: Vec<u8>,
    conversion: Conversion,
) -> Result<(Converted, OwnedSemaphorePermit), ApiError> {
    // All others who ask this process come first.
    let (made, turn) = in_turn(turn, move || convert(&bytes, &conversion, Share::Spare)).await.map_err(failed)?;
    match made {
        Ok(converted) => Ok((converted, turn)),
        Err(error @ (ConvertError::Refused(_) | ConvertError::NotAPicture | ConvertError::Unwritable { .. })) => {
            Err(ApiError::fault("?format", format!("the picture can't be converted: {error}")))
        }
        Err(error) => {
            tracing::warn!(%error, "a stored picture can't be converted");
            Err(ApiError::fault("?format", "the picture can't be read; fetch it as it is"))
        }
    }
}

/// Does `work` on a thread for what takes long. The turn goes with it: a caller that gives up does not end the thread.
async fn in_turn<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, OwnedSemaphorePermit), JoinError> {
    tokio::task::spawn_blocking(move || (work(), turn)).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn whoever_gives_up_frees_no_turn_while_the_thread_still_works() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
        let (begin, begun) = oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let caller = tokio::spawn(in_turn(turn, move || {
            begin.send(()).unwrap();
            ended.recv()
        }));
        begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(turns.available_permits(), 0, "the thread still works");
        end.send(()).unwrap();
        let freed = tokio::time::timeout(TURN, turns.acquire()).await;
        assert!(freed.is_ok_and(|turn| turn.is_ok()), "its end frees the turn");
    }
}
