//! The text that Prometheus reads: what was counted since the start of the process, and what is at the moment.

use std::sync::{OnceLock, PoisonError, RwLock};

use metrics::{set_global_recorder, with_local_recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::family::Kind;
use crate::table::{ALL, BUILD_INFO};

/// The type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// There is one recorder a process; every gateway in it records there.
static COUNTED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();

/// Nothing can be measured: something else in this process does that already.
#[derive(Debug, Clone, thiserror::Error)]
#[error("nothing can be measured: {0}")]
pub struct NotMeasured(String);

/// Sets gauges to what they are at the moment, in whichever recorder is the current one.
type Look = Box<dyn Fn() + Send + Sync>;

/// What one gateway shows.
pub struct Exposition {
    /// `None` where nothing is measured.
    counted: Option<PrometheusHandle>,
    looks: RwLock<Vec<Look>>,
}

impl Exposition {
    /// Begins to measure, where nobody in this process has yet. Handles that were asked for before measure nothing.
    ///
    /// # Errors
    /// [`NotMeasured`] where another recorder is in place.
    pub fn start(version: &'static str) -> Result<Self, NotMeasured> {
        let counted = Some(COUNTED.get_or_init(record).clone().map_err(NotMeasured)?);
        let collector = Collector::default();
        let exposition = Self { counted, looks: RwLock::default() };
        exposition.add(move || {
            BUILD_INFO.of([version.into()]).set(1.0);
            collector.collect();
        });
        Ok(exposition)
    }

    /// One that shows nothing, and for which nothing is measured.
    pub fn off() -> Self {
        Self { counted: None, looks: RwLock::default() }
    }

    /// Whether anything is measured.
    pub fn is_on(&self) -> bool {
        self.counted.is_some()
    }

    /// Has `look` called for each text. It sets gauges, and must not wait.
    pub fn add(&self, look: impl Fn() + Send + Sync + 'static) {
        self.looks.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(look));
    }

    /// The text; none where nothing is measured. `also` sets further gauges, known only now.
    pub fn render(&self, also: impl FnOnce()) -> Option<String> {
        let mut text = self.counted.as_ref()?.render();
        let now = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&now, || {
            describe();
            also();
            self.looks.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|look| look());
        });
        text.push_str(&now.handle().render());
        Some(text)
    }

    /// Gathers what histograms have been told since the last time. Without it, and without anybody who scrapes, they keep
    /// each value.
    pub fn upkeep(&self) {
        if let Some(counted) = &self.counted {
            counted.run_upkeep();
        }
    }
}

impl std::fmt::Debug for Exposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

/// Makes the recorder of this process.
fn record() -> Result<PrometheusHandle, String> {
    let recorder = with_buckets().map_err(|error| error.to_string())?.build_recorder();
    let handle = recorder.handle();
    set_global_recorder(recorder).map_err(|error| error.to_string())?;
    describe();
    Ok(handle)
}

fn with_buckets() -> Result<PrometheusBuilder, BuildError> {
    ALL.iter().try_fold(PrometheusBuilder::new(), |builder, family| match family.kind {
        Kind::Histogram(buckets) => builder.set_buckets_for_metric(Matcher::Full(family.name.to_owned()), buckets),
        Kind::Counter | Kind::Gauge => Ok(builder),
    })
}

fn describe() {
    ALL.iter().for_each(|family| family.describe());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{HTTP_DURATION, JOBS_ENDED, QUEUE_DEPTH};

    #[test]
    fn what_was_counted_stays_and_what_is_gone_is_not_shown() {
        let exposition = Exposition::start("1.2.3").unwrap();
        let again = Exposition::start("1.2.3").unwrap();
        JOBS_ENDED.of(["w".into(), "failed".into(), "INTERNAL".into()]).increment(2);
        HTTP_DURATION.of(["GET".into(), "/jobs".into()]).record(0.3);
        let first = exposition.render(|| QUEUE_DEPTH.of(["high".into()]).set(7.0)).unwrap();
        assert!(first.contains("gateway_jobs_ended_total{workflow=\"w\",status=\"failed\",code=\"INTERNAL\"} 2\n"));
        assert!(
            first.contains(
                "gateway_http_request_duration_seconds_bucket{method=\"GET\",route=\"/jobs\",le=\"0.5\"} 1\n"
            )
        );
        assert!(
            first.contains(
                "gateway_http_request_duration_seconds_bucket{method=\"GET\",route=\"/jobs\",le=\"0.25\"} 0\n"
            )
        );
        assert!(first.contains("# TYPE gateway_queue_depth gauge\ngateway_queue_depth{lane=\"high\"} 7\n"), "{first}");
        assert!(first.contains("gateway_build_info{version=\"1.2.3\"} 1\n"));
        assert!(first.contains("# HELP gateway_jobs_ended_total "));
        again.upkeep();
        let second = again.render(|| ()).unwrap();
        assert!(second.contains("gateway_http_request_duration_seconds_count{method=\"GET\",route=\"/jobs\"} 1\n"));
        assert!(second.contains("code=\"INTERNAL\"} 2\n") && !second.contains("gateway_queue_depth"), "{second}");
        let resident = second.lines().find(|line| line.starts_with("process_resident_memory_bytes ")).unwrap();
        assert!(resident.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 1e6);
        let off = Exposition::off();
        off.upkeep();
        assert_eq!(off.render(|| panic!("nobody is shown anything")), None);
    }
}
