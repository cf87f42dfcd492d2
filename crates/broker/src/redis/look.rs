//! A look at a Redis that leaves nothing there, for whoever wants to know what is wrong with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_redis::redis::{self, AsyncConnectionConfig, Client, RedisError};
use gateway_config::RedisSettings;
use secrecy::ExposeSecret as _;

use super::check::{RedisRefusal, Verdict, judge, value_in};
use super::link::{Failure, without};

/// How long a connection, and an answer, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a Redis is like.
#[derive(Debug, Clone)]
pub struct RedisLook {
    /// Its version.
    pub version: String,
    /// Why it must not carry the queue.
    pub refused: Option<RedisRefusal>,
    /// What a restart of it would cost.
    pub warning: Option<String>,
    /// Whether it only follows another server, and takes no writes.
    pub follows: bool,
    /// Whether it could not write its own files lately: it may refuse to be written to.
    pub failing: bool,
    /// Bytes that it uses.
    pub used: u64,
    /// Bytes that it may use, where that is bounded.
    pub limit: Option<u64>,
    /// Milliseconds by which its clock is ahead of this machine's.
    pub ahead_ms: i64,
}

/// A Redis that could not be looked at.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct RedisUnseen {
    /// Why.
    pub reason: String,
    /// Whether it answered, and does not let this program in.
    pub refused: bool,
}

impl RedisLook {
    /// Looks at the server.
    ///
    /// # Errors
    /// [`RedisUnseen`] where it does not answer, or does not say how it is.
    pub async fn at(settings: &RedisSettings) -> Result<Self, RedisUnseen> {
        let url = settings.url.expose_secret();
        let unseen = |error: RedisError| {
            let failure = Failure::from(error);
            RedisUnseen { reason: without(&failure.reason, url), refused: failure.fatal }
        };
        let client = Client::open(url).map_err(unseen)?;
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(unseen)?;
        let before = millis();
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await.map_err(unseen)?;
        let halfway = before + (millis() - before) / 2;
        let info: String = redis::cmd("INFO").query_async(&mut connection).await.map_err(unseen)?;
        Ok(Self::read(&info, seconds * 1000 + micros / 1000 - halfway))
    }

    fn read(info: &str, ahead_ms: i64) -> Self {
        let (refused, warning) = match judge(info) {
            Verdict::Good => (None, None),
            Verdict::Warning(warning) => (None, Some(warning)),
            Verdict::Refused(refusal) => (Some(refusal), None),
        };
        let bytes = |name: &str| value_in(info, name).and_then(|text| text.parse::<u64>().ok());
        let bad = |name: &str| value_in(info, name).is_some_and(|status| status != "ok");
        Self {
            version: value_in(info, "redis_version").unwrap_or_default().to_owned(),
            refused,
            warning,
            follows: value_in(info, "role") == Some("slave"),
            failing: bad("rdb_last_bgsave_status") || bad("aof_last_write_status"),
            used: bytes("used_memory").unwrap_or(0),
            limit: bytes("maxmemory").filter(|limit| *limit > 0),
            ahead_ms,
        }
    }
}

fn millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_itself_is_read() {
        let info = "# Server\r\nredis_version:7.2.4\r\nused_memory:900\r\nmaxmemory:1000\r\n\
                    maxmemory_policy:noeviction\r\nrdb_last_bgsave_status:err\r\naof_enabled:0\r\n\
                    aof_last_write_status:ok\r\nrole:slave\r\n";
        let look = RedisLook::read(info, 7);
        assert_eq!((look.version.as_str(), look.used, look.limit, look.ahead_ms), ("7.2.4", 900, Some(1000), 7));
        assert!(look.follows && look.failing && look.refused.is_none());
        assert!(look.warning.is_some_and(|warning| warning.contains("appendonly")));
        let calm = "redis_version:7.2.4\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\nrole:master\r\n";
        let look = RedisLook::read(calm, 0);
        assert!(!look.follows && !look.failing && look.limit.is_none() && look.warning.is_none());
        assert!(matches!(look.refused, Some(RedisRefusal::Drops { policy }) if policy == "allkeys-lru"));
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_told_without_its_password() {
        let settings = RedisSettings {
            url: secrecy::SecretString::from("redis://:s3cret@127.0.0.1:9"),
            shown: String::from("redis://127.0.0.1:9"),
            prefix: String::from("gateway"),
        };
        let unseen = RedisLook::at(&settings).await.unwrap_err();
        assert!(!unseen.refused && !unseen.reason.contains("s3cret"), "{unseen:?}");
    }
}
