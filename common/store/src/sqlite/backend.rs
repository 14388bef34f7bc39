use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Error as R2d2Error};
use diesel::sql_types::{Integer, Text};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::StoreError;
use crate::store::StoreConfig;

pub(crate) type Conn = SqliteConnection;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// How long a writer waits for its turn, in this process or for another one's lock.
const WRITE_PATIENCE: Duration = Duration::from_secs(15);

/// How long the emptying of the log waits for readers; writers wait with it.
const LOG_PATIENCE: Duration = Duration::from_millis(100);

/// A transaction that writes begins `IMMEDIATE`, so it has the database to itself: there is no row to lock.
macro_rules! lock {
    ($query:expr) => {
        $query
    };
}

/// As [`lock`]: nobody else can hold a row that would have to be skipped.
macro_rules! lock_free {
    ($query:expr) => {
        $query
    };
}

pub(crate) use {lock, lock_free};

/// Readers, and the one writer that SQLite allows: waiting for it in a queue beats polling a busy database.
#[derive(Clone)]
pub(crate) struct Pool {
    readers: diesel::r2d2::Pool<ConnectionManager<Conn>>,
    writer: diesel::r2d2::Pool<ConnectionManager<Conn>>,
    log: Arc<Path>,
}

impl Pool {
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let path = config.url.strip_prefix("sqlite:").unwrap_or(&config.url);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains(":memory:") {
            // Each connection would have a database of its own.
            return Err(StoreError::Configuration("a SQLite store needs a file: sqlite:PATH".into()));
        }
        make_private(path);
        let pool = |size: u32, patience: Duration| {
            diesel::r2d2::Pool::builder()
                .max_size(size)
                .min_idle(Some(0))
                .idle_timeout(None)
                .max_lifetime(None)
                .test_on_check_out(false)
                .connection_timeout(patience)
                .connection_customizer(Box::new(Pragmas))
                .build_unchecked(ConnectionManager::new(path))
        };
        let readers = pool(config.pool_size.max(1), Duration::from_secs(5));
        let writer = pool(1, WRITE_PATIENCE);
        // The writer first: it turns the file into WAL mode, which readers then find.
        let log = log_of(&mut *writer.get()?)?;
        drop(readers.get()?);
        Ok(Self { readers, writer, log: log.into() })
    }

    pub(crate) fn read<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        query(&mut *self.readers.get()?)
    }

    pub(crate) fn write<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.writer.get()?.immediate_transaction(|conn| query(conn))
    }

    /// As [`Self::read`]: how a query is planned makes no difference to speak of within the process.
    pub(crate) fn read_by_key<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.read(query)
    }

    /// As [`Self::write`].
    pub(crate) fn write_by_key<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.write(query)
    }

    /// As [`Self::write`].
    pub(crate) fn write_at_once<T>(&self, query: impl Fn(&mut Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.write(query)
    }

    /// Moves the write-ahead log into the database and cuts it to nothing: until then it holds the old bytes of what was
    /// destroyed. `false` if a reader or another process was in the way.
    pub(crate) fn empty_log(&self) -> Result<bool, StoreError> {
        // Its length says whether anything was written since, whoever wrote it and before whichever restart.
        let empty = || std::fs::metadata(&self.log).is_ok_and(|log| log.len() == 0);
        if empty() {
            return Ok(true);
        }
        // The long part, copying and syncing pages, keeps nobody waiting; only the cut needs the writer's place.
        checkpoint(&mut *self.readers.get()?, "PRAGMA wal_checkpoint(PASSIVE)")?;
        let mut conn = self.writer.get()?;
        if empty() {
            return Ok(true);
        }
        // Writers wait while it waits for readers.
        conn.batch_execute(&format!("PRAGMA busy_timeout = {}", LOG_PATIENCE.as_millis()))?;
        let cut = checkpoint(&mut conn, "PRAGMA wal_checkpoint(TRUNCATE)");
        conn.batch_execute(&format!("PRAGMA busy_timeout = {}", WRITE_PATIENCE.as_millis()))?;
        cut
    }

    pub(crate) fn migrate(&self) -> Result<(), StoreError> {
        let mut conn = self.writer.get()?;
        // IMMEDIATE: a second process waits, then finds nothing to do.
        conn.immediate_transaction(|conn| {
            conn.run_pending_migrations(MIGRATIONS)
                .map(|_| ())
                .map_err(|error| StoreError::Database(format!("migration failed: {error}")))
        })
    }

    pub(crate) fn ready(&self) -> Result<(), StoreError> {
        let mut conn = self.readers.get()?;
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

/// Makes the file, if there is none, for its owner alone: webhook payloads and sealed keys stand in it. SQLite gives its log and
/// the log's index the same mode. What goes wrong here SQLite meets and names when it opens the file.
fn make_private(path: &str) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if !path.starts_with("file:") {
        let _ = options.open(path);
    }
}

/// Where SQLite keeps the write-ahead log of the database of this connection.
fn log_of(conn: &mut Conn) -> Result<PathBuf, StoreError> {
    #[derive(QueryableByName)]
    struct Main {
        #[diesel(sql_type = Text)]
        file: String,
    }
    let main: Main = diesel::sql_query("SELECT file FROM pragma_database_list WHERE name = 'main'").get_result(conn)?;
    Ok(PathBuf::from(main.file + "-wal"))
}

/// Runs a checkpoint; whether it was complete.
fn checkpoint(conn: &mut Conn, pragma: &str) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Checkpoint {
        #[diesel(sql_type = Integer)]
        busy: i32,
    }
    let done: Checkpoint = diesel::sql_query(pragma).get_result(conn)?;
    Ok(done.busy == 0)
}

#[derive(Debug)]
struct Pragmas;

impl CustomizeConnection<Conn, R2d2Error> for Pragmas {
    fn on_acquire(&self, conn: &mut Conn) -> Result<(), R2d2Error> {
        // busy_timeout first: the change to WAL needs a lock itself. FULL: a settled verdict survives power loss.
        // secure_delete: a wrapped key that was removed must not linger in free pages.
        conn.batch_execute(&format!(
            "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;",
            WRITE_PATIENCE.as_millis()
        ))
        .map_err(R2d2Error::QueryError)
    }
}
