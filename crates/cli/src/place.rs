//! Where commands find what a gateway keeps: in the database, or through the gateway that has it.

use gateway_config::Settings;
use gateway_db::{Database, DbError};

use crate::exit::Failure;
use crate::http::Remote;
use crate::stores::open_beside;

/// Who is asked.
pub(crate) enum Place {
    /// The database, by this process.
    Database(Database),
    /// A gateway that was named, or that holds the database.
    Gateway(Remote),
}

impl Place {
    /// The gateway at the URL `gateway` where one is named; else the database of these settings, or the gateway of these
    /// settings where that holds it.
    pub(crate) async fn open(settings: &Settings, gateway: Option<&str>) -> Result<Self, Failure> {
        if let Some(url) = gateway {
            return Ok(Self::Gateway(Remote::new(url)?.with_key(settings)));
        }
        match open_beside(settings).await {
            Ok(database) => Ok(Self::Database(database)),
            Err(DbError::InUse { pid, .. }) => Ok(Self::Gateway(Remote::local(settings)?.holding_database(pid))),
            Err(error) => Err(Failure::failed(error)),
        }
    }
}
