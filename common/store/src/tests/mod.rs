//! One suite, run on both databases. SQLite always, in a temporary file; PostgreSQL when
//! `PROOFMILL_TEST_DATABASE_URL` names a server on which databases may be created.

mod harness;

mod constraints;
mod deliveries;
mod endpoints;
mod expiry;
mod fairness;
#[cfg(unix)]
mod file;
mod id_keys;
mod idempotency;
mod interleaving;
mod kept_evidence;
mod leases;
mod life;
mod opening;
mod outbox;
mod races;
mod reader_keys;
mod sessions;
mod settling;
mod submitting;
mod terminal;
mod withdrawal;
