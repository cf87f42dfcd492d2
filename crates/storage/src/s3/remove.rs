//! Removing what begins with a prefix: objects, and uploads that were never finished.

use s3::serde_types::ObjectIdentifier;

use super::client::Client;
use super::failure::Failure;
use super::upload::{abort, encode};

/// Removes all objects whose keys in the bucket begin with `prefix`.
pub(super) async fn objects(client: &Client, prefix: &str) -> Result<(), Failure> {
    let bucket = &client.bucket;
    let mut token = None;
    loop {
        let list = || bucket.list_page(prefix.to_owned(), None, token.clone(), None, None);
        let (page, _status) = client.quick(list).await?;
        let keys: Vec<_> = page.contents.into_iter().map(|object| ObjectIdentifier::new(object.key)).collect();
        if !keys.is_empty() {
            client.quick(|| remove(client, keys.clone())).await?;
        }
        if !page.is_truncated {
            return Ok(());
        }
        if page.next_continuation_token.is_none() || page.next_continuation_token == token {
            return Err(Failure::nonsense("the server does not say where a list goes on"));
        }
        token = page.next_continuation_token;
    }
}

async fn remove(client: &Client, keys: Vec<ObjectIdentifier>) -> Result<(), Failure> {
    let removed = client.bucket.delete_objects(keys).await?;
    match removed.errors.into_iter().find(|error| error.code != "NoSuchKey") {
        None => Ok(()),
        Some(error) => Err(Failure::of_object(error.code, error.message)),
    }
}

/// Ends all unfinished uploads of objects whose keys in the bucket begin with `prefix`.
pub(super) async fn uploads(client: &Client, prefix: &str) -> Result<(), Failure> {
    let bucket = &client.bucket;
    let mut marker = (None, None);
    loop {
        let list = || {
            let (key, id) = marker.clone();
            bucket.list_multiparts_uploads_page(Some(prefix), None, key, id, None)
        };
        let page = match client.quick(list).await {
            Ok((page, _status)) => page,
            // A server that can't list them has a rule of its own for them.
            Err(failure) if failure.is_not_implemented() => return Ok(()),
            Err(failure) => return Err(failure),
        };
        for upload in page.uploads {
            abort(client, &upload.key, &encode(&upload.id)).await?;
        }
        let next = (page.next_marker, page.next_upload_id_marker);
        if !page.is_truncated {
            return Ok(());
        }
        if next.0.is_none() || next == marker {
            return Err(Failure::nonsense("the server does not say where a list goes on"));
        }
        marker = next;
    }
}
