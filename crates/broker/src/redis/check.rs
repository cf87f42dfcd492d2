//! Whether a Redis server may carry a queue: it must never drop what it was given.

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, RedisResult};

/// The oldest version that has what the scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// Why a server must not carry a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisRefusal {
    /// It lacks what the scripts use.
    #[error("Redis {version} is too old: {}.{} or newer is needed", OLDEST.0, OLDEST.1)]
    Old {
        /// Its version.
        version: String,
    },
    /// It may drop what it was given.
    #[error(
        "its maxmemory-policy is {policy}, under which Redis drops waiting jobs when it is full: set \
         `maxmemory-policy noeviction`"
    )]
    Drops {
        /// Its eviction policy.
        policy: String,
    },
}

/// What was found.
pub(super) enum Verdict {
    Good,
    Warning(String),
    Refused(RedisRefusal),
}

/// Looks at the server's version, eviction policy and persistence.
pub(super) async fn check(connection: &mut MultiplexedConnection) -> RedisResult<Verdict> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    Ok(judge(&info))
}

/// The value of `name` in what `INFO` says.
pub(super) fn value_in<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// What `INFO` says of a server, judged.
pub(super) fn judge(info: &str) -> Verdict {
    let value = |name: &str| value_in(info, name);
    let version = value("redis_version").unwrap_or_default();
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let number = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if number < OLDEST {
        return Verdict::Refused(RedisRefusal::Old { version: version.to_owned() });
    }
    if let Some(policy) = value("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        return Verdict::Refused(RedisRefusal::Drops { policy: policy.to_owned() });
    }
    if value("aof_enabled") == Some("0") {
        return Verdict::Warning(String::from(
            "Redis has no append-only file: after a restart of it the queue is built anew from the database, which \
             takes a moment; `appendonly yes` avoids that",
        ));
    }
    Verdict::Good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, policy: &str, aof: &str) -> String {
        format!("# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\naof_enabled:{aof}\r\n")
    }

    #[test]
    fn a_server_that_may_drop_entries_is_refused_and_one_that_forgets_at_a_restart_is_warned_of() {
        assert!(matches!(judge(&info("7.0.15", "noeviction", "1")), Verdict::Good));
        assert!(matches!(judge(&info("7.0.15", "noeviction", "0")), Verdict::Warning(text) if text.contains("append")));
        let refused = |version: &str, policy: &str| match judge(&info(version, policy, "1")) {
            Verdict::Refused(refusal) => refusal.to_string(),
            _ => panic!("{version} {policy} is not refused"),
        };
        assert!(refused("7.0.15", "allkeys-lru").contains("is allkeys-lru, under which"));
        assert_eq!(refused("6.0.16", "noeviction"), "Redis 6.0.16 is too old: 6.2 or newer is needed");
        assert!(matches!(judge(&info("6.2.0", "noeviction", "1")), Verdict::Good));
    }
}
