use futures_util::TryStreamExt as _;

use super::*;

fn storage(limit: u64) -> (tempfile::TempDir, LocalStorage) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StorageSettings { root: folder.path().join("outputs"), max_output_bytes: limit };
    let storage = LocalStorage::open(&settings).unwrap();
    (folder, storage)
}

async fn put(storage: &LocalStorage, key: &str, parts: &[&[u8]]) -> Result<Stored, StorageError> {
    let mut writer = storage.create(key).await?;
    for part in parts {
        writer.write(Bytes::copy_from_slice(part)).await?;
    }
    writer.finish().await
}

async fn get(storage: &LocalStorage, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>, StorageError> {
    let parts: Vec<Bytes> = storage.open(key, range).await?.stream.try_collect().await?;
    Ok(parts.concat())
}

fn files_below(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| if p.is_dir() { files_below(&p) } else { 1 })
        .sum()
}

#[tokio::test]
async fn what_is_written_is_read_whole_and_in_parts() {
    let (_folder, storage) = storage(1 << 30);
    let stored = put(&storage, "a/1/x.bin", &[b"hello ", b"world"]).await.unwrap();
    assert_eq!(stored.size, 11);
    assert_eq!(stored.sha256, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    assert_eq!(get(&storage, "a/1/x.bin", None).await.unwrap(), b"hello world");
    let range = ByteRange { start: 6, length: 3 };
    assert_eq!(get(&storage, "a/1/x.bin", Some(range)).await.unwrap(), b"wor");
    assert_eq!(storage.open("a/1/x.bin", Some(range)).await.unwrap().size, 11);
}

#[tokio::test]
async fn an_object_larger_than_one_chunk_survives_the_journey() {
    let (_folder, storage) = storage(1 << 30);
    let part = vec![7_u8; 300_000];
    put(&storage, "a/big", &[part.as_slice(); 9]).await.unwrap();
    assert_eq!(get(&storage, "a/big", None).await.unwrap().len(), 2_700_000);
}

#[tokio::test]
async fn an_empty_object_is_an_object() {
    let (_folder, storage) = storage(10);
    assert_eq!(put(&storage, "a/empty", &[]).await.unwrap().size, 0);
    assert_eq!(get(&storage, "a/empty", None).await.unwrap(), b"");
}

#[tokio::test]
async fn an_unfinished_object_is_not_there_and_leaves_no_file() {
    let (folder, storage) = storage(1 << 30);
    let mut writer = storage.create("a/1/x").await.unwrap();
    writer.write(Bytes::from(vec![1; 2 * GATHER])).await.unwrap();
    assert_eq!(files_below(folder.path()), 1);
    drop(writer);
    assert_eq!(files_below(folder.path()), 0);
    assert!(matches!(get(&storage, "a/1/x", None).await, Err(StorageError::NotFound { .. })));
}

#[tokio::test]
async fn an_object_over_the_limit_is_refused_and_leaves_no_file() {
    let (folder, storage) = storage(1_000_000);
    let part = vec![1; 600_000];
    let refused = put(&storage, "a/1/x", &[&part, &part]).await;
    assert!(matches!(refused, Err(StorageError::TooLarge { limit: 1_000_000 })));
    assert_eq!(files_below(folder.path()), 0);
    assert!(put(&storage, "a/1/y", &[&vec![1; 1_000_000]]).await.is_ok());
}

#[tokio::test]
async fn removing_a_prefix_takes_its_objects_and_not_its_neighbours() {
    let (_folder, storage) = storage(100);
    for key in ["day/7f/job.1.a", "day/7f/job.1.b", "day/7f/job.12.a", "day/7f/other.1.a"] {
        put(&storage, key, &[b"x"]).await.unwrap();
    }
    storage.remove_all("day/7f/job.1.").await.unwrap();
    storage.remove_all("day/7f/job.1.").await.unwrap();
    storage.remove_all("day/00/never").await.unwrap();
    for gone in ["day/7f/job.1.a", "day/7f/job.1.b"] {
        assert!(matches!(get(&storage, gone, None).await, Err(StorageError::NotFound { .. })), "{gone}");
    }
    for kept in ["day/7f/job.12.a", "day/7f/other.1.a"] {
        assert_eq!(get(&storage, kept, None).await.unwrap(), b"x", "{kept}");
    }
}

#[tokio::test]
async fn keys_outside_the_root_are_refused_by_every_call() {
    let (_folder, storage) = storage(100);
    for key in ["../x", "/etc/passwd", "a/../../x", ""] {
        assert!(matches!(storage.create(key).await.err(), Some(StorageError::BadKey)), "{key}");
        assert!(matches!(storage.open(key, None).await.err(), Some(StorageError::BadKey)), "{key}");
        assert!(matches!(storage.remove_all(key).await.err(), Some(StorageError::BadKey)), "{key}");
        assert_eq!(storage.locate(key), None);
    }
}

#[tokio::test]
async fn a_folder_is_not_an_object() {
    let (_folder, storage) = storage(100);
    put(&storage, "a/1/x", &[b"x"]).await.unwrap();
    assert!(matches!(get(&storage, "a/1", None).await, Err(StorageError::NotFound { .. })));
}
