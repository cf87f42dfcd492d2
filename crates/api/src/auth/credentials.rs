//! Whether what a request shows is good: a configured key, a stored one, or a token. Why it is not, only the log says.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpMessage as _;
use actix_web::dev::ServiceRequest;
use gateway_auth::key::{self, KeyHash};
use gateway_core::access::KeyRights;
use gateway_core::{ErrorCode, Owner};
use gateway_db::{NewAudit, StoredKey};

use crate::auth::identify::Presented;
use crate::auth::{Caller, limit};
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::state::ApiState;

/// How exact the time of a key's last use is.
const USE_MS: i64 = 60_000;

/// The caller whose credentials these are; `None` where they are nobody's.
pub(super) async fn check(
    state: &ApiState,
    presented: Presented<'_>,
    address: &str,
) -> Result<Option<Caller>, ApiError> {
    refuse_guessers(state, address).await?;
    let text = match presented {
        Presented::Key(text) | Presented::Bearer(text) => text,
        Presented::Unreadable => return Ok(None),
    };
    if let (Presented::Bearer(_), Some(tokens)) = (presented, &state.parts.access.tokens)
        && text.matches('.').count() == 2
    {
        let now = state.parts.database.now().as_millis().div_euclid(1000);
        return Ok(match tokens.verify(text, now) {
            Ok(claims) => Some(Caller {
                actor: claims.owner.as_str().to_owned(),
                owner: claims.owner,
                role: claims.role,
                rights: KeyRights::default(),
            }),
            Err(fault) => {
                tracing::debug!(why = fault.class(), "a token is not valid");
                None
            }
        });
    }
    if let Some(known) = state.parts.access.keys.find(text) {
        let actor = format!("key:{}", known.owner.as_str());
        return Ok(Some(Caller { owner: known.owner.clone(), role: known.role, rights: KeyRights::default(), actor }));
    }
    stored(state, text).await
}

/// An address that has guessed too often waits, whatever it shows.
async fn refuse_guessers(state: &ApiState, address: &str) -> Result<(), ApiError> {
    let decision = limit::counted(state, &format!("login:{address}"), limit::FAILURES, 0).await;
    if decision.allowed && decision.remaining > 0 {
        return Ok(());
    }
    let seconds = u32::try_from(decision.reset_after_seconds()).unwrap_or(u32::MAX).max(1);
    Err(ApiError::new(ErrorCode::RateLimited, "too many credentials that are not valid came from this address")
        .recommend("wait as long as Retry-After says")
        .retry_after(seconds))
}

/// Counts and notes credentials that were nobody's.
pub(super) async fn failed(state: &ApiState, request: &ServiceRequest, bucket: &str, address: IpAddr) {
    limit::counted(state, &format!("login:{bucket}"), limit::FAILURES, 1).await;
    let correlation = request.extensions().get::<CorrelationId>().map(|id| id.0.clone()).unwrap_or_default();
    tracing::info!(correlation_id = correlation, %address, "credentials are not valid");
    let entry = NewAudit {
        actor: String::from("unknown"),
        action: "login.failed",
        target: request.path().chars().take(128).collect(),
        correlation_id: correlation,
        address: address.to_string(),
        detail: String::new(),
    };
    if let Err(error) = state.parts.database.audit(entry).await {
        tracing::error!(%error, "a failed login was not noted in the audit log");
    }
}

async fn stored(state: &ApiState, text: &str) -> Result<Option<Caller>, ApiError> {
    let Some(parsed) = key::parse(text) else { return Ok(None) };
    let found = match state.keys.get(&parsed.id) {
        Some(found) => found,
        None => {
            let found = state.parts.database.find_key(&parsed.id).await?.map(Arc::new);
            state.keys.insert(parsed.id.clone(), found.clone());
            found
        }
    };
    let now = state.parts.database.now();
    // As much is computed for a key that is not there as for one that is.
    let hash = found.as_ref().and_then(|key| KeyHash::from_hex(&key.hash)).unwrap_or_else(|| key::hash(""));
    let matches = hash.matches(text);
    let Some(key) = found.filter(|_| matches) else { return Ok(None) };
    if key.revoked_at.is_some() || key.expires_at.is_some_and(|end| end <= now) {
        tracing::debug!(key = key.id, "a key that was revoked or has expired was shown");
        return Ok(None);
    }
    note_use(state, &key);
    Ok(Some(Caller {
        owner: Owner::new(key.name.clone()),
        role: key.role,
        rights: key.rights.clone(),
        actor: format!("key:{}", key.id),
    }))
}

/// Notes the use of a key, once a minute at most.
fn note_use(state: &ApiState, key: &StoredKey) {
    let now = state.parts.database.now();
    let noted = state.key_uses.get(&key.id).or(key.last_used_at);
    if noted.is_some_and(|noted| now.millis_since(noted) < USE_MS) {
        return;
    }
    state.key_uses.insert(key.id.clone(), now);
    let (database, id) = (state.parts.database.clone(), key.id.clone());
    tokio::spawn(async move {
        if let Err(error) = database.note_key_use(&id, now).await {
            tracing::debug!(%error, "the use of a key was not noted");
        }
    });
}
