//! A pack's own five-point landmarker: a network that finds eyes, nose and corners of the mouth in
//! an upright square around the detector's box.

use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::chip::ChipPlan;
use super::detect::Detection;
use crate::error::EngineError;
use crate::geometry::Similarity;
use crate::image::RgbImage;
use crate::net::{self, torchscript::TorchScript};
use crate::pack::{LandmarkUnit, Points};

/// Two numbers for each of five points.
pub(crate) const VALUES: usize = 10;

/// The network, on the processor whatever the device: its crops are made there, one face at a time.
pub(crate) struct Landmarker {
    /// One pass at a time, as for every network that somebody else wrote: nothing says that it may
    /// be run from two threads at once.
    network: Mutex<TorchScript>,
    side: usize,
    box_scale: f64,
    unit: LandmarkUnit,
}

impl Landmarker {
    /// Builds it and runs it once.
    pub(crate) fn build(from: &Points) -> Result<Self, EngineError> {
        let _no_grad = tch::no_grad_guard();
        let landmarker = Self {
            network: Mutex::new(TorchScript::build(&from.script, VALUES, tch::Device::Cpu)?),
            side: from.script.input.size,
            box_scale: f64::from(from.box_scale),
            unit: from.unit,
        };
        landmarker.run(&vec![128; landmarker.side * landmarker.side * 3])?;
        Ok(landmarker)
    }

    /// The eye on the picture's left, the one on its right, tip of the nose, left and right corner of
    /// the mouth, in pixels of the picture.
    pub(crate) fn points(&self, image: &RgbImage, detection: &Detection) -> Result<[[f64; 2]; 5], EngineError> {
        let square = self.square(detection);
        let crop = ChipPlan::of_crop(image, &square, self.side).render();
        let values = self.run(crop.input())?;
        let unit = match self.unit {
            LandmarkUnit::Pixels => 1.0,
            LandmarkUnit::Crop => self.side as f64,
        };
        let mut points = [[0.0; 2]; 5];
        for (point, value) in points.iter_mut().zip(values.chunks_exact(2)) {
            *point = square.apply([f64::from(value[0]) * unit, f64::from(value[1]) * unit]);
        }
        Ok(points)
    }

    /// From the pixels of the network's input to the picture.
    fn square(&self, detection: &Detection) -> Similarity {
        let bounds = &detection.bounds;
        let length = f64::from(bounds.width.max(bounds.height)) * self.box_scale;
        let corner = |start: f32, size: f32| f64::from(start) + f64::from(size) / 2.0 - length / 2.0;
        Similarity {
            a: length / self.side as f64,
            b: 0.0,
            tx: corner(bounds.x, bounds.width),
            ty: corner(bounds.y, bounds.height),
        }
    }

    fn run(&self, crop: &[u8]) -> Result<Zeroizing<Vec<f32>>, EngineError> {
        let _no_grad = tch::no_grad_guard();
        let mut pixels = net::pixels(crop, 1, self.side)?;
        // The network is never changed, so a panic elsewhere leaves it whole.
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        let values = Zeroizing::new(net::values(&network.forward(&pixels)?)?);
        let _ = pixels.f_zero_()?;
        if values.len() != VALUES || values.iter().any(|value| !value.is_finite()) {
            return Err(network.fault("the landmarker returned no numbers".to_owned()));
        }
        Ok(values)
    }
}
