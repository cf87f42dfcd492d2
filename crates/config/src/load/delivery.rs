//! How results reach people: webhooks, the cache of results, files in and out, and how long what is kept.

use std::time::Duration;

use gateway_core::allowlist::Allowlist;
use gateway_core::webhook::SigningSecrets;

use crate::parse::Reader;
use crate::settings::{
    CacheScope, CacheSettings, Environment, FileSettings, RetentionSettings, UrlSettings, WebhookSettings,
};

const DAY: u64 = 24 * 3_600;

pub(super) fn webhooks(reader: &mut Reader<'_>, environment: Environment) -> WebhookSettings {
    let secrets = match SigningSecrets::parse(&reader.text("WEBHOOK_SECRET")) {
        Ok(secrets) => secrets,
        Err(reason) => {
            reader.fault("WEBHOOK_SECRET", &reason);
            SigningSecrets::default()
        }
    };
    let require_https = match reader.is_set("WEBHOOK_REQUIRE_HTTPS") {
        true => reader.flag("WEBHOOK_REQUIRE_HTTPS"),
        false => environment == Environment::Production,
    };
    let urls = UrlSettings { allow: hosts(reader, "WEBHOOK_ALLOWED_DOMAINS"), require_https };
    WebhookSettings { secrets, urls, retry_scale: 1.0 }
}

fn hosts(reader: &mut Reader<'_>, name: &str) -> Allowlist {
    let text = reader.text(name);
    if text == "none" {
        return Allowlist::default();
    }
    match Allowlist::parse(&text) {
        Ok(allow) => allow,
        Err(error) => {
            reader.fault(name, &error.to_string());
            Allowlist::default()
        }
    }
}

pub(super) fn cache(reader: &mut Reader<'_>) -> CacheSettings {
    let enabled = reader.flag("CACHE_ENABLED");
    let ttl = Duration::from_secs(reader.number("CACHE_TTL_SECONDS", 1, 31_536_000));
    let scope = reader.parse("CACHE_SCOPE", "owner or global", |text| match text {
        "owner" => Some(CacheScope::Owner),
        "global" => Some(CacheScope::Global),
        _ => None,
    });
    CacheSettings { ttl: enabled.then_some(ttl), scope: scope.unwrap_or(CacheScope::Owner) }
}

pub(super) fn files(reader: &mut Reader<'_>) -> FileSettings {
    FileSettings {
        max_upload_bytes: reader.number("MAX_UPLOAD_BYTES", 1_024, 17_179_869_184),
        upload_ttl: Duration::from_secs(reader.number("UPLOAD_TTL", 60, 31_536_000)),
        urls: UrlSettings { allow: hosts(reader, "INPUT_ALLOWED_DOMAINS"), require_https: false },
        max_inline_bytes: reader.number("MAX_INLINE_BYTES", 1_024, 1_073_741_824),
        strip_metadata: reader.flag("STRIP_METADATA"),
        conversions: usize::try_from(reader.number("IMAGE_CONVERSIONS", 1, 64)).unwrap_or(1),
    }
}

pub(super) fn retention(reader: &mut Reader<'_>) -> RetentionSettings {
    let mut days = |name: &str| match reader.number(name, 0, 36_500) {
        0 => None,
        days => Some(Duration::from_secs(days * DAY)),
    };
    RetentionSettings { jobs: days("JOB_RETENTION_DAYS"), outputs: days("OUTPUT_RETENTION_DAYS") }
}
