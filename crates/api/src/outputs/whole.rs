//! An output read whole, for an answer that holds it among other things. Whoever asks knows that it is small.

use bytes::Bytes;
use gateway_media::Conversion;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::outputs::{convert, find_output};
use crate::state::ApiState;
use crate::stored::read_all;

/// The bytes of the output `file` of `job`, in another form where one is given.
pub(crate) async fn read_output(
    state: &ApiState,
    caller: &Caller,
    job: &str,
    file: &str,
    conversion: Option<Conversion>,
) -> Result<Bytes, ApiError> {
    let output = find_output(state, caller.scope(), job, file).await?;
    let output = match conversion {
        Some(conversion) => convert::form(state, &output, conversion).await?,
        None => output,
    };
    Ok(Bytes::from(read_all(&*state.parts.storage, &output.storage_key).await?))
}
