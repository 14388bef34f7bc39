//! One suite, run on both databases. SQLite always, in a temporary file; PostgreSQL when
//! `PROOFMILL_TEST_DATABASE_URL` names a server on which databases may be created.

mod harness;

mod constraints;
mod deliveries;
mod endpoints;
mod expiry;
mod idempotency;
mod leases;
mod opening;
mod outbox;
mod races;
mod sessions;
mod settling;
mod terminal;
mod withdrawal;
