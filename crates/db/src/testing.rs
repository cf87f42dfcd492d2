//! Databases of a test's own on either engine, gone when the test is over.

use std::time::Duration;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use gateway_config::{DatabaseSettings, DatabaseTarget};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::{Access, Database};

/// Where one test's database is.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres { server: String, schema: String },
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A schema of its own; `None` where the test command has said that there is no server.
    #[expect(clippy::disallowed_methods, reason = "the test command tells where its servers are")]
    pub(crate) fn postgres() -> Option<Self> {
        let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
            assert!(std::env::var("TEST_WITHOUT_POSTGRES").is_ok(), "no Postgres: run the tests by `cargo xtask test`");
            return None;
        };
        let schema = format!("t_{}", uuid::Uuid::new_v4().simple());
        PgConnection::establish(&server).unwrap().batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
        Some(Self::Postgres { server, schema })
    }

    pub(crate) fn settings(&self) -> DatabaseSettings {
        let target = match self {
            Self::Sqlite(folder) => DatabaseTarget::Sqlite { path: folder.path().join("deep/er/gateway.db") },
            Self::Postgres { server, schema } => {
                let url = format!("{server}?options=-csearch_path%3D{schema}");
                DatabaseTarget::Postgres { url: SecretString::from(url), shown: String::from("postgres://test") }
            }
        };
        DatabaseSettings { target, connections: 2, statement_timeout: Duration::from_secs(120), redact: false }
    }

    pub(crate) fn open(&self) -> Database {
        Database::open(&self.settings(), Access::Exclusive).unwrap()
    }

    /// With ended jobs losing what they were about.
    pub(crate) fn open_private(&self) -> Database {
        Database::open(&DatabaseSettings { redact: true, ..self.settings() }, Access::Shared).unwrap()
    }

    /// As one of several processes.
    pub(crate) fn open_shared(&self) -> Database {
        Database::open(&self.settings(), Access::Shared).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Postgres { server, schema } = self
            && let Ok(mut connection) = PgConnection::establish(server)
        {
            // What is left of it goes with the server.
            let _ = connection.batch_execute(&format!("DROP SCHEMA {schema} CASCADE"));
        }
    }
}

/// Makes each of these functions, which take a [`Place`], a test on either engine.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::testing::Place::sqlite()).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $name() {
                if let Some(place) = crate::testing::Place::postgres() {
                    super::$name(place).await;
                }
            })*
        }
    };
}
pub(crate) use on_both_engines;
