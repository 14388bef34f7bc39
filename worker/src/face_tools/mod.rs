//! Tools on pictures that somebody has lying about, for developers and evaluators. They work offline, on one pack and one
//! device, and are the only parts of the product that show a distance: on standard output or in files that were asked for,
//! never in a log and never to a server.

mod compare;
mod instrument;
mod picture;

pub use compare::{CompareArgs, FaceCommand, run};
pub use instrument::{Gates, Instrument, Observation, ObservedFace, Role, ToolArgs};
pub use picture::{PictureError, read_picture};

/// Text that somebody else chose, such as a file's name: it must not move the cursor or colour the screen.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
