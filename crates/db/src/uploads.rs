//! Files that callers have handed in: what they are and where they lie. Their bytes belong to the storage.

use diesel::prelude::*;
use gateway_core::{Owner, Scope, Timestamp, UploadId};

use crate::schema::uploads;
use crate::{Database, DbError};

/// A file that was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Whose it is.
    pub owner: Owner,
    /// Lower-case hex.
    pub sha256: String,
    /// In bytes.
    pub size: i64,
    /// `image`, `video`, `audio` or `file`.
    pub kind: String,
    /// By content.
    pub content_type: String,
    /// In pixels, for pictures.
    pub width: Option<i32>,
    /// In pixels, for pictures.
    pub height: Option<i32>,
    /// Where the storage has it.
    pub storage_key: String,
    /// When it was handed in.
    pub created_at: Timestamp,
    /// When it may be removed.
    pub expires_at: Timestamp,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = uploads)]
struct UploadRow {
    id: String,
    owner: String,
    sha256: String,
    size: i64,
    kind: String,
    content_type: String,
    width: Option<i32>,
    height: Option<i32>,
    storage_key: String,
    created_at: i64,
    expires_at: i64,
}

impl Database {
    /// Keeps a file's record.
    ///
    /// # Errors
    /// [`DbError`] where it could not be written.
    pub async fn put_upload(&self, upload: Upload) -> Result<(), DbError> {
        let row = UploadRow {
            id: upload.id.to_string(),
            owner: upload.owner.as_str().to_owned(),
            sha256: upload.sha256,
            size: upload.size,
            kind: upload.kind,
            content_type: upload.content_type,
            width: upload.width,
            height: upload.height,
            storage_key: upload.storage_key,
            created_at: upload.created_at.as_millis(),
            expires_at: upload.expires_at.as_millis(),
        };
        self.write(move |connection| {
            diesel::insert_into(uploads::table).values(&row).execute(connection)?;
            Ok(())
        })
        .await
    }

    /// The file `id`, where it is there and in `scope`.
    ///
    /// # Errors
    /// [`DbError`] where it could not be read.
    pub async fn find_upload(&self, id: UploadId, scope: Scope) -> Result<Option<Upload>, DbError> {
        self.read_row(move |connection| {
            let mut query = uploads::table.filter(uploads::id.eq(id.to_string())).into_boxed();
            if let Scope::Owner(owner) = scope {
                query = query.filter(uploads::owner.eq(owner.as_str().to_owned()));
            }
            let row: Option<UploadRow> = query.select(UploadRow::as_select()).get_result(connection).optional()?;
            Ok(row.map(|row| Upload {
                id,
                owner: Owner::new(row.owner),
                sha256: row.sha256,
                size: row.size,
                kind: row.kind,
                content_type: row.content_type,
                width: row.width,
                height: row.height,
                storage_key: row.storage_key,
                created_at: Timestamp::from_millis(row.created_at),
                expires_at: Timestamp::from_millis(row.expires_at),
            }))
        })
        .await
    }
}
