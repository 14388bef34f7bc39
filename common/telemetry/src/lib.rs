#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clock;
mod labels;
mod logging;
mod metrics;
mod redaction;

pub use clock::SystemClock;
pub use labels::*;
pub use logging::{LogFormat, LoggingError, init_logging, install_panic_hook, log_filter, tell};
pub use metrics::{BuildInfo, METRICS_CONTENT_TYPE, MetricDescriptor, MetricKind, Metrics, MetricsError};
pub use redaction::{Redacted, scrub};
