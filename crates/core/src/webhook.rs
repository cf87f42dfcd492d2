//! What is said of a job to its owner's server: which events there are, how a message is signed, when it is sent again.
//! Sends nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::retry::spread_ms;
use crate::{JobStatus, Timestamp, hex};

/// What a job may tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WebhookEvent {
    /// A worker has begun with it.
    #[serde(rename = "job.started")]
    Started,
    /// It advanced.
    #[serde(rename = "job.progress")]
    Progress,
    /// It ended with outputs.
    #[serde(rename = "job.succeeded")]
    Succeeded,
    /// It ended with an error.
    #[serde(rename = "job.failed")]
    Failed,
    /// It was canceled.
    #[serde(rename = "job.canceled")]
    Canceled,
    /// All jobs of a batch have ended.
    #[serde(rename = "batch.completed")]
    BatchCompleted,
}

impl WebhookEvent {
    /// All that a job may tell.
    pub const OF_JOBS: [Self; 5] = [Self::Started, Self::Progress, Self::Succeeded, Self::Failed, Self::Canceled];
    /// What a job tells whose owner has not chosen.
    pub const FINAL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Canceled];

    /// Its name in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "job.started",
            Self::Progress => "job.progress",
            Self::Succeeded => "job.succeeded",
            Self::Failed => "job.failed",
            Self::Canceled => "job.canceled",
            Self::BatchCompleted => "batch.completed",
        }
    }

    /// The event of a job named `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::OF_JOBS.into_iter().find(|event| event.as_str() == text)
    }

    /// What is told where a job ends in `status`.
    pub const fn of_end(status: JobStatus) -> Option<Self> {
        match status {
            JobStatus::Succeeded => Some(Self::Succeeded),
            JobStatus::Failed => Some(Self::Failed),
            JobStatus::Canceled => Some(Self::Canceled),
            JobStatus::Queued | JobStatus::Running => None,
        }
    }
}

/// Who is to be told, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Where to.
    pub url: String,
    /// Of what; sorted.
    pub events: Vec<WebhookEvent>,
}

impl Callback {
    /// Whether `event` is to be told.
    pub fn wants(&self, event: WebhookEvent) -> bool {
        self.events.contains(&event)
    }
}

/// Milliseconds between the tries of one message.
const RETRY_MS: [i64; 7] = [5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000, 86_400_000];
/// The longest wait that a receiver may ask for.
const LONGEST_MS: i64 = 86_400_000;

/// Milliseconds to wait after `failures` tries have failed, spread by ±20 %; `None` where it is not sent again.
///
/// `asked_ms` is what the receiver's `Retry-After` says; it can lengthen the wait, up to a day. `scale` multiplies the
/// schedule (1.0 in production); `jitter` is a random number in `0.0..1.0`.
pub fn retry_ms(failures: i32, asked_ms: Option<i64>, scale: f64, jitter: f64) -> Option<i64> {
    let index = usize::try_from(failures.max(1) - 1).ok()?;
    let base = RETRY_MS.get(index).copied()?;
    Some(spread_ms(base, scale, jitter).max(asked_ms.unwrap_or(0).min(LONGEST_MS)))
}

/// Milliseconds that a `Retry-After` of an answer at `now` asks for: seconds, or a date. `None` for anything else.
pub fn retry_after_ms(text: &str, now: Timestamp) -> Option<i64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1000)).unwrap_or(i64::MAX));
    }
    let at = Timestamp::parse_http(text)?;
    Some(at.millis_since(now).max(0))
}

/// A secret that messages are signed with.
#[derive(Clone, PartialEq, Eq)]
struct Secret {
    /// As the operator wrote it.
    text: Vec<u8>,
    /// The key of the Standard Webhooks signature.
    key: Vec<u8>,
}

/// The secrets that messages are signed with: the current one, and while it is being replaced the one before.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SigningSecrets(Vec<Secret>);

/// Shortest secret that can be relied on, in bytes.
const SHORTEST: usize = 24;
const PREFIX: &str = "whsec_";

impl SigningSecrets {
    /// Reads `new` or `new,old`: each `whsec_` with Base64 behind it, or any text of at least 32 characters. An empty
    /// text is no secret at all.
    ///
    /// # Errors
    /// A sentence that says what is allowed; it does not repeat the secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.len() > 2 {
            return Err(String::from("holds more than two secrets; allowed: the current one, or `new,old`"));
        }
        parts.into_iter().map(Secret::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none: messages are not signed then.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `sha256=HEX` over the body, with the current secret.
    pub fn x_signature(&self, body: &[u8]) -> Option<String> {
        let mac = hmac(&self.0.first()?.text, &[body])?;
        Some(format!("sha256={}", hex::encode(mac)))
    }

    /// `webhook-signature` of Standard Webhooks: one for each secret, space-separated. `seconds` is the time of the try.
    pub fn standard(&self, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
        let seconds = seconds.to_string();
        let signed = |secret: &Secret| {
            let mac = hmac(&secret.key, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body])?;
            Some(format!("v1,{}", STANDARD.encode(mac)))
        };
        let all: Option<Vec<String>> = self.0.iter().map(signed).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.join(" "))
    }
}

impl Secret {
    fn parse(text: &str) -> Result<Self, String> {
        let key = match text.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).ok().filter(|key| key.len() >= SHORTEST),
            None => Some(text.as_bytes().to_vec()).filter(|key| key.len() >= 32),
        };
        let key = key.ok_or_else(|| {
            String::from(
                "is too short or no Base64; allowed: `whsec_` and the Base64 of 24 to 64 random bytes (make one with \
                 `echo whsec_$(openssl rand -base64 32)`), or any text of at least 32 characters",
            )
        })?;
        Ok(Self { text: text.as_bytes().to_vec(), key })
    }
}

impl std::fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningSecrets({})", self.0.len())
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_is_met() {
        let secrets = SigningSecrets::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = secrets.standard("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body).unwrap();
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let (new, old) = ("n".repeat(32), "o".repeat(32));
        let both = SigningSecrets::parse(&format!("{new},{old}")).unwrap();
        let alone = |text: &str| SigningSecrets::parse(text).unwrap();
        let expected = [&new, &old].map(|text| alone(text).standard("id", 7, b"x").unwrap()).join(" ");
        assert_eq!(both.standard("id", 7, b"x").unwrap(), expected);
        assert_eq!(both.x_signature(b"x"), alone(&new).x_signature(b"x"));
        assert!(!format!("{both:?}").contains('n'.to_string().repeat(3).as_str()));
    }

    #[test]
    fn weak_secrets_are_refused_without_repeating_them() {
        assert!(SigningSecrets::parse("").unwrap().is_empty());
        for bad in ["hunter2", "whsec_c2hvcnQ=", "whsec_!!!", &"x".repeat(31)] {
            assert!(!SigningSecrets::parse(bad).unwrap_err().contains(bad), "{bad}");
        }
        let three = ["a", "b", "c"].map(|letter| letter.repeat(32)).join(",");
        assert!(SigningSecrets::parse(&three).is_err());
    }

    #[test]
    fn tries_follow_the_schedule_and_the_receivers_wish_within_a_day() {
        let plan: Vec<_> = (1..=8).map(|failures| retry_ms(failures, None, 1.0, 0.5)).collect();
        let expected = [5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000, 86_400_000];
        assert_eq!(plan, expected.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
        assert_eq!(retry_ms(1, None, 1.0, 0.0), Some(4_000));
        assert_eq!(retry_ms(1, None, 1.0, 1.0), Some(6_000));
        assert_eq!(retry_ms(1, Some(7_000), 1.0, 0.5), Some(7_000));
        assert_eq!(retry_ms(1, Some(i64::MAX), 1.0, 0.5), Some(LONGEST_MS));
        assert_eq!(retry_ms(2, Some(1), 1.0, 0.5), Some(30_000));
    }

    #[test]
    fn what_a_receiver_asks_for_is_seconds_or_a_date() {
        let now = Timestamp::from_millis(784_111_777_000);
        assert_eq!(retry_after_ms("7", now), Some(7_000));
        assert_eq!(retry_after_ms("1000000000000000000000", now), Some(i64::MAX));
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(60_000));
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(0));
        for bad in ["", "-1", "soon", "1.5", "+7"] {
            assert_eq!(retry_after_ms(bad, now), None, "{bad}");
        }
    }
}
