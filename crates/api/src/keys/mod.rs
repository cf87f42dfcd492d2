//! Keys of callers: made, listed, revoked. A key is shown once, when it is made.

mod request;

use actix_web::web::{Data, Json, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use gateway_auth::key::ApiKey;
use gateway_broker::Control;
use gateway_core::ErrorCode;
use gateway_db::StoredKey;
use serde_json::{Value, json};

use crate::audit::Actor;
use crate::auth::Admin;
use crate::body::{Nothing, read_object};
use crate::error::ApiError;
use crate::query::Query;
use crate::state::ApiState;

/// All keys, without what makes them keys.
pub(crate) async fn list_keys(state: Data<ApiState>, _: Admin, request: HttpRequest) -> Result<Json<Value>, ApiError> {
    Query::read(&request, &[])?.check()?;
    let items: Vec<_> = state.parts.database.list_keys().await?.iter().map(StoredKey::shown).collect();
    Ok(Json(json!({"items": items, "nextCursor": Value::Null})))
}

/// Makes a key; the answer is the only place where it is ever shown.
pub(crate) async fn create_key(
    state: Data<ApiState>,
    _: Admin,
    actor: Actor,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    Query::read(&request, &[])?.check()?;
    let body = read_object(&request, payload, state.parts.http.max_json_bytes).await?;
    let wish = request::read(body, state.parts.database.now())?;
    let secret = ApiKey::generate(&rand::random());
    let key = StoredKey {
        id: secret.id().to_owned(),
        name: wish.name,
        role: wish.role,
        hash: secret.hash().to_hex(),
        rights: wish.rights,
        created_at: state.parts.database.now(),
        created_by: actor.name().to_owned(),
        expires_at: wish.expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    state.parts.database.put_key(key.clone()).await?;
    state.forget_key(&key.id);
    tell_workers(&state).await;
    actor.note(&state, "key.create", &key.id).await;
    let mut answer = key.shown();
    answer.insert(String::from("key"), json!(secret.expose()));
    Ok(HttpResponse::Created().insert_header(("cache-control", "no-store")).json(answer))
}

/// Revokes a key.
pub(crate) async fn revoke_key(
    state: Data<ApiState>,
    path: Path<String>,
    _: Admin,
    actor: Actor,
    _: Nothing,
) -> Result<HttpResponse, ApiError> {
    let id = path.into_inner();
    // What can't be an id names no key, whatever a database makes of it.
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain || !state.parts.database.revoke_key(&id).await? {
        return Err(ApiError::new(ErrorCode::KeyNotFound, "there is no such key, or it was revoked before"));
    }
    state.forget_key(&id);
    tell_workers(&state).await;
    actor.note(&state, "key.revoke", &id).await;
    Ok(HttpResponse::NoContent().finish())
}

/// Workers bound and weigh the jobs of owners by what their keys say.
async fn tell_workers(state: &ApiState) {
    if let Err(error) = state.parts.broker.control(Control::Keys).await {
        tracing::debug!(%error, "workers learn of a key at their next look");
    }
}
