use super::*;
use crate::suite::{self, Place, get, put};

struct Disk {
    folder: tempfile::TempDir,
    storage: Arc<LocalStorage>,
}

impl Place for Disk {
    async fn new(limit: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(&folder.path().join("outputs"), limit).unwrap();
        Self { folder, storage: Arc::new(storage) }
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as Arc<dyn Storage>
    }

    async fn pieces(&self) -> usize {
        files_below(self.folder.path())
    }
}

fn files_below(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| if p.is_dir() { files_below(&p) } else { 1 })
        .sum()
}

suite::behaves!(Disk);

#[tokio::test]
async fn a_folder_is_not_an_object() {
    let place = Disk::new(100).await;
    put(&*place.storage, "a/1/x", &[b"x"]).await.unwrap();
    assert!(matches!(get(&*place.storage, "a/1", None).await, Err(StorageError::NotFound { .. })));
}

#[tokio::test]
async fn a_file_has_a_path_and_no_url() {
    let place = Disk::new(100).await;
    put(&*place.storage, "a/1/x", &[b"x"]).await.unwrap();
    let path = place.storage.locate("a/1/x").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"x");
    assert_eq!(place.storage.presign("a/1/x", Duration::from_secs(60)).await.unwrap(), None);
}

#[tokio::test]
async fn the_configured_engine_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let backend = gateway_config::StorageBackend::Local { root: folder.path().join("new") };
    let settings = gateway_config::StorageSettings { backend, max_output_bytes: 10 };
    let storage = crate::open(&settings).await.unwrap();
    assert_eq!(storage.name(), "local");
    assert!(matches!(put(&*storage, "a", &[&[0; 11]]).await, Err(StorageError::TooLarge { limit: 10 })));
    assert!(folder.path().join("new").is_dir());
}
