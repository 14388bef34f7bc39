use std::cell::Cell;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Error as R2d2Error, ManageConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::StoreError;
use crate::store::StoreConfig;

pub(crate) type Conn = PgConnection;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// How long a connection that worked is believed to work still.
const BELIEVED: Duration = Duration::from_secs(1);

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
pub(crate) struct Pool {
    any: Connections,
    /// For statements that find rows by their keys. PostgreSQL plans these once a connection, and by an index: planning one
    /// anew takes longer than running it, and what the planner believes of tables that grow and turn over by the second is
    /// old, so that now and then it would read a whole table, or compare each row of one list with each of another.
    by_key: Connections,
}

type Connections = diesel::r2d2::Pool<Manager>;

/// Connections for statements by key, at most: groups of three kinds, the relay and a spare one.
const BY_KEY: u32 = 5;

impl Pool {
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let url = with_connect_timeout(&config.url);
        // One plain connection first: its error says what is wrong at once, where the pool would only time out.
        drop(Conn::establish(&url).map_err(|error| StoreError::Unavailable(error.to_string()))?);
        let connections = |size: u32, settings: &'static str| {
            diesel::r2d2::Pool::builder()
                .max_size(size)
                .min_idle(Some(0))
                .connection_timeout(Duration::from_secs(5))
                .build_unchecked(Manager { connections: ConnectionManager::new(url.clone()), settings })
        };
        let size = config.pool_size.max(1);
        let for_keys = BY_KEY.min(size / 2);
        let any = connections(size - for_keys, "");
        let by_key = if for_keys == 0 { any.clone() } else { connections(for_keys, PLANNED_ONCE) };
        Ok(Self { any, by_key })
    }

    pub(crate) fn read<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        with_connection(&self.any, |conn| query(conn), || true)
    }

    /// Reads rows by their keys.
    pub(crate) fn read_by_key<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        with_connection(&self.by_key, |conn| query(conn), || true)
    }

    pub(crate) fn write<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        Self::write_on(&self.any, query)
    }

    /// Writes rows that are found by their keys.
    pub(crate) fn write_by_key<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        Self::write_on(&self.by_key, query)
    }

    /// One statement by key, which is a transaction by itself and may be done twice.
    pub(crate) fn write_at_once<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        with_connection(&self.by_key, |conn| query(conn), || true)
    }

    fn write_on<T>(
        connections: &Connections,
        query: impl Fn(&mut Conn) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = Cell::new(false);
        let transaction = |conn: &mut Conn| {
            let mut runs = 1;
            loop {
                let result = conn.transaction(|conn| {
                    begun.set(true);
                    query(conn)
                });
                match result {
                    // Locks are taken in the order of ids, but a statement over many rows locks them as it meets them.
                    Err(StoreError::Undone(reason)) if runs < RUNS => {
                        tracing::debug!(reason, runs, "transaction runs again");
                        runs += 1;
                    }
                    result => return result,
                }
            }
        };
        with_connection(connections, transaction, || !begun.get())
    }

    pub(crate) fn migrate(&self) -> Result<(), StoreError> {
        self.any.get()?.run(|conn| {
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
        })
    }

    pub(crate) fn ready(&self) -> Result<(), StoreError> {
        let pending = self.any.get()?.run(|conn| {
            conn.has_pending_migration(MIGRATIONS)
                .map_err(|error| StoreError::Unavailable(format!("schema version unknown: {error}")))
        })?;
        if pending {
            Err(StoreError::Configuration("the schema is not up to date: run migrate".into()))
        } else {
            Ok(())
        }
    }
}

/// Works on a connection. When the server has closed it meanwhile, and `may_repeat` says that nothing can have been done
/// yet, the next one is taken: the server may have closed them all.
fn with_connection<T>(
    connections: &Connections,
    work: impl Fn(&mut Conn) -> Result<T, StoreError>,
    may_repeat: impl Fn() -> bool,
) -> Result<T, StoreError> {
    for _ in 0..connections.max_size() {
        match connections.get()?.run(&work) {
            Err(StoreError::Unavailable(reason)) if may_repeat() => {
                tracing::debug!(reason, "the connection was of no use; the next one is taken");
            }
            result => return result,
        }
    }
    connections.get()?.run(&work)
}

/// Makes connections and tells good ones from bad. The pool would ask each one `SELECT 1` before every use, which is as dear
/// as the query itself; here one that has just worked is believed, and one that has failed for want of a server is dropped.
struct Manager {
    connections: ConnectionManager<Conn>,
    /// Further settings of each connection.
    settings: &'static str,
}

/// A connection and when it last worked.
struct Pooled {
    conn: Conn,
    worked: Instant,
    broken: bool,
}

impl Pooled {
    fn run<T>(&mut self, query: impl FnOnce(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // Until it has come to its end: a panic in the middle leaves the connection in an unknown state.
        self.broken = true;
        let result = query(&mut self.conn);
        self.broken = matches!(result, Err(StoreError::Unavailable(_)));
        self.worked = Instant::now();
        result
    }
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = R2d2Error;

    fn connect(&self) -> Result<Pooled, R2d2Error> {
        let mut conn = self.connections.connect()?;
        conn.batch_execute(&format!("{LIMITS}; {}", self.settings)).map_err(R2d2Error::QueryError)?;
        Ok(Pooled { conn, worked: Instant::now(), broken: false })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), R2d2Error> {
        if pooled.worked.elapsed() < BELIEVED {
            return Ok(());
        }
        self.connections.is_valid(&mut pooled.conn)?;
        pooled.worked = Instant::now();
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.broken || self.connections.has_broken(&mut pooled.conn)
    }
}

/// Bounds for each connection: a lost network or a stuck lock must become an error, not a hang.
const LIMITS: &str = "SET lock_timeout = '10s'; SET statement_timeout = '30s'; \
     SET idle_in_transaction_session_timeout = '60s'";

/// See [`Pool::by_key`]. A plan that is made once must be right for every size of the tables: by index, row for row.
const PLANNED_ONCE: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
     SET enable_hashjoin = off; SET enable_mergejoin = off";

/// libpq would wait for ever for a host that does not answer.
fn with_connect_timeout(url: &str) -> String {
    if url.contains("connect_timeout=") {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}connect_timeout=5")
}
