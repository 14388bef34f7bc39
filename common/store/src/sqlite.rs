//! SQLite: the queries compiled for it, and what it alone can do.

mod backend;
#[path = "queries/mod.rs"]
pub(crate) mod queries;
mod writes;

pub(crate) use backend::Pool;
