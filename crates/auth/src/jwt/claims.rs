//! What a token says, judged by what the settings expect. The signature has been checked before.

use gateway_core::{Owner, Role};
use serde_json::Value;

use super::{TokenFault, parts::Object};

/// How far the issuer's clock may differ from ours, in seconds.
const LEEWAY: i64 = 30;
/// The longest life of a token that says when it was issued.
const LONGEST_LIFE: i64 = 30 * 24 * 60 * 60;
/// The end of the year 9999.
const LATEST: i64 = 253_402_300_799;
const MAX_SUBJECT_LENGTH: usize = 128;
const MAX_AUDIENCES: usize = 8;
const MAX_ROLES: usize = 64;
/// Names of keys have no colon, so no token can speak for the owner of a key.
const OWNER_PREFIX: &str = "jwt:";

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `jwt:` and the token's subject.
    pub owner: Owner,
    /// What it may do.
    pub role: Role,
}

/// What the settings want to see.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) audience: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) role_claim: String,
}

impl Expected {
    pub(super) fn judge(&self, claims: &Object, now: i64) -> Result<Claims, TokenFault> {
        check_times(claims, now)?;
        self.issuer(claims)?;
        self.audience(claims)?;
        Ok(Claims { owner: owner(claims)?, role: self.role(claims)? })
    }

    fn issuer(&self, claims: &Object) -> Result<(), TokenFault> {
        match (&self.issuer, claims.get("iss")) {
            (None, _) => Ok(()),
            (Some(issuer), Some(Value::String(said))) if said == issuer => Ok(()),
            (Some(_), Some(Value::String(_))) => Err(TokenFault::Issuer),
            (Some(_), _) => Err(TokenFault::Claim("iss")),
        }
    }

    fn audience(&self, claims: &Object) -> Result<(), TokenFault> {
        let Some(audience) = &self.audience else {
            return Ok(());
        };
        let ours = match claims.get("aud") {
            Some(Value::String(said)) => said == audience,
            Some(Value::Array(list)) if list.len() <= MAX_AUDIENCES && list.iter().all(Value::is_string) => {
                list.iter().any(|said| said == audience.as_str())
            }
            _ => return Err(TokenFault::Claim("aud")),
        };
        if ours { Ok(()) } else { Err(TokenFault::Audience) }
    }

    /// The role, or the highest of several. A list may have others, as issuers put the roles of all services in one.
    fn role(&self, claims: &Object) -> Result<Role, TokenFault> {
        let roles = match claims.get(&self.role_claim) {
            None => return Ok(Role::User),
            Some(role @ Value::String(_)) => std::slice::from_ref(role),
            Some(Value::Array(list)) if list.len() <= MAX_ROLES && list.iter().all(Value::is_string) => list,
            Some(_) => return Err(TokenFault::Role),
        };
        let has = |role: Role| roles.iter().any(|said| said == role.as_str());
        match (has(Role::Admin), has(Role::User)) {
            (true, _) => Ok(Role::Admin),
            (false, true) => Ok(Role::User),
            (false, false) => Err(TokenFault::Role),
        }
    }
}

/// Checks everything about time.
fn check_times(claims: &Object, now: i64) -> Result<(), TokenFault> {
    let expires_at = seconds(claims, "exp")?.ok_or(TokenFault::Claim("exp"))?;
    let not_before = seconds(claims, "nbf")?;
    let issued_at = seconds(claims, "iat")?;
    if now >= expires_at.saturating_add(LEEWAY) {
        return Err(TokenFault::Expired);
    }
    if [not_before, issued_at].iter().flatten().any(|start| *start > now.saturating_add(LEEWAY)) {
        return Err(TokenFault::NotYetValid);
    }
    if issued_at.is_some_and(|issued_at| expires_at.saturating_sub(issued_at) > LONGEST_LIFE) {
        return Err(TokenFault::LivesTooLong);
    }
    Ok(())
}

/// A time in whole seconds; issuers may write fractions, which are cut off.
fn seconds(claims: &Object, name: &'static str) -> Result<Option<i64>, TokenFault> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    // A number too large for the target becomes its largest, which is out of range.
    let whole = value.as_i64().or_else(|| value.as_f64().map(|number| number.floor() as i64));
    whole.filter(|seconds| (0..=LATEST).contains(seconds)).map(Some).ok_or(TokenFault::Claim(name))
}

/// Subjects are ASCII, as `OpenID` wants them: others have several spellings that look the same.
fn owner(claims: &Object) -> Result<Owner, TokenFault> {
    let subject = claims.get("sub").and_then(Value::as_str).ok_or(TokenFault::Claim("sub"))?;
    let printable = subject.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !(1..=MAX_SUBJECT_LENGTH).contains(&subject.len()) || !printable || subject.trim() != subject {
        return Err(TokenFault::Claim("sub"));
    }
    Ok(Owner::new(format!("{OWNER_PREFIX}{subject}")))
}
