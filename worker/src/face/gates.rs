//! What an operator changes about the gates, over what the pack says, over the defaults.

use proofmill_face::{MatchPolicy, PolicyError};

/// Gate settings.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct GateArgs {
    /// Set a limit of a face gate, such as `selfie.min_inter_eye_px=40`; may be repeated. What is not set is as the model
    /// pack says, or else the default
    #[arg(long = "gate", value_name = "NAME=VALUE", env = "PROOFMILL_GATES", value_delimiter = ',', value_parser = setting)]
    pub gates: Vec<String>,
}

impl GateArgs {
    /// Changes `policy`.
    ///
    /// # Errors
    /// A setting that there is not, or limits that leave nothing between them.
    pub fn apply(&self, policy: &mut MatchPolicy) -> Result<(), PolicyError> {
        self.gates.iter().try_for_each(|text| policy.set_text(text))?;
        policy.check()
    }
}

/// Refuses a wrong setting on the command line already, before a pack is read.
fn setting(text: &str) -> Result<String, PolicyError> {
    MatchPolicy::default().set_text(text).map(|()| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_applied_in_order_and_refused_by_name() {
        let args = |gates: &[&str]| GateArgs { gates: gates.iter().map(|gate| (*gate).to_owned()).collect() };
        let mut policy = MatchPolicy::default();
        args(&["selfie.max_yaw_ratio=0.2", "selfie.max_yaw_ratio=0.3"]).apply(&mut policy).unwrap();
        assert_eq!(policy.selfie.max_yaw_ratio, 0.3);
        assert!(args(&["selfie.min_luminance=250"]).apply(&mut policy).is_err());
        assert!(setting("replay.correlation=0.9").is_ok());
        let error = setting("replay.guard=0.9").unwrap_err().to_string();
        assert!(error.contains("replay.guard") && error.contains("replay.correlation"), "{error}");
    }
}
