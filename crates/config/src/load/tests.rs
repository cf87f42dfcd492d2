use std::io::Write as _;

use secrecy::ExposeSecret as _;

use super::*;
use crate::settings::{Sampling, StorageBackend};
use crate::variables::VARIABLES;

fn from_file(text: &str) -> Result<Settings, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(file.path(), &Overrides::default())
}

fn faults(text: &str) -> String {
    from_file(text).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let settings = load(Path::new("/nonexistent/.env"), &Overrides::default()).unwrap();
    assert_eq!(settings.http.port, 3000);
    assert_eq!(settings.http.host, "0.0.0.0");
    assert_eq!(settings.comfyui.backends[0].display_url, "http://127.0.0.1:8188");
    assert_eq!(settings.comfyui.timeout, Duration::from_secs(300));
    assert_eq!(settings.database.file(), Some(Path::new("./data/gateway.db")));
    assert!(matches!(&settings.storage.backend, StorageBackend::Local { root } if root == Path::new("./data/outputs")));
    assert_eq!((settings.limits.max_image_size, settings.limits.max_batch_size), (2048, 4));
    assert_eq!((settings.worker.concurrency, settings.queue.owner_running), (1, None));
    assert_eq!((settings.log.filter.to_string().as_str(), settings.traces.is_none()), ("info", true));
    assert_eq!(settings.environment, Environment::Development);
}

#[test]
fn a_wrong_value_is_named_with_its_origin_and_what_is_allowed() {
    for (line, parts) in [
        ("PORT=abc", ["PORT is `abc`", "0 to 65535"]),
        ("PORT=65536", ["PORT is `65536`", "0 to 65535"]),
        ("COMFYUI_URL=ftp://x", ["COMFYUI_URL is `ftp://x`", "http:// or https://"]),
        ("COMFYUI_TIMEOUT_MS=0", ["COMFYUI_TIMEOUT_MS is `0`", "1000 to 21600000"]),
        ("MAX_CONCURRENCY=-1", ["MAX_CONCURRENCY is `-1`", "1 to 256"]),
        ("STORAGE_PROVIDER=ftp", ["STORAGE_PROVIDER is `ftp`", "local or s3"]),
        ("CACHE_ENABLED=maybe", ["CACHE_ENABLED is `maybe`", "true or false"]),
        ("CACHE_TTL_SECONDS=x", ["CACHE_TTL_SECONDS is `x`", "1 to"]),
        ("RATE_LIMIT_MAX=0", ["RATE_LIMIT_MAX is `0`", "1 to"]),
        ("OWNER_RUNNING_LIMIT=-1", ["OWNER_RUNNING_LIMIT is `-1`", "0 to"]),
        ("RATE_LIMIT_WINDOW_MS=1", ["RATE_LIMIT_WINDOW_MS is `1`", "100 to"]),
        ("LOG_LEVEL=loud", ["LOG_LEVEL is `loud`", "trace, debug"]),
        ("LOG_LEVEL=info,gateway_worker", ["LOG_LEVEL is `info,gateway_worker`", "info,gateway_worker=debug"]),
        ("LOG_LEVEL=gateway_worker=loud", ["LOG_LEVEL is `gateway_worker=loud`", "trace, debug"]),
        ("LOG_LEVEL=info,debug", ["LOG_LEVEL is `info,debug`", "trace, debug"]),
        ("LOG_LEVEL=info,a=warn,a=debug", ["LOG_LEVEL is", "trace, debug"]),
        ("LOG_LEVEL==warn", ["LOG_LEVEL is `=warn`", "trace, debug"]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", ["OTEL_EXPORTER_OTLP_ENDPOINT is", "http://127.0.0.1:4318"]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=http://u:p@h", ["OTEL_EXPORTER_OTLP_ENDPOINT is", "no user"]),
        ("OTEL_EXPORTER_OTLP_PROTOCOL=grpc", ["OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`", "4318"]),
        ("OTEL_EXPORTER_OTLP_HEADERS=key", ["OTEL_EXPORTER_OTLP_HEADERS is (secret)", "name=value"]),
        ("OTEL_TRACES_SAMPLER=often", ["OTEL_TRACES_SAMPLER is `often`", "parentbased_traceidratio"]),
        ("OTEL_TRACES_SAMPLER_ARG=2", ["OTEL_TRACES_SAMPLER_ARG is `2`", "from 0 to 1"]),
        ("NODE_ENV=prod", ["NODE_ENV is `prod`", "production"]),
        ("CORS_ORIGINS=nope", ["CORS_ORIGINS is `nope`", "https://app.example.com"]),
        ("S3_ENDPOINT=nope", ["S3_ENDPOINT is `nope`", "http://"]),
        ("DATABASE_URL=mysql://x", ["DATABASE_URL is `mysql://x`", "file path"]),
        ("HOST=a b", ["HOST is `a b`", "IP address"]),
        ("DATABASE_URL=:memory:", ["DATABASE_URL is `:memory:`", "path of a file"]),
        ("DATABASE_URL=sqlite://", ["DATABASE_URL is `sqlite://`", "path of a file"]),
        ("WEBHOOK_ALLOWED_DOMAINS=http://a,,b", ["WEBHOOK_ALLOWED_DOMAINS is", "without a scheme"]),
        ("CACHE_SCOPE=all", ["CACHE_SCOPE is `all`", "owner or global"]),
        ("UPLOAD_TTL=0", ["UPLOAD_TTL is `0`", "60 to"]),
        ("JOB_RETENTION_DAYS=-1", ["JOB_RETENTION_DAYS is `-1`", "0 to"]),
        ("S3_BUCKET=a/b", ["S3_BUCKET is `a/b`", "3 to 63"]),
        ("S3_ENDPOINT=http://h?x=1", ["S3_ENDPOINT is", "no query"]),
        ("S3_REGION=eu/1", ["S3_REGION is `eu/1`", "us-east-1"]),
        ("S3_PATH_STYLE=maybe", ["S3_PATH_STYLE is `maybe`", "true or false"]),
        ("S3_PREFIX=a/../b", ["S3_PREFIX is `a/../b`", "separated by /"]),
    ] {
        let text = faults(&line.replace("a b", "\"a b\""));
        for part in parts {
            assert!(text.contains(part), "{line}: {text}");
        }
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let text = faults("PORT=x\nMAX_BATCH_SIZE=0\nLOG_LEVEL=loud\n");
    for name in ["PORT", "MAX_BATCH_SIZE", "LOG_LEVEL"] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn secrets_are_shown_nowhere() {
    let text = faults("API_KEYS=hunter2:nobody\nJWT_SECRET=hunter2\nREDIS_URL=http://u:hunter2@h\nPORT=x");
    assert!(["API_KEYS", "JWT_SECRET", "REDIS_URL"].iter().all(|name| text.contains(name)), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let postgres = from_file("DATABASE_URL=postgres://u:hunter2@h/db").unwrap();
    assert!(!format!("{postgres:?}").contains("hunter2"));
    let settings =
        from_file("COMFYUI_URL=http://u:hunter2@h:1/pre\nCOMFYUI_HEADERS=\"Authorization: Bearer hunter2\"").unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let backend = &settings.comfyui.backends[0];
    assert_eq!(backend.display_url, "http://h:1/pre");
    assert!(backend.url.expose_secret().contains("hunter2"));
    assert_eq!(settings.comfyui.headers[0].0, "Authorization");
}

#[test]
fn a_key_where_a_path_belongs_is_shown_nowhere() {
    let pem = "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----";
    let bare = "MC4CAQAwBQYDK2VwBCIEIJhunter2hunter2hunter2hunter2hunter2hunter2";
    for (line, parts) in [
        (format!("JWT_PUBLIC_KEY=\"{pem}\""), ["JWT_PUBLIC_KEY is (secret)", "give the public key"]),
        (format!("JWT_JWKS_FILE=\"{pem}\""), ["JWT_JWKS_FILE is (secret)", "can't be read"]),
        (
            String::from(r#"JWT_JWKS_FILE='{"keys": [{"kty": "RSA", "d": "hunter2"}]}'"#),
            ["JWT_JWKS_FILE is (secret)", "can't be read"],
        ),
        (format!("TLS_CERT=\"{pem}\"\nTLS_KEY=key.pem"), ["TLS_CERT is (secret)", "must be the path of a PEM file"]),
        (format!("TLS_CERT=cert.pem\nTLS_KEY=\"{pem}\""), ["TLS_KEY is (secret)", "must be the path of a PEM file"]),
        (format!("TLS_CERT=cert.pem\nTLS_KEY={bare}"), ["TLS_KEY is (secret)", "must be the path of a PEM file"]),
        (format!("JWT_PUBLIC_KEY={bare}"), ["JWT_PUBLIC_KEY is (secret)", "can't be read"]),
    ] {
        let text = faults(&line);
        assert!(parts.iter().all(|part| text.contains(part)) && !text.contains("hunter2"), "{line}: {text}");
    }
}

#[test]
fn a_claim_that_can_hold_no_role_is_blamed_on_its_own_variable() {
    let text = faults(&format!("JWT_SECRET={}\nJWT_ROLE_CLAIM=sub", "hunter2-".repeat(4)));
    assert!(text.contains("JWT_ROLE_CLAIM is `sub`") && !text.contains("JWT_SECRET"), "{text}");
}

#[test]
fn credentials_that_can_be_guessed_are_refused() {
    for line in ["JWT_SECRET=abc", "NODE_ENV=production\nAPI_KEYS=k:admin", "GATEWAY_ENV=production\nAPI_KEYS=k:admin"]
    {
        assert!(from_file(line).is_err(), "{line}");
    }
}

#[test]
fn privacy_keeps_no_results_and_no_metadata_and_has_libraries_be_quiet() {
    let settings = from_file("PRIVACY_MODE=true\nSTRIP_METADATA=false\nCACHE_ENABLED=true\nLOG_LEVEL=trace").unwrap();
    assert!(settings.access.privacy && settings.database.redact && settings.files.strip_metadata);
    assert_eq!(settings.cache.ttl, None);
    assert_eq!(settings.log.filter.to_string(), "info,comfyui=trace,gateway=trace");
    for (level, private) in [
        ("warn", "warn"),
        ("warn,tungstenite=trace,hyper=warn", "warn,hyper=warn,tungstenite=info"),
        ("info,gateway_worker=debug,g=trace", "info,g=info,gateway_worker=debug"),
        ("debug,gateway=warn", "info,comfyui=debug,gateway=warn"),
    ] {
        let settings = from_file(&format!("PRIVACY_MODE=true\nLOG_LEVEL={level}")).unwrap();
        assert_eq!(settings.log.filter.to_string(), private, "{level}");
    }
    let usual = from_file("LOG_LEVEL=trace").unwrap();
    assert!(!usual.access.privacy && !usual.database.redact && !usual.files.strip_metadata);
    assert!(usual.cache.ttl.is_some());
    assert_eq!(usual.log.filter.to_string(), "trace");
}

#[test]
fn levels_are_set_for_all_targets_and_for_single_ones() {
    for (text, filter) in [
        ("silent", "off"),
        ("fatal", "error"),
        ("gateway_worker=debug", "info,gateway_worker=debug"),
        ("\"warn, gateway_worker::run = trace ,hyper=silent\"", "warn,gateway_worker::run=trace,hyper=off"),
    ] {
        assert_eq!(from_file(&format!("LOG_LEVEL={text}")).unwrap().log.filter.to_string(), filter);
    }
}

#[test]
fn traces_go_where_the_standard_variables_say() {
    let settings = from_file(
        "OTEL_EXPORTER_OTLP_ENDPOINT=https://collector:4318/otlp/\n\
         OTEL_EXPORTER_OTLP_HEADERS=\"api-key=hunter2%20x, x-team = a\"\n\
         OTEL_TRACES_SAMPLER=parentbased_traceidratio\nOTEL_TRACES_SAMPLER_ARG=0.25",
    )
    .unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let traces = settings.traces.unwrap();
    assert_eq!(traces.endpoint, "https://collector:4318/otlp/v1/traces");
    let headers: Vec<_> =
        traces.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret().to_owned())).collect();
    assert_eq!(headers, [("api-key", String::from("hunter2 x")), ("x-team", String::from("a"))]);
    assert_eq!(traces.service, "comfyui-gateway");
    assert_eq!(traces.sampling, Sampling { parent_based: true, ratio: 0.25 });
    for (sampler, sampling) in [
        ("always_on", Sampling { parent_based: false, ratio: 1.0 }),
        ("parentbased_always_off", Sampling { parent_based: true, ratio: 0.0 }),
        ("traceidratio", Sampling { parent_based: false, ratio: 1.0 }),
    ] {
        let text = format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318\nOTEL_TRACES_SAMPLER={sampler}");
        assert_eq!(from_file(&text).unwrap().traces.unwrap().sampling, sampling, "{sampler}");
    }
}

#[test]
fn redis_is_named_with_or_without_tls_and_its_password_is_shown_nowhere() {
    let settings = from_file("REDIS_URL=rediss://u:hunter2@h:6380/3\nREDIS_PREFIX=shop").unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let redis = settings.queue.redis.unwrap();
    assert_eq!((redis.shown.as_str(), redis.prefix.as_str()), ("rediss://h:6380/3", "shop"));
    assert!(settings.warnings.iter().any(|warning| warning.contains("STORAGE_PROVIDER")));
    for line in
        ["REDIS_URL=http://h", "REDIS_URL=redis://h/x", "REDIS_URL=h:6379", "REDIS_PREFIX=a b", "WORKER_NODE=a/b"]
    {
        assert!(from_file(line).is_err(), "{line}");
    }
    assert_eq!(from_file("WORKER_NODE=gpu-1").unwrap().worker.node, "gpu-1");
    assert!(!from_file("").unwrap().worker.node.is_empty());
}

#[test]
fn the_command_line_wins_over_the_file_and_unknown_names_are_told() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"PORT=1\nCOMFY_URL=http://typo\n").unwrap();
    let settings = load(file.path(), &Overrides::default().with("PORT", Some(2))).unwrap();
    assert_eq!(settings.http.port, 2);
    assert!(settings.warnings.iter().any(|w| w.contains("COMFY_URL")));
}

#[test]
fn what_is_empty_on_the_command_line_hides_nothing_that_the_file_says() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"HOST=127.0.0.1\n").unwrap();
    let host = |value: &str| load(file.path(), &Overrides::default().with("HOST", Some(value))).unwrap().http.host;
    assert_eq!((host(""), host(" "), host("::1")), ("127.0.0.1".into(), "127.0.0.1".into(), "::1".into()));
}

#[test]
fn variables_of_a_file_that_hold_secrets_are_known_however_they_are_written() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = "# JWT_SECRET=x\nexport API_KEYS=k:admin\n  S3_SECRET_KEY = 's3cret'\nREDIS_URL=\nPORT=1\n\
                DATABASE_URL=postgres://a:s3cret@h/db\nCOMFYUI_URL=http://one,http://a:s3cret@two\n";
    file.write_all(text.as_bytes()).unwrap();
    assert_eq!(crate::secrets_in(file.path()), ["COMFYUI_URL", "API_KEYS", "DATABASE_URL", "S3_SECRET_KEY"]);
    assert_eq!(crate::secrets_in(Path::new("/nonexistent/.env")), [""; 0]);
}

#[test]
fn a_broken_env_file_is_named() {
    let text = faults("PORT='3000\n");
    assert!(text.contains("can't be read: line 1 is not NAME=value"), "{text}");
    let text = faults("\nJWT_SECRET=hunter2 hunter2\n");
    assert!(text.contains("line 2") && !text.contains("hunter2"), "{text}");
}

#[test]
fn what_the_table_says_of_numbers_is_what_is_taken() {
    let mut numbers = 0;
    for variable in VARIABLES {
        let Err(error) = from_file(&format!("{}=-1", variable.name)) else { continue };
        let text = error.to_string();
        let Some((_, range)) = text.split_once("a whole number from ") else { continue };
        let (low, high) = range.lines().next().unwrap().split_once(" to ").unwrap();
        let told = format!("{low}–{high}");
        let most = (low == "0").then(|| format!("at most {high}"));
        let purpose = variable.purpose;
        assert!(
            purpose.contains(&told) || most.is_some_and(|most| purpose.contains(&most)),
            "{} takes {told}; the table says: {purpose}",
            variable.name
        );
        numbers += 1;
    }
    assert!(numbers > 25, "only {numbers} are numbers");
}

#[test]
fn a_password_in_a_wrong_url_is_not_shown() {
    for line in [
        "COMFYUI_URL=https://bob:hunter2@gpu.example?x=1",
        "COMFYUI_URL='http://bob:hunter2#@gpu.example'",
        "COMFYUI_URL='http://bob:hun@ter2@gpu.example?'",
        "DATABASE_URL=mysql://bob:hunter2@db/gateway",
        "S3_ENDPOINT=s3://bob:hunter2@minio",
        "S3_ENDPOINT=https://bob:hunter2@minio",
    ] {
        let text = faults(line);
        assert!(!text.contains("hun") && !text.contains("ter2") && !text.contains("bob"), "{text}");
        assert!(text.contains("//…@"), "{text}");
    }
}

#[test]
fn a_file_that_begins_with_a_byte_order_mark_is_read() {
    assert_eq!(from_file("\u{feff}PORT=4000\n").unwrap().http.port, 4000);
}

#[test]
fn the_usual_forms_of_allowed_domains_are_taken() {
    for good in ["*", "example.com", "*.example.com, hooks:8080", "127.0.0.1:9000,[::1]"] {
        assert!(from_file(&format!("WEBHOOK_ALLOWED_DOMAINS=\"{good}\"")).is_ok(), "{good}");
    }
    for bad in ["*.", "a.*.com", "*foo.com", "a b", "host:99999"] {
        assert!(from_file(&format!("WEBHOOK_ALLOWED_DOMAINS=\"{bad}\"")).is_err(), "{bad}");
    }
}

#[test]
fn webhook_secrets_are_long_and_shown_nowhere_and_callbacks_can_be_switched_off() {
    let secret = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let settings = from_file(&format!("WEBHOOK_SECRET={secret}")).unwrap();
    assert!(!settings.webhooks.secrets.is_empty() && !format!("{settings:?}").contains("hunter2"));
    assert!(!settings.warnings(true).any(|warning| warning.contains("WEBHOOK_SECRET")));
    let unsigned = from_file("").unwrap();
    assert!(unsigned.warnings(true).any(|warning| warning.contains("WEBHOOK_SECRET")));
    assert!(!unsigned.warnings(false).any(|warning| warning.contains("WEBHOOK_SECRET")), "it sends none");
    let text = faults("WEBHOOK_SECRET=hunter2");
    assert!(text.contains("WEBHOOK_SECRET is (secret)") && !text.contains("hunter2"), "{text}");
    assert!(from_file("WEBHOOK_ALLOWED_DOMAINS=none").unwrap().webhooks.urls.allow.is_empty());
    assert!(!from_file("WEBHOOK_ALLOWED_DOMAINS=").unwrap().webhooks.urls.allow.is_empty());
    assert!(!from_file("").unwrap().webhooks.urls.require_https);
    assert!(from_file("WEBHOOK_REQUIRE_HTTPS=true").unwrap().webhooks.urls.require_https);
}

#[test]
fn nothing_is_removed_unless_that_is_asked_for() {
    let retention = from_file("").unwrap().retention;
    assert_eq!((retention.jobs, retention.outputs), (None, None));
    let retention = from_file("JOB_RETENTION_DAYS=2\nOUTPUT_RETENTION_DAYS=1").unwrap().retention;
    let days = |days: u64| Some(std::time::Duration::from_secs(days * 86_400));
    assert_eq!((retention.jobs, retention.outputs), (days(2), days(1)));
    assert_eq!(from_file("CACHE_ENABLED=false").unwrap().cache.ttl, None);
}

const S3: &str = "STORAGE_PROVIDER=s3\nS3_BUCKET=pictures\nS3_ACCESS_KEY=id\nS3_SECRET_KEY=hunter2\n";

fn s3(more: &str) -> crate::S3Settings {
    match from_file(&format!("{S3}{more}")).unwrap().storage.backend {
        StorageBackend::S3(settings) => settings,
        StorageBackend::Local { root } => panic!("local: {}", root.display()),
    }
}

#[test]
fn a_bucket_is_reached_by_host_name_on_aws_and_by_path_elsewhere() {
    let aws = s3("");
    assert_eq!((aws.endpoint, aws.bucket.as_str(), aws.region.as_str()), (None, "pictures", "us-east-1"));
    assert!(!aws.path_style);
    let minio = s3("S3_ENDPOINT=http://minio:9000/\nS3_REGION=auto\nS3_PREFIX=/team/a/\n");
    assert_eq!(minio.endpoint.as_deref(), Some("http://minio:9000"));
    assert_eq!((minio.region.as_str(), minio.prefix.as_str()), ("auto", "team/a"));
    assert!(minio.path_style);
    assert!(!s3("S3_ENDPOINT=http://minio:9000\nS3_PATH_STYLE=false\n").path_style);
    assert!(s3("S3_PATH_STYLE=true\n").path_style);
}

#[test]
fn s3_is_refused_with_the_names_of_what_is_missing_and_its_keys_are_not_shown() {
    let text = faults("STORAGE_PROVIDER=s3\nS3_ACCESS_KEY=id\nPORT=x\n");
    assert!(text.contains("STORAGE_PROVIDER is `s3`"), "{text}");
    assert!(text.contains("it also needs S3_BUCKET, S3_SECRET_KEY;") && text.contains("PORT"), "{text}");
    let settings = s3("");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert_eq!(settings.secret_key.expose_secret(), "hunter2");
    let text = faults(&format!("{S3}MAX_OUTPUT_BYTES=83886080001\n"));
    assert!(text.contains("at most 83886080000"), "{text}");
    assert!(from_file("MAX_OUTPUT_BYTES=83886080001\n").is_ok());
}
