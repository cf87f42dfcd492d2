//! Logs and traces. The variables of traces are those of the OpenTelemetry specification.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use crate::parse::Reader;
use crate::settings::{LogFilter, LogFormat, LogSettings, Sampling, TraceSettings};

/// Below the collector's own address.
const TRACES: &str = "v1/traces";

pub(super) fn log(reader: &mut Reader<'_>) -> LogSettings {
    let allowed = "trace, debug, info, warn, error, fatal or silent; and for single targets, comma-separated, such as \
                   info,gateway_worker=debug";
    let filter = reader.parse("LOG_LEVEL", allowed, LogFilter::parse);
    let format = reader.parse("LOG_FORMAT", "auto, text or json", |text| match text {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    LogSettings {
        filter: filter.unwrap_or(LogFilter::all(tracing::level_filters::LevelFilter::INFO)),
        format: format.unwrap_or(LogFormat::Auto),
        configured: reader.is_set("LOG_LEVEL"),
    }
}

/// `None` where no collector is named: no traces are recorded then.
pub(super) fn traces(reader: &mut Reader<'_>) -> Option<TraceSettings> {
    let headers = reader.parse("OTEL_EXPORTER_OTLP_HEADERS", "name=value pairs, comma-separated", |text| {
        text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(header).collect::<Option<Vec<_>>>()
    });
    let protocol = "http/protobuf: the collector's port for HTTP, usually 4318";
    reader.parse("OTEL_EXPORTER_OTLP_PROTOCOL", protocol, |text| (text == "http/protobuf").then_some(()));
    let service = reader.text("OTEL_SERVICE_NAME");
    let sampling = sampling(reader);
    if !reader.is_set("OTEL_EXPORTER_OTLP_ENDPOINT") {
        return None;
    }
    let allowed = "an http:// or https:// URL such as http://127.0.0.1:4318, with no user, no query and no fragment";
    let endpoint = reader.parse("OTEL_EXPORTER_OTLP_ENDPOINT", allowed, endpoint)?;
    Some(TraceSettings { endpoint, headers: headers?, service, sampling: sampling? })
}

fn endpoint(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
    let named = url.host_str().is_some_and(|host| !host.is_empty());
    let open = url.username().is_empty() && url.password().is_none();
    (plain && named && open).then(|| format!("{}/{TRACES}", url.as_str().trim_end_matches('/')))
}

fn header(pair: &str) -> Option<(String, SecretString)> {
    let (name, value) = pair.split_once('=')?;
    let name = name.trim();
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let printable = value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
    (token && printable).then(|| (name.to_owned(), SecretString::from(value.as_ref())))
}

fn sampling(reader: &mut Reader<'_>) -> Option<Sampling> {
    let ratio = reader.parse("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", |text| {
        text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
    });
    let names = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or \
                 parentbased_traceidratio";
    reader.parse("OTEL_TRACES_SAMPLER", names, |text| {
        let (parent_based, root) = match text.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, text),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio.unwrap_or(1.0),
            _ => return None,
        };
        Some(Sampling { parent_based, ratio })
    })
}
