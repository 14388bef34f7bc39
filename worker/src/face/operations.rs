//! What operators see of the face stage: metrics, and what `/readyz` says of its devices.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proofmill_api::Ops;
use proofmill_face::batcher::Lane;
use proofmill_face::{BatchEvent, BatchReport, Device, DeviceState, DeviceStatus, EngineStatus, FaceVerdict};
use proofmill_telemetry::Metrics;
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::{FaceService, FaceStage as _};

/// The largest batch of five frames each takes a slow core half a minute; a device that is at it ten times as long hangs.
const HANGS: Duration = Duration::from_secs(300);

/// Hears what the batcher does and counts it.
pub(super) struct Observer {
    metrics: Arc<Metrics>,
    /// How much of each device's totals has been counted: executors of one device tell in any order.
    told: Mutex<HashMap<Device, EngineStatus>>,
    recorder: Option<Recorder>,
}

impl Observer {
    /// # Errors
    /// The recording cannot be written.
    pub(super) fn new(
        metrics: Arc<Metrics>,
        devices: impl Iterator<Item = Device>,
        recording: Option<&Path>,
    ) -> anyhow::Result<Self> {
        for device in devices {
            introduce(&metrics, device);
        }
        let recorder = recording.map(Recorder::create).transpose()?;
        Ok(Self { metrics, told: Mutex::default(), recorder })
    }

    pub(super) fn hear(&self, event: &BatchEvent) {
        let metrics = &self.metrics;
        if let Some(recorder) = &self.recorder {
            recorder.hear(event);
        }
        match event {
            BatchEvent::Arrived { waiting, .. } => self.show_waiting(*waiting),
            BatchEvent::Ran(report) => self.ran(report),
            BatchEvent::Returned { device, attempts } => {
                metrics.face_returned.with_label_values(&[&*device.to_string()]).inc_by(*attempts as u64);
            }
            BatchEvent::Changed(status) => self.changed(status),
        }
    }

    fn ran(&self, report: &BatchReport) {
        let (metrics, device) = (&self.metrics, report.device.to_string());
        let device = &[&*device];
        metrics.batches.with_label_values(&[report.reason.as_str()]).inc();
        metrics.batch_items.observe(report.size as f64);
        metrics.batch_fill_ratio.observe(report.size as f64 / report.capacity.max(1) as f64);
        metrics.batch_wait_seconds.observe(report.waited.as_secs_f64());
        metrics.batch_seconds.with_label_values(device).observe(report.ran.as_secs_f64());
        metrics.batches_failed.with_label_values(device).inc_by(u64::from(report.failed));
        metrics.device_busy_seconds.with_label_values(device).inc_by(report.busy.as_secs_f64());
        metrics.device_starved_seconds.with_label_values(device).inc_by(report.starved.as_secs_f64());
        self.show_waiting(report.waiting);
        if let Some((total, free)) = report.status.memory {
            let bytes = |state| metrics.device_memory_bytes.with_label_values(&[device[0], state]);
            bytes("total").set(i64::try_from(total).unwrap_or(i64::MAX));
            bytes("used").set(i64::try_from(total.saturating_sub(free)).unwrap_or(i64::MAX));
        }
        let (now, mut told) = (report.status, self.told.lock().unwrap_or_else(PoisonError::into_inner));
        let before = told.entry(report.device).or_default();
        let grown = |now: u64, before: &mut u64| {
            let grown = now.saturating_sub(*before);
            *before = now.max(*before);
            grown
        };
        let halved = grown(now.out_of_memory, &mut before.out_of_memory);
        metrics.device_out_of_memory.with_label_values(device).inc_by(halved);
        metrics.face_recomputed.with_label_values(device).inc_by(grown(now.recomputed, &mut before.recomputed));
        let copied = (now.copy_seconds - before.copy_seconds).max(0.0);
        before.copy_seconds += copied;
        metrics.device_copy_seconds.with_label_values(device).inc_by(copied);
    }

    fn changed(&self, status: &DeviceStatus) {
        let (metrics, device) = (&self.metrics, status.device.to_string());
        let serving = status.state == DeviceState::Serving;
        metrics.face_device_serving.with_label_values(&[&*device]).set(serving.into());
        if matches!(status.state, DeviceState::OutOfService(_)) {
            metrics.face_device_failures.with_label_values(&[&*device]).inc();
        }
        if status.standby {
            metrics.face_fallback.with_label_values(&["device_failed"]).set(serving.into());
        }
    }

    fn show_waiting(&self, waiting: [usize; 3]) {
        for (lane, waiting) in Lane::ALL.into_iter().zip(waiting) {
            self.metrics.face_waiting.with_label_values(&[lane.as_str()]).set(waiting as i64);
        }
    }
}

/// Series of a device exist from the start, so that a rate sees its first failure.
fn introduce(metrics: &Metrics, device: Device) {
    let (kind, about) = match device {
        Device::Cpu => ("cpu", None),
        Device::Cuda(_) => ("cuda", device.describe()),
    };
    let name = about.map(|about| about.name).unwrap_or_default();
    let device = device.to_string();
    metrics.face_device_info.with_label_values(&[&*device, kind, &*name]).set(1);
    let device = &[&*device];
    metrics.face_device_serving.with_label_values(device).set(1);
    for counter in [
        &metrics.batches_failed,
        &metrics.face_device_failures,
        &metrics.face_returned,
        &metrics.face_recomputed,
        &metrics.device_out_of_memory,
    ] {
        counter.with_label_values(device);
    }
    for counter in [&metrics.device_busy_seconds, &metrics.device_starved_seconds, &metrics.device_copy_seconds] {
        counter.with_label_values(device);
    }
}

/// Counts a verdict by what was found.
pub(super) fn count(metrics: &Metrics, verdict: &FaceVerdict) {
    let name = match verdict {
        FaceVerdict::Match => "match",
        FaceVerdict::Mismatch => "mismatch",
        FaceVerdict::PortraitUnusable(_) => "portrait_unusable",
        FaceVerdict::LivenessFailed(_) => "liveness_failed",
    };
    let finding = verdict.reason().map_or("none", |reason| reason.as_str());
    metrics.face_verdicts.with_label_values(&[name, finding]).inc();
}

impl FaceService {
    /// Where faces are compared now, as one line: `cuda:0, cuda:1`, `cpu: no CUDA driver`.
    pub fn describe(&self) -> String {
        let devices = self.batches.devices();
        let told = |status: &DeviceStatus| match (&status.state, &self.processor) {
            (DeviceState::OutOfService(reason), _) => Some(format!("{} out of service ({reason})", status.device)),
            (DeviceState::Reserve, _) => None,
            (_, _) if status.standby => Some(format!("{}: no CUDA device is in service", status.device)),
            (_, Some((_, why))) if status.device == Device::Cpu => Some(format!("cpu: {why}")),
            _ => Some(status.device.to_string()),
        };
        devices.iter().filter_map(told).collect::<Vec<_>>().join(", ")
    }

    /// Adds the face stage to the operator's port: not alive when a device hangs, not ready when none is in service; devices,
    /// and why it is the processor when it is, in any case.
    pub fn show(self: Arc<Self>, ops: Ops) -> Ops {
        let (hanging, face) = (self.clone(), self.clone());
        ops.live("face", move || std::future::ready(hanging.batches.alive(HANGS)))
            .check("face", move || std::future::ready(face.batches.ready()))
            .about("face", move || self.details())
    }

    fn details(&self) -> Value {
        let device = |status: &DeviceStatus| {
            let reason = match &status.state {
                DeviceState::OutOfService(reason) => Some(reason),
                _ => None,
            };
            json!({ "device": status.device.to_string(), "state": status.state.as_str(), "reason": reason })
        };
        json!({
            "model": self.model(),
            "runs_on": self.describe(),
            "devices": self.batches.devices().iter().map(device).collect::<Vec<_>>(),
            "max_batch": self.max_batch,
        })
    }
}
