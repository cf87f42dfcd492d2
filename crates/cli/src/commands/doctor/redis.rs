//! Redis: whether it may carry the queue, and what a restart of it would cost. Leaves nothing there.

use gateway_broker::{RedisLook, RedisRefusal, RedisUnseen};
use gateway_config::Settings;

use super::DEADLINE;
use super::clocks::Skew;
use super::finding::{Area, Finding};

const AREA: Area = Area::Redis;

/// Looks at it, where one is configured.
pub(super) async fn look(settings: &Settings) -> (Vec<Finding>, Option<Skew>) {
    let Some(redis) = &settings.queue.redis else {
        let seen = "not used: the queue is in the process of the gateway (REDIS_URL is not set)";
        return (vec![Finding::ok(AREA, seen)], None);
    };
    let shown = &redis.shown;
    match tokio::time::timeout(DEADLINE, RedisLook::at(redis)).await {
        Ok(Ok(look)) => {
            let skew = Skew { of: shown.clone(), ahead_ms: look.ahead_ms };
            (judge(&look, shown), Some(skew))
        }
        Ok(Err(unseen)) => (vec![trouble(&unseen, shown)], None),
        Err(_elapsed) => {
            let unseen = RedisUnseen { reason: String::from("it does not answer in time"), refused: false };
            (vec![trouble(&unseen, shown)], None)
        }
    }
}

fn judge(look: &RedisLook, shown: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(refusal) = &look.refused {
        let seen = format!("{shown} must not carry the queue: {refusal}");
        let remedy = match refusal {
            RedisRefusal::Drops { .. } => {
                "`redis-cli -u \"$REDIS_URL\" CONFIG SET maxmemory-policy noeviction`, and the same in its configuration"
            }
            RedisRefusal::Old { .. } => "a newer Redis",
        };
        findings.push(Finding::error(AREA, seen, remedy));
    }
    if look.follows {
        let seen = format!("{shown} only follows another server, and takes no writes");
        findings.push(Finding::error(AREA, seen, "name the primary in REDIS_URL"));
    }
    if look.failing {
        let seen = format!("{shown} could not write its own files lately, and may refuse to be written to");
        findings.push(Finding::warning(AREA, seen, "see its log and its disk"));
    }
    if let Some(limit) = look.limit.filter(|limit| look.used > limit / 10 * 8) {
        let seen = format!("{shown} uses {} of the {} MiB that it may", look.used >> 20, limit >> 20);
        findings.push(Finding::warning(
            AREA,
            seen,
            "raise its maxmemory; `redis-cli -u \"$REDIS_URL\" --bigkeys` shows whose it is",
        ));
    }
    if let Some(warning) = &look.warning {
        let remedy = "`redis-cli -u \"$REDIS_URL\" CONFIG SET appendonly yes`, and the same in its configuration";
        findings.push(Finding::warning(AREA, format!("{shown}: {warning}"), remedy));
    }
    if findings.is_empty() {
        let seen =
            format!("Redis {}, {shown}: drops nothing (noeviction), and keeps it (append-only file)", look.version);
        findings.push(Finding::ok(AREA, seen));
    }
    findings
}

fn trouble(unseen: &RedisUnseen, shown: &str) -> Finding {
    let seen = format!("{shown} can't be used: {unseen}");
    if unseen.refused {
        let remedy = "correct user and password in REDIS_URL (redis://user:password@host:6379), percent-encode what is \
                      special in a URL, and let the user run INFO";
        return Finding::error(AREA, seen, remedy);
    }
    let remedy = "see whether it runs and listens there (`redis-cli -u \"$REDIS_URL\" ping`), whether a firewall is between, \
                  and whether both sides speak TLS (rediss://) or neither. Jobs are accepted and run meanwhile";
    Finding::unreachable(AREA, seen, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Report;

    #[test]
    fn what_a_redis_lacks_is_named_with_what_to_set() {
        let good = RedisLook {
            version: String::from("7.2.4"),
            refused: None,
            warning: None,
            follows: false,
            failing: false,
            used: 1,
            limit: None,
            ahead_ms: 0,
        };
        let told = |look: RedisLook| Report::new(judge(&look, "redis://here"), false).text(false);
        assert!(told(good.clone()).starts_with("ok"));
        let refused = |refusal: RedisRefusal| RedisLook { refused: Some(refusal), ..good.clone() };
        let policy = told(refused(RedisRefusal::Drops { policy: String::from("allkeys-lru") }));
        assert!(policy.contains("CONFIG SET maxmemory-policy noeviction`") && !policy.contains("newer"), "{policy}");
        let old = told(refused(RedisRefusal::Old { version: String::from("6.0.16") }));
        assert!(old.contains("a newer Redis") && !old.contains("noeviction"), "{old}");
        let forgetful = RedisLook { warning: Some(String::from("no append-only file")), ..good.clone() };
        assert!(told(forgetful).starts_with("warning"));
        let full = RedisLook { used: 90 << 20, limit: Some(100 << 20), ..good.clone() };
        assert!(told(full).contains("90 of the 100 MiB"));
        assert!(told(RedisLook { follows: true, ..good }).contains("primary"));
    }
}
