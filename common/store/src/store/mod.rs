//! The façade: one type, whichever database stands behind it.

mod administration;
mod attempts;
mod grouped;
mod reader_keys;
mod sessions;
mod sweeps;
mod webhooks;
mod work;

use crate::error::StoreError;

/// Where the database is.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Most connections (SQLite: readers; it has one writer).
    pub pool_size: u32,
}

/// Which database stands behind the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// One file, one process.
    Sqlite,
    /// A server, any number of processes.
    Postgres,
}

/// Sessions, attempts, events and deliveries. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    groups: grouped::Groups,
}

#[derive(Clone)]
enum Pool {
    Sqlite(crate::sqlite::Pool),
    Postgres(crate::postgres::Pool),
}

/// Runs a query of the backend at hand on a thread that may block. Its arguments are moved there; it borrows them,
/// because a transaction that lost a deadlock runs a second time.
macro_rules! run {
    ($store:expr, $mode:ident, $module:ident :: $query:ident ( $($argument:expr),* $(,)? )) => {
        match $store.pool.clone() {
            $crate::store::Pool::Sqlite(pool) => {
                $crate::store::blocking(move || {
                    pool.$mode(|conn| $crate::sqlite::queries::$module::$query(conn, $($argument),*))
                })
                .await
            }
            $crate::store::Pool::Postgres(pool) => {
                $crate::store::blocking(move || {
                    pool.$mode(|conn| $crate::postgres::queries::$module::$query(conn, $($argument),*))
                })
                .await
            }
        }
    };
}
use run;

/// As [`run`] for a query that writes: the request's answer, if one is to be stored, is in the same transaction.
macro_rules! run_once {
    ($store:expr, $answer:expr, $now:expr, $module:ident :: $query:ident ( $($argument:expr),* $(,)? )) => {
        match $store.pool.clone() {
            $crate::store::Pool::Sqlite(pool) => {
                $crate::store::blocking(move || {
                    pool.write(|conn| {
                        let done = $crate::sqlite::queries::$module::$query(conn, $($argument),*)?;
                        $crate::sqlite::queries::idempotency::answer(conn, $answer.as_ref(), &done, $now)?;
                        Ok(done)
                    })
                })
                .await
            }
            $crate::store::Pool::Postgres(pool) => {
                $crate::store::blocking(move || {
                    pool.write(|conn| {
                        let done = $crate::postgres::queries::$module::$query(conn, $($argument),*)?;
                        $crate::postgres::queries::idempotency::answer(conn, $answer.as_ref(), &done, $now)?;
                        Ok(done)
                    })
                })
                .await
            }
        }
    };
}
use run_once;

impl Store {
    /// Opens the database.
    ///
    /// # Errors
    /// `Configuration` for an unusable URL, `Unavailable` if no connection can be made.
    pub async fn open(config: StoreConfig) -> Result<Store, StoreError> {
        blocking(move || {
            let scheme = config.url.split_once(':').map(|(scheme, _)| scheme);
            let pool = match scheme {
                Some("sqlite") => Pool::Sqlite(crate::sqlite::Pool::open(&config)?),
                Some("postgres" | "postgresql") => Pool::Postgres(crate::postgres::Pool::open(&config)?),
                // The URL is not quoted: it may hold a password.
                _ => {
                    let expected = "the database URL must begin with sqlite: or postgres://";
                    return Err(StoreError::Configuration(expected.into()));
                }
            };
            Ok(Store { pool, groups: grouped::Groups::new() })
        })
        .await
    }

    /// Brings the schema up to date. Safe to call from several processes at once.
    ///
    /// # Errors
    /// `Unavailable`, `Database`.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let pool = self.pool.clone();
        blocking(move || match pool {
            Pool::Sqlite(pool) => pool.migrate(),
            Pool::Postgres(pool) => pool.migrate(),
        })
        .await
    }

    /// Whether the database answers and its schema is this version's.
    ///
    /// # Errors
    /// `Unavailable`, `Configuration` if migrations are pending.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let pool = self.pool.clone();
        blocking(move || match pool {
            Pool::Sqlite(pool) => pool.ready(),
            Pool::Postgres(pool) => pool.ready(),
        })
        .await
    }

    /// Which database stands behind the store.
    pub fn kind(&self) -> StoreKind {
        match self.pool {
            Pool::Sqlite(_) => StoreKind::Sqlite,
            Pool::Postgres(_) => StoreKind::Postgres,
        }
    }
}

/// Database calls block; the runtime's own threads must not.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // Only a panic or the runtime's end gets here; whether the transaction committed is not known.
        Err(error) => Err(StoreError::Unavailable(format!("database call did not finish: {error}"))),
    }
}

/// Statements that tests run behind the store's back: to see what it keeps, and to break what it relies on.
#[cfg(test)]
impl Store {
    pub(crate) async fn execute(&self, sql: &str) -> Result<usize, StoreError> {
        use diesel::RunQueryDsl;
        let (pool, sql) = (self.pool.clone(), sql.to_owned());
        blocking(move || match pool {
            Pool::Sqlite(pool) => pool.write(|conn| Ok(diesel::sql_query(&sql).execute(conn)?)),
            Pool::Postgres(pool) => pool.write(|conn| Ok(diesel::sql_query(&sql).execute(conn)?)),
        })
        .await
    }

    pub(crate) async fn texts(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        use diesel::RunQueryDsl;
        #[derive(diesel::QueryableByName)]
        struct Text {
            #[diesel(sql_type = diesel::sql_types::Text)]
            text: String,
        }
        let (pool, sql) = (self.pool.clone(), sql.to_owned());
        let rows: Vec<Text> = blocking(move || match pool {
            Pool::Sqlite(pool) => pool.write(|conn| Ok(diesel::sql_query(&sql).load(conn)?)),
            Pool::Postgres(pool) => pool.write(|conn| Ok(diesel::sql_query(&sql).load(conn)?)),
        })
        .await?;
        Ok(rows.into_iter().map(|row| row.text).collect())
    }
}
