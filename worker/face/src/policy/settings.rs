//! Settings by name: what a pack's `[gates]` and an operator may set.

use std::ops::RangeInclusive;

use super::{GatePolicy, MatchPolicy};

/// Why a setting was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// There is no such setting.
    #[error("there is no gate setting {name:?}; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The number makes no sense there.
    #[error("{name} cannot be {value}, only {least} to {most}")]
    OutOfRange {
        /// The setting.
        name: String,
        /// What was asked for.
        value: f64,
        /// The least that it may be.
        least: f64,
        /// The most that it may be.
        most: f64,
    },
    /// It counts something.
    #[error("{name} cannot be {value}, only a whole number")]
    NotWhole {
        /// The setting.
        name: String,
        /// What was asked for.
        value: f64,
    },
    /// Two limits leave nothing between them.
    #[error("{least} is above {most}: no face could pass")]
    Contradiction {
        /// The lower limit.
        least: String,
        /// The upper one.
        most: String,
    },
    /// Not `NAME=VALUE`.
    #[error("{0:?} is not NAME=VALUE, such as selfie.min_inter_eye_px=40")]
    Malformed(String),
}

/// A number of a policy, by its name in a pack and on the command line.
#[derive(Clone, Copy)]
pub struct Setting {
    /// `portrait`, `selfie`, `frames` or `replay`.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    least: f64,
    most: f64,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Gate(fn(&mut MatchPolicy) -> &mut GatePolicy, fn(&mut GatePolicy) -> &mut f32),
    Count(fn(&mut MatchPolicy) -> &mut usize),
    Number(fn(&mut MatchPolicy, f32)),
}

/// Every setting, in the order of the README's table.
pub fn settings() -> impl Iterator<Item = Setting> {
    type Section = (&'static str, fn(&mut MatchPolicy) -> &mut GatePolicy);
    let sections: [Section; 2] = [("portrait", |policy| &mut policy.portrait), ("selfie", |policy| &mut policy.selfie)];
    let gates = sections.into_iter().flat_map(|(section, of)| {
        LIMITS.into_iter().map(move |(name, range, limit)| Setting {
            section,
            name,
            least: *range.start(),
            most: *range.end(),
            place: Place::Gate(of, limit),
        })
    });
    gates.chain([
        Setting {
            section: "frames",
            name: "max",
            least: 1.0,
            most: 16.0,
            place: Place::Count(|policy| &mut policy.max_frames),
        },
        Setting {
            section: "frames",
            name: "compared",
            least: 1.0,
            most: 16.0,
            place: Place::Count(|policy| &mut policy.compared_frames),
        },
        Setting {
            section: "frames",
            name: "threshold",
            least: 0.01,
            most: 100.0,
            place: Place::Number(|policy, value| policy.frames_threshold = Some(value)),
        },
        Setting {
            section: "replay",
            name: "correlation",
            least: 0.5,
            most: 1.0,
            place: Place::Number(|policy, value| policy.replay.correlation = value),
        },
    ])
}

type Limit = (&'static str, RangeInclusive<f64>, fn(&mut GatePolicy) -> &mut f32);

/// Outside of these ranges a limit lets nothing through, or the measurement has no such value.
const LIMITS: [Limit; 21] = [
    // The detector reports nothing below 0.5.
    ("score_floor", 0.5..=0.99, |gates| &mut gates.score_floor),
    ("second_face_ratio", 0.0..=1.0, |gates| &mut gates.second_face_ratio),
    ("min_inter_eye_px", 0.0..=1000.0, |gates| &mut gates.min_inter_eye_px),
    ("min_head_size", 0.0..=1.0, |gates| &mut gates.min_head_size),
    ("max_head_size", 0.1..=10.0, |gates| &mut gates.max_head_size),
    ("max_crop_left", 0.0..=1.0, |gates| &mut gates.max_crop_left),
    ("max_crop_right", 0.0..=1.0, |gates| &mut gates.max_crop_right),
    ("max_crop_above", 0.0..=1.0, |gates| &mut gates.max_crop_above),
    ("max_crop_below", 0.0..=1.0, |gates| &mut gates.max_crop_below),
    ("max_roll_degrees", 0.0..=180.0, |gates| &mut gates.max_roll_degrees),
    ("max_yaw_ratio", 0.0..=10.0, |gates| &mut gates.max_yaw_ratio),
    ("min_nose_height", -10.0..=1.0, |gates| &mut gates.min_nose_height),
    ("max_nose_height", 0.0..=10.0, |gates| &mut gates.max_nose_height),
    ("max_overexposed", 0.0..=1.0, |gates| &mut gates.max_overexposed),
    ("max_underexposed", 0.0..=1.0, |gates| &mut gates.max_underexposed),
    ("min_luminance", 0.0..=255.0, |gates| &mut gates.min_luminance),
    ("max_luminance", 0.0..=255.0, |gates| &mut gates.max_luminance),
    ("min_dynamic_range", 0.0..=255.0, |gates| &mut gates.min_dynamic_range),
    ("min_luminance_variance", 0.0..=16256.25, |gates| &mut gates.min_luminance_variance),
    ("min_sharpness", 0.0..=100.0, |gates| &mut gates.min_sharpness),
    ("max_blockiness", 1.0..=1000.0, |gates| &mut gates.max_blockiness),
];

impl Setting {
    /// `section.name`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    fn put(&self, policy: &mut MatchPolicy, value: f64) -> Result<(), PolicyError> {
        if !(self.least..=self.most).contains(&value) {
            let (least, most) = (self.least, self.most);
            return Err(PolicyError::OutOfRange { name: self.path(), value, least, most });
        }
        match self.place {
            Place::Gate(section, limit) => *limit(section(policy)) = value as f32,
            Place::Number(set) => set(policy, value as f32),
            Place::Count(_) if value.fract() != 0.0 => {
                return Err(PolicyError::NotWhole { name: self.path(), value });
            }
            Place::Count(count) => *count(policy) = value as usize,
        }
        Ok(())
    }
}

impl MatchPolicy {
    /// Sets one number by its name, such as `selfie.min_inter_eye_px`. Finish with
    /// [`Self::check`]: two limits can contradict each other.
    ///
    /// # Errors
    /// There is no such setting, or the number makes no sense there.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), PolicyError> {
        let setting = settings().find(|setting| setting.path() == name).ok_or_else(|| PolicyError::Unknown {
            name: name.to_owned(),
            known: settings().map(|setting| setting.path()).collect::<Vec<_>>().join(", "),
        })?;
        setting.put(self, value)
    }

    /// Sets one number from `NAME=VALUE`.
    ///
    /// # Errors
    /// As [`Self::set`], or the text is something else.
    pub fn set_text(&mut self, text: &str) -> Result<(), PolicyError> {
        let malformed = || PolicyError::Malformed(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(malformed)?;
        self.set(name.trim(), value.trim().parse().map_err(|_| malformed())?)
    }

    /// Whether a face could pass at all.
    ///
    /// # Errors
    /// Two limits that leave nothing between them.
    pub fn check(&self) -> Result<(), PolicyError> {
        for (section, gates) in [("portrait", &self.portrait), ("selfie", &self.selfie)] {
            let pairs = [
                ("head_size", gates.min_head_size, gates.max_head_size),
                ("nose_height", gates.min_nose_height, gates.max_nose_height),
                ("luminance", gates.min_luminance, gates.max_luminance),
            ];
            for (name, least, most) in pairs {
                // A policy made by hand may hold what is no number.
                if least.partial_cmp(&most).is_none_or(std::cmp::Ordering::is_gt) {
                    return Err(PolicyError::Contradiction {
                        least: format!("{section}.min_{name}"),
                        most: format!("{section}.max_{name}"),
                    });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_set_by_its_own_name_and_keeps_its_range() {
        for setting in settings() {
            let mut policy = MatchPolicy::default();
            let before = policy.clone();
            // An end of the range that is not the default.
            let path = setting.path();
            let ends = [setting.least, setting.most];
            assert!(ends.into_iter().any(|end| policy.set(&path, end).is_ok() && policy != before), "{path}");
            for wrong in [setting.least - 1.0, setting.most + 1.0, f64::NAN, f64::INFINITY] {
                let refused = policy.set(&path, wrong);
                assert!(matches!(&refused, Err(PolicyError::OutOfRange { name, .. }) if *name == path), "{refused:?}");
            }
        }
    }

    #[test]
    fn the_defaults_keep_their_own_ranges_and_contradict_nothing() {
        let mut policy = MatchPolicy::default();
        for setting in settings() {
            if let Place::Gate(section, limit) = setting.place {
                let value = f64::from(*limit(section(&mut policy)));
                assert!((setting.least..=setting.most).contains(&value), "{}", setting.path());
            }
        }
        assert_eq!(policy.check(), Ok(()));
    }

    #[test]
    fn names_texts_and_contradictions_are_refused_by_name() {
        let mut policy = MatchPolicy::default();
        policy.set_text("selfie.min_inter_eye_px = 60").unwrap();
        assert_eq!((policy.selfie.min_inter_eye_px, policy.portrait.min_inter_eye_px), (60.0, 28.0));
        let error = policy.set_text("selfie.min_eyes=3").unwrap_err().to_string();
        assert!(error.contains("selfie.min_eyes") && error.contains("selfie.min_inter_eye_px"), "{error}");
        for text in ["selfie.min_sharpness", "selfie.min_sharpness=sharp", ""] {
            assert_eq!(policy.set_text(text), Err(PolicyError::Malformed(text.to_owned())));
        }
        let name = "frames.compared".to_owned();
        assert_eq!(policy.set_text("frames.compared=2.5"), Err(PolicyError::NotWhole { name, value: 2.5 }));
        policy.set("selfie.min_luminance", 240.0).unwrap();
        let error = policy.check().unwrap_err().to_string();
        assert_eq!(error, "selfie.min_luminance is above selfie.max_luminance: no face could pass");
    }
}
