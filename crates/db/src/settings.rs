//! What the processes of a gateway share and keep: the secret of page cursors, whether the queue is paused.

use diesel::prelude::*;
use gateway_core::{CursorKey, hex};

use crate::engine::on_engine;
use crate::schema::settings;
use crate::{Database, DbError};

const PAUSED: &str = "queue_paused";
const QUEUE_MARKER: &str = "queue_marker";

impl Database {
    /// The secret that page cursors are made with; drawn once for this database from `random`.
    ///
    /// # Errors
    /// [`DbError`] where it could neither be read nor stored.
    pub async fn cursor_key(&self, random: [u8; 32]) -> Result<CursorKey, DbError> {
        self.write(move |connection| {
            let row = (settings::name.eq("cursor_key"), settings::value.eq(hex::encode(random)));
            let insert = diesel::insert_into(settings::table).values(row).on_conflict_do_nothing();
            on_engine!(connection, inner => insert.execute(inner))?;
            let stored: String = settings::table.find("cursor_key").select(settings::value).get_result(connection)?;
            let bytes = hex::decode(&stored).ok_or_else(|| DbError::Corrupt {
                row: String::from("settings/cursor_key"),
                reason: String::from("not 32 bytes in hex"),
            })?;
            Ok(CursorKey::new(bytes))
        })
        .await
    }

    /// Keeps whether workers are to take no jobs.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn set_queue_paused(&self, paused: bool) -> Result<(), DbError> {
        self.write(move |connection| {
            diesel::delete(settings::table.find(PAUSED)).execute(connection)?;
            if paused {
                let row = (settings::name.eq(PAUSED), settings::value.eq("1"));
                let insert = diesel::insert_into(settings::table).values(row).on_conflict_do_nothing();
                on_engine!(connection, inner => insert.execute(inner))?;
            }
            Ok(())
        })
        .await
    }

    /// The marker of the queue that was last told of all waiting jobs.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn queue_marker(&self) -> Result<Option<String>, DbError> {
        self.read_row(|connection| {
            Ok(settings::table.find(QUEUE_MARKER).select(settings::value).get_result(connection).optional()?)
        })
        .await
    }

    /// Notes that the queue with this marker was told of all waiting jobs.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn set_queue_marker(&self, marker: &str) -> Result<(), DbError> {
        let marker = marker.to_owned();
        self.write(move |connection| {
            diesel::delete(settings::table.find(QUEUE_MARKER)).execute(connection)?;
            let row = (settings::name.eq(QUEUE_MARKER), settings::value.eq(marker));
            let insert = diesel::insert_into(settings::table).values(row).on_conflict_do_nothing();
            on_engine!(connection, inner => insert.execute(inner))?;
            Ok(())
        })
        .await
    }

    /// Whether workers are to take no jobs.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn queue_paused(&self) -> Result<bool, DbError> {
        self.read_row(|connection| {
            let found: Option<String> =
                settings::table.find(PAUSED).select(settings::value).get_result(connection).optional()?;
            Ok(found.is_some())
        })
        .await
    }
}
