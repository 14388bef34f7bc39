//! Every metric of the product, in one table: name, help, labels, buckets.
//!
//! Names follow Prometheus practice: prefix `proofmill_`, base units, `_total` for counters. Dashboards and
//! alert rules are checked against [`Metrics::DESCRIPTORS`].

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::labels::{
    CLOSE_REASONS, FACE_LANES, FALLBACKS, LANES, OUTCOMES, PARTS, RESULTS, STAGES, SWEEPS, TRUST_KINDS,
};

/// `Content-Type` of what [`Metrics::encode`] writes.
pub const METRICS_CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Requests over HTTP, from a cached read to a long poll.
const HTTP_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];
/// One stage of one attempt or batch: from the 35 µs of a signature to a slow decode.
const STAGE_SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// From the answer 202 to the verdict: under a second when idle, hours when a cluster was down.
const VERDICT_SECONDS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0];
/// From a delivery falling due to its being sent.
const LAG_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0];
/// Bytes of one evidence request.
const EVIDENCE_BYTES: &[f64] = &[
    32_768.0,
    65_536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    25_165_824.0,
];
/// Items of a batch.
const BATCH_ITEMS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
/// Part of a batch's capacity that was used.
const RATIO: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Which kind of series a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Series `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A metric as dashboards see it.
#[derive(Clone, Copy, Debug)]
pub struct MetricDescriptor {
    /// Full name.
    pub name: &'static str,
    /// Kind of series.
    pub kind: MetricKind,
    /// What it measures.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

/// What is running.
#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// Version of the product.
    pub version: &'static str,
    /// Commit it was built from, or `unknown`.
    pub commit: &'static str,
    /// `api`, `worker` or `standalone`.
    pub role: &'static str,
}

/// A metric could not be registered: a programming error in the table.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// Builds one metric from its row of the table.
trait Build: Collector + Clone + Sized + 'static {
    const KIND: MetricKind;
    fn build(descriptor: &MetricDescriptor, buckets: &[f64]) -> prometheus::Result<Self>;
}

macro_rules! build {
    ($type:ty, $kind:ident, |$d:ident, $b:ident| $make:expr) => {
        impl Build for $type {
            const KIND: MetricKind = MetricKind::$kind;
            fn build($d: &MetricDescriptor, $b: &[f64]) -> prometheus::Result<Self> {
                let _ = $b;
                $make
            }
        }
    };
}
build!(IntCounter, Counter, |d, b| IntCounter::new(d.name, d.help));
build!(Counter, Counter, |d, b| Counter::new(d.name, d.help));
build!(IntCounterVec, Counter, |d, b| IntCounterVec::new(Opts::new(d.name, d.help), d.labels));
build!(CounterVec, Counter, |d, b| CounterVec::new(Opts::new(d.name, d.help), d.labels));
build!(IntGauge, Gauge, |d, b| IntGauge::new(d.name, d.help));
build!(Gauge, Gauge, |d, b| Gauge::new(d.name, d.help));
build!(IntGaugeVec, Gauge, |d, b| IntGaugeVec::new(Opts::new(d.name, d.help), d.labels));
build!(GaugeVec, Gauge, |d, b| GaugeVec::new(Opts::new(d.name, d.help), d.labels));
build!(Histogram, Histogram, |d, b| Histogram::with_opts(HistogramOpts::new(d.name, d.help).buckets(b.to_vec())));
build!(HistogramVec, Histogram, |d, b| HistogramVec::new(
    HistogramOpts::new(d.name, d.help).buckets(b.to_vec()),
    d.labels
));

macro_rules! metrics {
    ($($field:ident: $type:ty = $name:literal, [$($label:literal),*], $buckets:expr, $help:literal;)*) => {
        /// Every metric of the product. Cheap to clone; clones count together.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub $field: $type,)*
        }

        impl Metrics {
            /// The table, in its own order.
            pub const DESCRIPTORS: &'static [MetricDescriptor] = &[$(MetricDescriptor {
                name: concat!("proofmill_", $name),
                kind: <$type as Build>::KIND,
                help: $help,
                labels: &[$($label),*],
            },)*];

            fn build(registry: Registry) -> Result<Self, MetricsError> {
                let mut rows = Self::DESCRIPTORS.iter();
                $(let $field = {
                    let row = rows.next().ok_or_else(|| prometheus::Error::Msg("short table".into()))?;
                    let metric = <$type as Build>::build(row, $buckets)?;
                    registry.register(Box::new(metric.clone()))?;
                    metric
                };)*
                Ok(Self { registry, $($field,)* })
            }
        }
    };
}

const NONE: &[f64] = &[];

metrics! {
    // HTTP.
    http_requests: IntCounterVec = "http_requests_total", ["route", "method", "status"], NONE, "Requests answered, by route template.";
    http_request_seconds: HistogramVec = "http_request_duration_seconds", ["route"], HTTP_SECONDS, "Time to answer a request.";
    http_in_flight: IntGauge = "http_requests_in_flight", [], NONE, "Requests being answered.";
    rate_limited: IntCounter = "rate_limited_total", [], NONE, "Requests refused by a rate limit.";
    idempotency_replays: IntCounter = "idempotency_replays_total", [], NONE, "Requests answered from a stored response.";
    shed: IntCounterVec = "requests_shed_total", ["part"], NONE, "Requests refused with 503, by the part that was unavailable.";

    // Attempts.
    submissions: IntCounterVec = "submissions_total", ["lane"], NONE, "Attempts whose evidence was accepted (202).";
    submission_bytes: Histogram = "submission_bytes", [], EVIDENCE_BYTES, "Evidence bytes of a submission.";
    verdicts: IntCounterVec = "verdicts_total", ["lane", "outcome"], NONE, "Attempts settled, by outcome.";
    rejections: IntCounterVec = "rejections_total", ["failure_code"], NONE, "Rejected attempts, by failure code.";
    document_deviations: IntCounterVec = "document_deviations_total", ["deviation"], NONE, "Documents that departed from the standards, accepted or not, by deviation.";
    document_reasons: IntCounterVec = "document_reasons_total", ["reason"], NONE, "Documents rejected, by the reason that the failing gate gave.";
    chip_authentications: IntCounter = "chip_authentications_started_total", [], NONE, "Chip authentications begun with the server as the terminal.";
    submit_to_verdict_seconds: HistogramVec = "submit_to_verdict_seconds", ["lane"], VERDICT_SECONDS, "Age of an attempt, from submission, when its verdict was settled.";
    stage_seconds: HistogramVec = "stage_duration_seconds", ["stage"], STAGE_SECONDS, "Time in one stage of the road.";
    stage_items: IntGaugeVec = "stage_items", ["stage"], NONE, "Attempts in one stage of the road.";
    settle_conflicts: IntCounter = "settle_conflicts_total", [], NONE, "Verdicts discarded because the session or attempt had moved on.";
    settle_batch_items: Histogram = "settle_batch_items", [], BATCH_ITEMS, "Verdicts settled in one transaction.";
    events: IntCounterVec = "events_total", ["type"], NONE, "Events emitted.";

    // Queue and outbox.
    queue_oldest_seconds: GaugeVec = "queue_oldest_age_seconds", ["lane"], NONE, "Age of the oldest accepted attempt without a verdict.";
    queue_depth: IntGaugeVec = "queue_depth", ["lane"], NONE, "Jobs waiting in the queue.";
    queue_dead_letters: IntGauge = "queue_dead_letters", [], NONE, "Jobs in the dead-letter queue.";
    queue_connected: IntGauge = "queue_connected", [], NONE, "1 while the broker is connected and accepts publishes.";
    queue_reconnects: IntGauge = "queue_reconnects", [], NONE, "Connections to the broker established since start, after the first.";
    publishes: IntCounterVec = "publishes_total", ["result"], NONE, "Jobs published, by whether the broker confirmed them.";
    redeliveries: IntCounterVec = "redeliveries_total", ["lane"], NONE, "Jobs delivered again.";
    malformed_jobs: IntCounter = "malformed_jobs_total", [], NONE, "Queue messages that were not jobs and were dead-lettered.";
    outbox_oldest_seconds: Gauge = "outbox_oldest_age_seconds", [], NONE, "Age of the oldest attempt not yet published.";
    outbox_pending: IntGauge = "outbox_pending", [], NONE, "Attempts not yet published.";

    // Leases and isolation.
    leases_lost: IntCounter = "leases_lost_total", [], NONE, "Verdicts refused because the lease had passed to another worker.";
    leases_expired: IntCounter = "leases_expired_total", [], NONE, "Leases that ran out and were taken back.";
    isolated: IntCounter = "isolated_attempts_total", [], NONE, "Attempts run alone because an earlier try did not finish.";
    quarantined: IntCounter = "quarantined_attempts_total", [], NONE, "Attempts set aside after too many tries, or cancelled because their evidence is gone; no try is charged.";
    system_faults: IntCounterVec = "system_faults_total", ["part"], NONE, "Faults of ours that put an attempt back, by part.";

    // Batching and devices.
    batches: IntCounterVec = "batches_total", ["reason"], NONE, "Face batches closed, by reason.";
    batch_items: Histogram = "batch_items", [], BATCH_ITEMS, "Attempts in a face batch.";
    batch_fill_ratio: Histogram = "batch_fill_ratio", [], RATIO, "Part of a batch's capacity that was used.";
    batch_wait_seconds: Histogram = "batch_wait_seconds", [], STAGE_SECONDS, "Age of a batch's oldest attempt when it closed.";
    batch_seconds: HistogramVec = "batch_duration_seconds", ["device"], STAGE_SECONDS, "Time that a batch ran, on processor and device together.";
    batches_failed: IntCounterVec = "batches_failed_total", ["device"], NONE, "Batches on which the engine failed, for an attempt's sake or the device's.";
    picture_memory_bytes: IntGauge = "picture_memory_bytes", [], NONE, "Memory reserved for decoded pictures: of attempts that are being decoded, wait for a face batch or are in one.";
    picture_memory_limit_bytes: IntGauge = "picture_memory_limit_bytes", [], NONE, "The most that may be reserved for decoded pictures.";
    face_waiting: IntGaugeVec = "face_waiting", ["lane"], NONE, "Attempts that wait for a face batch.";
    face_verdicts: IntCounterVec = "face_verdicts_total", ["verdict", "finding"], NONE, "Verdicts of the face stage, by what was found: a gate, a replay, nothing.";
    face_device_info: IntGaugeVec = "face_device_info", ["device", "kind", "name"], NONE, "1 for each device that faces are compared on.";
    face_device_serving: IntGaugeVec = "face_device_serving", ["device"], NONE, "1 while the device takes batches.";
    face_device_failures: IntCounterVec = "face_device_failures_total", ["device"], NONE, "Times that a device failed its check and was taken out of service.";
    face_returned: IntCounterVec = "face_returned_attempts_total", ["device"], NONE, "Attempts that a device failed under and that ran again elsewhere.";
    face_recomputed: IntCounterVec = "face_recomputed_total", ["device"], NONE, "Attempts so near a threshold that they were computed again in single precision.";
    face_fallback: IntGaugeVec = "face_fallback", ["reason"], NONE, "1 while faces are compared on the processor, by why.";
    device_busy_seconds: CounterVec = "device_busy_seconds_total", ["device"], NONE, "Time the device computed.";
    device_starved_seconds: CounterVec = "device_starved_seconds_total", ["device"], NONE, "Time the device idled while work waited.";
    device_copy_seconds: CounterVec = "device_copy_seconds_total", ["device"], NONE, "Time that pictures were on their way to the device.";
    device_memory_bytes: IntGaugeVec = "device_memory_bytes", ["device", "state"], NONE, "Device memory, used and total.";
    device_out_of_memory: IntCounterVec = "device_out_of_memory_total", ["device"], NONE, "Batches halved because device memory ran out.";

    // Webhooks.
    webhook_tries: IntCounterVec = "webhook_tries_total", ["result"], NONE, "Webhook delivery tries, by result.";
    webhook_seconds: Histogram = "webhook_duration_seconds", [], HTTP_SECONDS, "Time of one webhook request.";
    webhook_lag_seconds: Histogram = "webhook_lag_seconds", [], LAG_SECONDS, "Time from a delivery falling due to its being sent.";
    webhook_oldest_due_seconds: Gauge = "webhook_oldest_due_age_seconds", [], NONE, "Age of the oldest delivery that is due and not sent.";
    webhook_due: IntGauge = "webhook_due", [], NONE, "Deliveries due and not sent.";
    webhook_in_flight: IntGauge = "webhook_in_flight", [], NONE, "Webhook requests being sent.";
    webhook_breakers_open: IntGauge = "webhook_breakers_open", [], NONE, "Endpoints to which nothing is sent for a while after repeated failures.";
    webhook_exhausted: IntCounter = "webhook_exhausted_total", [], NONE, "Deliveries given up after the last try.";

    // Privacy.
    evidence_destroyed: IntCounter = "evidence_destroyed_total", [], NONE, "Sealed evidence objects destroyed.";
    evidence_orphans: IntCounter = "evidence_orphans_total", [], NONE, "Sealed evidence objects removed that no attempt referred to.";
    epoch_keys: IntGauge = "epoch_keys", [], NONE, "Epoch keys that exist.";
    epoch_oldest_seconds: Gauge = "epoch_key_oldest_age_seconds", [], NONE, "Age of the oldest epoch key.";

    // Upkeep.
    sweeps: IntCounterVec = "sweeps_total", ["sweep", "result"], NONE, "Sweeps run.";
    swept: IntCounterVec = "swept_items_total", ["sweep"], NONE, "Items a sweep dealt with.";
    trust_anchors: IntGauge = "trust_anchors", [], NONE, "CSCA certificates loaded.";
    trust_epoch: IntGauge = "trust_epoch", [], NONE, "Number of the trust store in use; rises when a changed one is loaded.";
    trust_certificates: IntGaugeVec = "trust_certificates", ["kind"], NONE, "Certificates and revocation lists of the trust store in use, by kind.";
    trust_reload_failures: IntCounter = "trust_reload_failures_total", [], NONE, "Changed trust stores that could not be loaded; the one before stays in use.";
    trust_crl_oldest_seconds: Gauge = "trust_crl_oldest_age_seconds", [], NONE, "Age of the newest revocation list of the issuer whose newest is oldest.";
    trust_crl_next_update: Gauge = "trust_crl_next_update_timestamp_seconds", [], NONE, "When the first of the loaded revocation lists falls due.";

    // The process.
    ready: IntGaugeVec = "ready", ["part"], NONE, "1 while the part is ready.";
    draining: IntGauge = "draining", [], NONE, "1 once the process has been asked to stop.";
    start_seconds: Gauge = "process_start_timestamp_seconds", [], NONE, "When the process started.";
    model_info: IntGaugeVec = "model_info", ["pack", "sha256", "operating_point"], NONE, "1 for the model pack in use.";
    build_info: IntGaugeVec = "build_info", ["version", "commit", "role"], NONE, "1 for the build that is running.";
}

impl Metrics {
    /// All metrics in a registry of their own, so that two servers in one process (tests) do not mix.
    ///
    /// # Errors
    /// [`MetricsError`] if the table is wrong.
    pub fn new(build: &BuildInfo) -> Result<Self, MetricsError> {
        let metrics = Self::build(Registry::new())?;
        metrics.start_at_zero();
        metrics.build_info.with_label_values(&[build.version, build.commit, build.role]).set(1);
        Ok(metrics)
    }

    /// The text exposition format, for `/metrics`.
    ///
    /// # Errors
    /// [`MetricsError`] if a metric cannot be encoded.
    pub fn encode(&self) -> Result<String, MetricsError> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Series whose labels are known exist from the start: an alert on a rate must see the first failure rise
    /// from zero, not appear from nowhere.
    fn start_at_zero(&self) {
        for lane in LANES {
            self.submissions.with_label_values(&[lane]);
            self.submit_to_verdict_seconds.with_label_values(&[lane]);
            self.queue_oldest_seconds.with_label_values(&[lane]);
            self.queue_depth.with_label_values(&[lane]);
            self.redeliveries.with_label_values(&[lane]);
            for outcome in OUTCOMES {
                self.verdicts.with_label_values(&[lane, outcome]);
            }
        }
        for stage in STAGES {
            self.stage_seconds.with_label_values(&[stage]);
            self.stage_items.with_label_values(&[stage]);
        }
        for lane in FACE_LANES {
            self.face_waiting.with_label_values(&[lane]);
        }
        for reason in FALLBACKS {
            self.face_fallback.with_label_values(&[reason]);
        }
        for reason in CLOSE_REASONS {
            self.batches.with_label_values(&[reason]);
        }
        for result in RESULTS {
            self.publishes.with_label_values(&[result]);
            self.webhook_tries.with_label_values(&[result]);
            for sweep in SWEEPS {
                self.sweeps.with_label_values(&[sweep, result]);
            }
        }
        for sweep in SWEEPS {
            self.swept.with_label_values(&[sweep]);
        }
        for kind in TRUST_KINDS {
            self.trust_certificates.with_label_values(&[kind]);
        }
        for part in PARTS {
            self.system_faults.with_label_values(&[part]);
            self.shed.with_label_values(&[part]);
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn metrics() -> Metrics {
        Metrics::new(&BuildInfo { version: "1.2.3", commit: "abc", role: "worker" }).unwrap()
    }

    #[test]
    fn names_follow_prometheus_practice_and_are_unique() {
        let mut names = HashSet::new();
        for metric in Metrics::DESCRIPTORS {
            let name = metric.name;
            assert!(names.insert(name), "{name} twice");
            assert!(
                name.starts_with("proofmill_")
                    && name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_digit()),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
            assert!(!["_ms", "_millis", "_minutes", "_kb"].iter().any(|unit| name.ends_with(unit)), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn no_label_is_an_id() {
        for metric in Metrics::DESCRIPTORS {
            for label in metric.labels {
                assert!(
                    !label.ends_with("_id") && *label != "id" && !label.contains("key"),
                    "{} by {label}",
                    metric.name
                );
            }
        }
    }

    #[test]
    fn every_metric_without_open_labels_is_exposed_from_the_start() {
        let text = metrics().encode().unwrap();
        // These have labels whose values are known only once something happens.
        let open = ["route", "failure_code", "type", "device", "part", "pack", "deviation", "finding"];
        for metric in Metrics::DESCRIPTORS {
            let known = !metric.labels.iter().any(|label| open.contains(label))
                && metric.name != "proofmill_document_reasons_total";
            assert!(!known || text.contains(&format!("# TYPE {} ", metric.name)), "{}", metric.name);
        }
        assert!(text.contains(r#"proofmill_build_info{commit="abc",role="worker",version="1.2.3"} 1"#), "{text}");
        assert!(text.contains(r#"proofmill_verdicts_total{lane="bulk",outcome="accepted"} 0"#));
        assert!(text.contains(r#"proofmill_system_faults_total{part="queue"} 0"#));
    }

    #[test]
    fn what_is_counted_is_encoded_and_clones_count_together() {
        let metrics = metrics();
        let clone = metrics.clone();
        clone.batches.with_label_values(&["full"]).inc_by(2);
        clone.submit_to_verdict_seconds.with_label_values(&["interactive"]).observe(0.3);
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"proofmill_batches_total{reason="full"} 2"#));
        assert!(text.contains(r#"proofmill_submit_to_verdict_seconds_bucket{lane="interactive",le="0.5"} 1"#));
        assert!(text.contains(r#"proofmill_submit_to_verdict_seconds_bucket{lane="interactive",le="0.25"} 0"#));
    }

    #[test]
    fn two_sets_in_one_process_do_not_mix() {
        let (first, second) = (metrics(), metrics());
        first.leases_lost.inc();
        assert_eq!((first.leases_lost.get(), second.leases_lost.get()), (1, 0));
    }
}
