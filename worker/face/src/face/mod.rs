//! One face in one picture: found, aligned, measured.

pub(crate) mod arcface;
pub mod chip;
pub mod detect;
pub mod gate;
pub(crate) mod landmarker;
pub mod landmarks;
pub(crate) mod letterbox;
pub mod quality;
pub mod replay;
