//! What every engine must do alike; run against each of them by [`behaves`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use crate::{ByteRange, Storage, StorageError, Stored};

/// More than any engine holds back before it writes.
const LARGE: usize = 9 << 20;

/// A storage of a test's own.
pub(crate) trait Place {
    /// An empty one of objects of `limit` bytes at most.
    async fn new(limit: u64) -> Self;

    fn storage(&self) -> Arc<dyn Storage>;

    /// How many objects there are, with those that are half written.
    async fn pieces(&self) -> usize;
}

pub(crate) async fn put(storage: &dyn Storage, key: &str, parts: &[&[u8]]) -> Result<Stored, StorageError> {
    let mut writer = storage.create(key).await?;
    for part in parts {
        writer.write(Bytes::copy_from_slice(part)).await?;
    }
    writer.finish().await
}

pub(crate) async fn get(storage: &dyn Storage, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>, StorageError> {
    let parts: Vec<Bytes> = storage.open(key, range).await?.stream.try_collect().await?;
    Ok(parts.concat())
}

/// Waits until `wanted` pieces are left: what is dropped half written may be cleared away a moment later.
pub(crate) async fn until_pieces(place: &impl Place, wanted: usize) {
    let wait = async {
        while place.pieces().await != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("what was left is cleared away");
}

/// Runs the suite on one [`Place`].
macro_rules! behaves {
    ($place:ty) => {
        $crate::suite::behaves! { $place:
            what_is_written_is_read_whole_and_in_parts,
            an_object_larger_than_one_chunk_survives_the_journey,
            an_empty_object_is_an_object,
            a_part_of_no_bytes_still_tells_the_size,
            a_part_that_does_not_lie_within_the_object_is_an_error,
            an_object_that_is_there_is_replaced_only_when_the_new_one_is_finished,
            an_unfinished_object_is_not_there_and_leaves_nothing,
            an_object_over_the_limit_is_refused_and_leaves_nothing,
            removing_a_prefix_takes_its_objects_and_not_its_neighbours,
            keys_outside_the_root_are_refused_by_every_call
        }
    };
    ($place:ty: $($name:ident),*) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::suite::$name::<$place>().await;
            }
        )*
    };
}
pub(crate) use behaves;

pub(crate) async fn what_is_written_is_read_whole_and_in_parts<P: Place>() {
    let place = P::new(1 << 30).await;
    let storage = place.storage();
    let stored = put(&*storage, "a/1/x.bin", &[b"hello ", b"world"]).await.unwrap();
    assert_eq!(stored.size, 11);
    assert_eq!(stored.sha256, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    assert_eq!(get(&*storage, "a/1/x.bin", None).await.unwrap(), b"hello world");
    let range = ByteRange { start: 6, length: 3 };
    assert_eq!(get(&*storage, "a/1/x.bin", Some(range)).await.unwrap(), b"wor");
    assert_eq!(storage.open("a/1/x.bin", Some(range)).await.unwrap().size, 11);
    let all = ByteRange { start: 0, length: 11 };
    assert_eq!(get(&*storage, "a/1/x.bin", Some(all)).await.unwrap(), b"hello world");
}

pub(crate) async fn an_object_larger_than_one_chunk_survives_the_journey<P: Place>() {
    let place = P::new(1 << 30).await;
    let part: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    put(&*place.storage(), "a/big", &[part.as_slice(); 30]).await.unwrap();
    assert!(get(&*place.storage(), "a/big", None).await.unwrap() == part.repeat(30));
}

pub(crate) async fn an_empty_object_is_an_object<P: Place>() {
    let place = P::new(10).await;
    let stored = put(&*place.storage(), "a/empty", &[]).await.unwrap();
    assert_eq!(stored.size, 0);
    assert_eq!(stored.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(get(&*place.storage(), "a/empty", None).await.unwrap(), b"");
}

pub(crate) async fn a_part_of_no_bytes_still_tells_the_size<P: Place>() {
    let place = P::new(10).await;
    put(&*place.storage(), "a/x", &[b"12345"]).await.unwrap();
    put(&*place.storage(), "a/empty", &[]).await.unwrap();
    let nothing = Some(ByteRange { start: 0, length: 0 });
    assert_eq!(place.storage().open("a/x", nothing).await.unwrap().size, 5);
    assert_eq!(place.storage().open("a/empty", nothing).await.unwrap().size, 0);
    assert_eq!(get(&*place.storage(), "a/x", nothing).await.unwrap(), b"");
    assert!(matches!(get(&*place.storage(), "a/none", nothing).await, Err(StorageError::NotFound { .. })));
}

pub(crate) async fn a_part_that_does_not_lie_within_the_object_is_an_error<P: Place>() {
    let place = P::new(10).await;
    put(&*place.storage(), "a/x", &[b"12345"]).await.unwrap();
    for (start, length) in [(5, 1), (4, 2), (90, 9)] {
        let read = get(&*place.storage(), "a/x", Some(ByteRange { start, length })).await;
        assert!(matches!(read, Err(StorageError::Io { .. })), "{start}+{length}: {read:?}");
    }
}

pub(crate) async fn an_object_that_is_there_is_replaced_only_when_the_new_one_is_finished<P: Place>() {
    let place = P::new(1 << 30).await;
    let storage = place.storage();
    put(&*storage, "a/x", &[b"old"]).await.unwrap();
    let mut writer = storage.create("a/x").await.unwrap();
    writer.write(Bytes::from(vec![1; LARGE])).await.unwrap();
    assert_eq!(get(&*storage, "a/x", None).await.unwrap(), b"old");
    writer.finish().await.unwrap();
    assert_eq!(storage.open("a/x", None).await.unwrap().size, LARGE as u64);
    put(&*storage, "a/x", &[b"new"]).await.unwrap();
    assert_eq!(get(&*storage, "a/x", None).await.unwrap(), b"new");
}

pub(crate) async fn an_unfinished_object_is_not_there_and_leaves_nothing<P: Place>() {
    let place = P::new(1 << 30).await;
    let mut writer = place.storage().create("a/1/x").await.unwrap();
    writer.write(Bytes::from(vec![1; LARGE])).await.unwrap();
    assert_eq!(place.pieces().await, 1);
    assert!(matches!(get(&*place.storage(), "a/1/x", None).await, Err(StorageError::NotFound { .. })));
    drop(writer);
    until_pieces(&place, 0).await;
    assert!(matches!(get(&*place.storage(), "a/1/x", None).await, Err(StorageError::NotFound { .. })));
}

pub(crate) async fn an_object_over_the_limit_is_refused_and_leaves_nothing<P: Place>() {
    let limit = (LARGE + 1_000) as u64;
    let place = P::new(limit).await;
    let part = vec![1; LARGE];
    let refused = put(&*place.storage(), "a/1/x", &[&part, &part]).await;
    assert!(matches!(refused, Err(StorageError::TooLarge { limit: told }) if told == limit), "{refused:?}");
    until_pieces(&place, 0).await;
    assert!(put(&*place.storage(), "a/1/y", &[&part, &[1; 1_000]]).await.is_ok());
    // Who goes on writing after an error does not get an object.
    let mut writer = place.storage().create("a/1/z").await.unwrap();
    writer.write(Bytes::from(vec![1; LARGE + 1_001])).await.unwrap_err();
    assert!(writer.finish().await.is_err());
    until_pieces(&place, 1).await;
}

pub(crate) async fn removing_a_prefix_takes_its_objects_and_not_its_neighbours<P: Place>() {
    let place = P::new(100).await;
    let storage = place.storage();
    for key in ["day/7f/job.1.a", "day/7f/job.1.b", "day/7f/job.12.a", "day/7f/other.1.a"] {
        put(&*storage, key, &[b"x"]).await.unwrap();
    }
    storage.remove_all("day/7f/job.1.").await.unwrap();
    storage.remove_all("day/7f/job.1.").await.unwrap();
    storage.remove_all("day/00/never").await.unwrap();
    for gone in ["day/7f/job.1.a", "day/7f/job.1.b"] {
        assert!(matches!(get(&*storage, gone, None).await, Err(StorageError::NotFound { .. })), "{gone}");
    }
    for kept in ["day/7f/job.12.a", "day/7f/other.1.a"] {
        assert_eq!(get(&*storage, kept, None).await.unwrap(), b"x", "{kept}");
    }
}

pub(crate) async fn keys_outside_the_root_are_refused_by_every_call<P: Place>() {
    let place = P::new(100).await;
    let storage = place.storage();
    let soon = Duration::from_secs(1);
    for key in ["../x", "/etc/passwd", "a/../../x", ""] {
        assert!(matches!(storage.create(key).await.err(), Some(StorageError::BadKey)), "{key}");
        assert!(matches!(storage.open(key, None).await.err(), Some(StorageError::BadKey)), "{key}");
        assert!(matches!(storage.remove_all(key).await.err(), Some(StorageError::BadKey)), "{key}");
        assert!(matches!(storage.presign(key, soon).await.err(), Some(StorageError::BadKey)), "{key}");
        assert_eq!(storage.locate(key), None);
    }
}
