//! Readers of the two dlib files, in dlib's own serialisation.
//!
//! The format is not self-describing: the reader must know the network. Each count is checked
//! against the shape that it must have, or against the bytes that are left, before anything is
//! allocated for it, and the file must end where the model ends.

mod reader;
pub(crate) mod resnet;
pub(crate) mod shape;
