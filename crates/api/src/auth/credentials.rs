//! Whether what a request shows is good: a configured key, a stored one, or a token. Why it is not, only the log says.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpMessage as _;
use actix_web::dev::ServiceRequest;
use gateway_auth::address::bucket;
use gateway_auth::key::{self, KeyHash};
use gateway_core::access::KeyRights;
use gateway_core::{ErrorCode, Owner};
use gateway_db::{NewAudit, StoredKey};
use gateway_metrics::{AUTH_FAILURES, RATE_LIMIT_REFUSALS};

use crate::audit::note;
use crate::auth::identify::Presented;
use crate::auth::{Caller, limit};
use crate::correlate::CorrelationId;
use crate::error::ApiError;
use crate::state::ApiState;

/// How exact the time of a key's last use is.
const USE_MS: i64 = 60_000;

/// What is wrong with credentials, in a word: for operators alone.
pub(super) type Reason = &'static str;

/// The caller whose credentials these are, or why they are nobody's.
pub(super) async fn check(
    state: &ApiState,
    presented: Presented<'_>,
    address: &str,
) -> Result<Result<Caller, Reason>, ApiError> {
    refuse_guessers(state, address).await?;
    let text = match presented {
        Presented::Key(text) | Presented::Bearer(text) => text,
        Presented::Unreadable => return Ok(Err("unreadable")),
    };
    if let Some(known) = state.parts.access.keys.find(text) {
        let actor = format!("key:{}", known.owner.as_str());
        return Ok(Ok(Caller { owner: known.owner.clone(), role: known.role, rights: KeyRights::default(), actor }));
    }
    if let (Presented::Bearer(_), Some(tokens)) = (presented, &state.parts.access.tokens)
        && text.matches('.').count() == 2
    {
        let now = state.parts.database.now().as_millis().div_euclid(1000);
        return Ok(match tokens.verify(text, now) {
            Ok(claims) => Ok(Caller {
                actor: claims.owner.as_str().to_owned(),
                owner: claims.owner,
                role: claims.role,
                rights: KeyRights::default(),
            }),
            Err(fault) => Err(fault.class()),
        });
    }
    stored(state, text).await
}

/// An address that has guessed too often waits, whatever it shows.
async fn refuse_guessers(state: &ApiState, address: &str) -> Result<(), ApiError> {
    let decision = limit::counted(state, &format!("login:{address}"), limit::FAILURES, 0).await;
    if decision.allowed && decision.remaining > 0 {
        return Ok(());
    }
    RATE_LIMIT_REFUSALS.of(["login".into()]).increment(1);
    // The rest of the burst need not be whole again for one more try.
    let rest = limit::FAILURES.tolerance().saturating_sub(limit::FAILURES.interval()) / 1000;
    let wait = decision.reset_after_ms.saturating_sub(u64::try_from(rest).unwrap_or(0)).div_ceil(1000);
    let seconds = u32::try_from(wait).unwrap_or(u32::MAX).max(1);
    Err(ApiError::new(ErrorCode::RateLimited, "too many credentials that are not valid came from this address")
        .recommend("wait as long as Retry-After says")
        .retry_after(seconds))
}

/// Counts and notes credentials from `address` that were nobody's for `reason`.
pub(super) async fn failed(state: &ApiState, request: &ServiceRequest, address: IpAddr, reason: Reason) {
    let bucket = bucket(address);
    limit::counted(state, &format!("login:{bucket}"), limit::FAILURES, 1).await;
    AUTH_FAILURES.of([reason.into()]).increment(1);
    let correlation = request.extensions().get::<CorrelationId>().map(|id| id.id().to_owned()).unwrap_or_default();
    tracing::info!(%address, reason, "credentials are not valid");
    let entry = NewAudit {
        actor: String::from("unknown"),
        action: "login.failed",
        target: request.path().chars().take(128).collect(),
        correlation_id: correlation,
        address: address.to_string(),
        detail: reason.to_owned(),
    };
    note(state, entry).await;
}

async fn stored(state: &ApiState, text: &str) -> Result<Result<Caller, Reason>, ApiError> {
    let Some(parsed) = key::parse(text) else { return Ok(Err("unknown")) };
    let found = match state.keys.get(&parsed.id) {
        Some(found) => found,
        None => {
            let found = state.parts.database.find_key(&parsed.id).await?.map(Arc::new);
            state.keys.insert(parsed.id.clone(), found.clone());
            found
        }
    };
    let now = state.parts.database.now();
    // Hashes are compared in constant time: how nearly it is the key doesn't show.
    let same = |key: &Arc<StoredKey>| KeyHash::from_hex(&key.hash).is_some_and(|hash| hash == parsed.hash);
    let Some(key) = found.filter(same) else { return Ok(Err("unknown")) };
    if key.revoked_at.is_some() {
        return Ok(Err("revoked"));
    }
    if key.expires_at.is_some_and(|end| end <= now) {
        return Ok(Err("expired"));
    }
    note_use(state, &key);
    Ok(Ok(Caller {
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
