//! Finds out who sent a request, before any handler runs.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};

use crate::auth::Caller;

/// Wraps every request. This gateway asks for no credentials: everybody is its one owner.
pub(crate) async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody + 'static>, Error> {
    request.extensions_mut().insert(Caller::local());
    next.call(request).await
}
