//! Where commands find what a gateway keeps: in the database, or through the gateway that has it.

use std::path::PathBuf;

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

    /// The same for what makes no sense in a database that is only made now.
    pub(crate) async fn of_existing(settings: &Settings, gateway: Option<&str>) -> Result<Self, Failure> {
        if let (None, Some(path)) = (gateway, missing(settings)) {
            return Err(Failure::failed(format!(
                "there is no database {}: run this where the gateway runs, with its .env, or name the gateway with \
                 --gateway URL",
                path.display()
            )));
        }
        Self::open(settings, gateway).await
    }
}

/// The file of the database, from the root, where it is one that is not there yet.
pub(crate) fn missing(settings: &Settings) -> Option<PathBuf> {
    let path = settings.database.file().filter(|path| !path.exists())?;
    Some(std::path::absolute(path).unwrap_or_else(|_error| path.to_owned()))
}
