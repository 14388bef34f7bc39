use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error as R2d2Error};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::StoreError;
use crate::store::StoreConfig;

pub(crate) type Conn = PgConnection;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// How often a transaction that lost a deadlock is run again.
const RUNS: usize = 5;

/// Names the advisory lock under which migrations run ("proofmil" in ASCII).
const MIGRATION_LOCK: i64 = 0x7072_6f6f_666d_696c;

/// Waits for the rows and keeps them until commit. `NO KEY`, so that a foreign key that points to a locked row
/// does not wait.
macro_rules! lock {
    ($query:expr) => {
        $query.for_no_key_update()
    };
}

/// Takes only rows that nobody else holds, and keeps them until commit.
macro_rules! lock_free {
    ($query:expr) => {
        $query.for_no_key_update().skip_locked()
    };
}

pub(crate) use {lock, lock_free};

/// Connections to one server, READ COMMITTED.
#[derive(Clone)]
pub(crate) struct Pool(diesel::r2d2::Pool<ConnectionManager<Conn>>);

impl Pool {
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let url = with_connect_timeout(&config.url);
        // One plain connection first: its error says what is wrong at once, where the pool would only time out.
        drop(Conn::establish(&url).map_err(|error| StoreError::Unavailable(error.to_string()))?);
        let pool = diesel::r2d2::Pool::builder()
            .max_size(config.pool_size.max(1))
            .min_idle(Some(0))
            .connection_timeout(Duration::from_secs(5))
            .connection_customizer(Box::new(Limits))
            .build_unchecked(ConnectionManager::new(url));
        Ok(Self(pool))
    }

    pub(crate) fn read<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        query(&mut *self.0.get()?)
    }

    pub(crate) fn write<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut conn = self.0.get()?;
        let mut runs = 1;
        loop {
            match conn.transaction(|conn| query(conn)) {
                // Locks are taken in the order of ids, but a statement over many rows locks them as it meets them.
                Err(StoreError::Undone(reason)) if runs < RUNS => {
                    tracing::debug!(reason, runs, "transaction runs again");
                    runs += 1;
                }
                result => return result,
            }
        }
    }

    pub(crate) fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = self.0.get()?;
        conn.batch_execute(&format!(
            "SET lock_timeout = 0; SET statement_timeout = 0; SELECT pg_advisory_lock({MIGRATION_LOCK})"
        ))?;
        let result = conn
            .run_pending_migrations(MIGRATIONS)
            .map(|_| ())
            .map_err(|error| StoreError::Database(format!("migration failed: {error}")));
        conn.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
        conn.batch_execute(LIMITS)?;
        result
    }

    pub(crate) fn ready(&self) -> Result<(), StoreError> {
        let mut conn = self.0.get()?;
        let pending = conn
            .has_pending_migration(MIGRATIONS)
            .map_err(|error| StoreError::Unavailable(format!("schema version unknown: {error}")))?;
        if pending {
            Err(StoreError::Configuration("the schema is not up to date: run migrate".into()))
        } else {
            Ok(())
        }
    }
}

/// Bounds for each connection: a lost network or a stuck lock must become an error, not a hang.
const LIMITS: &str = "SET lock_timeout = '10s'; SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '60s'";

#[derive(Debug)]
struct Limits;

impl CustomizeConnection<Conn, R2d2Error> for Limits {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), R2d2Error> {
        conn.batch_execute(LIMITS).map_err(R2d2Error::QueryError)
    }
}

/// libpq would wait for ever for a host that does not answer.
fn with_connect_timeout(url: &str) -> String {
    if url.contains("connect_timeout=") {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}connect_timeout=5")
}
