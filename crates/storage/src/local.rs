//! Objects on local disk. An object is written beside its place under a name that no key can have, renamed, and
//! synced with its folder before anybody is told of it: it is there whole, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use gateway_core::hex;
use sha2::{Digest as _, Sha256};

use crate::{ByteRange, ObjectReader, ObjectWriter, Storage, StorageError, Stored, key};

/// Bytes gathered before a write goes to a blocking thread: small objects need one hop in all.
const GATHER: usize = 512 * 1024;
/// Bytes read at a time.
const CHUNK: u64 = 128 * 1024;

/// Distinguishes files that this process writes at the same time.
static NEXT_TEMP: AtomicU64 = AtomicU64::new(0);

/// A storage in a folder.
#[derive(Debug, Clone)]
pub struct LocalStorage {
    root: Arc<PathBuf>,
    limit: u64,
}

impl LocalStorage {
    /// A storage in the folder `root`, which is made where it is not there, of objects of `limit` bytes at most.
    ///
    /// # Errors
    /// [`StorageError::Io`] where the folder can't be made or written to.
    pub fn open(root: &Path, limit: u64) -> Result<Self, StorageError> {
        let root = std::path::absolute(root).map_err(io("find the output folder"))?;
        std::fs::create_dir_all(&root).map_err(io("make the output folder"))?;
        let probe = root.join(format!("~probe-{}", std::process::id()));
        File::create(&probe).map_err(io("write to the output folder"))?;
        std::fs::remove_file(&probe).map_err(io("write to the output folder"))?;
        Ok(Self { root: Arc::new(root), limit })
    }

    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        Ok(self.root.join(key::check(key)?))
    }
}

fn io(action: &'static str) -> impl Fn(std::io::Error) -> StorageError {
    move |source| StorageError::Io { action, source }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StorageError::Io { action: "finish a task", source: std::io::Error::other(error) }))
}

#[async_trait]
impl Storage for LocalStorage {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let target = self.path(key)?;
        let number = NEXT_TEMP.fetch_add(1, Ordering::Relaxed);
        let temp = target.with_file_name(format!("~{}-{number}", std::process::id()));
        Ok(Box::new(LocalWriter {
            partial: Some(Partial {
                root: Arc::clone(&self.root),
                target,
                temp,
                file: None,
                hash: Sha256::new(),
                size: 0,
            }),
            gathered: Vec::new(),
            accepted: 0,
            limit: self.limit,
        }))
    }

    async fn open(&self, key: &str, range: Option<ByteRange>) -> Result<ObjectReader, StorageError> {
        let path = self.path(key)?;
        let name = key.to_owned();
        // The first bytes come with the size: a small object needs one hop in all.
        let (size, reading) = blocking(move || {
            let (mut file, size) = open_file(&path, name)?;
            let range = range.unwrap_or(ByteRange { start: 0, length: size });
            if range.start > 0 {
                file.seek(SeekFrom::Start(range.start)).map_err(io("read an object"))?;
            }
            Ok((size, Reading { file, ready: Bytes::new(), left: range.length }.more()?))
        })
        .await?;
        let stream = stream::try_unfold(reading, |mut reading| async move {
            if reading.ready.is_empty() && reading.left > 0 {
                reading = blocking(move || reading.more()).await?;
            }
            let bytes = std::mem::take(&mut reading.ready);
            Ok((!bytes.is_empty()).then_some((bytes, reading)))
        });
        Ok(ObjectReader { size, stream: Box::pin(stream) })
    }

    async fn remove_all(&self, prefix: &str) -> Result<(), StorageError> {
        let path = self.path(prefix)?;
        blocking(move || {
            let (Some(folder), Some(start)) = (path.parent(), path.file_name()) else {
                return Err(StorageError::BadKey);
            };
            let entries = match std::fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(io("list a folder")(error)),
            };
            for entry in entries {
                let entry = entry.map_err(io("list a folder"))?;
                if entry.file_name().as_encoded_bytes().starts_with(start.as_encoded_bytes()) {
                    std::fs::remove_file(entry.path()).map_err(io("remove an object"))?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn presign(&self, key: &str, _expires: Duration) -> Result<Option<String>, StorageError> {
        key::check(key).map(|_| None)
    }

    fn locate(&self, key: &str) -> Option<String> {
        self.path(key).ok().map(|path| path.display().to_string())
    }
}

fn open_file(path: &Path, key: String) -> Result<(File, u64), StorageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(StorageError::NotFound { key }),
        Err(error) => return Err(io("open an object")(error)),
    };
    let metadata = file.metadata().map_err(io("open an object"))?;
    if metadata.is_file() { Ok((file, metadata.len())) } else { Err(StorageError::NotFound { key }) }
}

/// A part of an object that is being read: `ready` is the next of it, and `left` bytes follow.
struct Reading {
    file: File,
    ready: Bytes,
    left: u64,
}

impl Reading {
    /// With the next bytes, as long as there are any.
    fn more(mut self) -> Result<Self, StorageError> {
        let length = self.left.min(CHUNK);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        (&self.file).take(length).read_to_end(&mut bytes).map_err(io("read an object"))?;
        if bytes.is_empty() && length > 0 {
            return Err(io("read an object")(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.ready = Bytes::from(bytes);
        Ok(self)
    }
}

struct LocalWriter {
    partial: Option<Partial>,
    gathered: Vec<Bytes>,
    accepted: u64,
    limit: u64,
}

/// What is on disk so far. Removes it when dropped unfinished.
struct Partial {
    root: Arc<PathBuf>,
    target: PathBuf,
    temp: PathBuf,
    file: Option<File>,
    hash: Sha256,
    size: u64,
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        self.accepted += bytes.len() as u64;
        if self.accepted > self.limit {
            // What is there so far must not become an object.
            self.partial = None;
            return Err(StorageError::TooLarge { limit: self.limit });
        }
        self.gathered.push(bytes);
        let waiting: usize = self.gathered.iter().map(Bytes::len).sum();
        if waiting >= GATHER
            && let Some(mut partial) = self.partial.take()
        {
            let gathered = std::mem::take(&mut self.gathered);
            let written = blocking(move || {
                partial.append(&gathered)?;
                Ok(partial)
            });
            self.partial = Some(written.await?);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Stored, StorageError> {
        let gathered = std::mem::take(&mut self.gathered);
        let Some(mut partial) = self.partial.take() else {
            return Err(io("write an object")(std::io::Error::other("an earlier write failed")));
        };
        blocking(move || {
            partial.append(&gathered)?;
            partial.publish()
        })
        .await
    }
}

impl Partial {
    fn append(&mut self, parts: &[Bytes]) -> Result<(), StorageError> {
        if self.file.is_none() {
            self.file = Some(self.create()?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        for part in parts {
            self.hash.update(part);
            self.size += part.len() as u64;
            file.write_all(part).map_err(io("write an object"))?;
        }
        Ok(())
    }

    fn create(&mut self) -> Result<File, StorageError> {
        let open = || OpenOptions::new().write(true).create_new(true).open(&self.temp);
        match open() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_folders(&self.root, self.target.parent().unwrap_or(&self.root))?;
                open()
            }
            opened => opened,
        }
        .map_err(io("create an object"))
    }

    fn publish(mut self) -> Result<Stored, StorageError> {
        let Some(file) = self.file.take() else {
            return Err(io("publish an object")(std::io::Error::other("nothing was written")));
        };
        let renamed = std::fs::rename(&self.temp, &self.target);
        if let Err(error) = renamed {
            self.file = Some(file);
            return Err(io("publish an object")(error));
        }
        // Renamed first, synced then: the journal commits name and content at once, and nobody is told of the
        // object before both are on disk.
        file.sync_all().map_err(io("sync an object"))?;
        sync_folder(self.target.parent().unwrap_or(&self.root))?;
        let hash = std::mem::take(&mut self.hash).finalize();
        Ok(Stored { size: self.size, sha256: hex::encode(hash) })
    }
}

/// Makes `folder` and those above it up to `root`, and syncs each into the one that holds it.
fn make_folders(root: &Path, folder: &Path) -> Result<(), StorageError> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|above| *above != root).filter(|above| !above.is_dir()).collect();
    std::fs::create_dir_all(folder).map_err(io("make a folder"))?;
    for made in missing.into_iter().rev() {
        sync_folder(made.parent().unwrap_or(root))?;
    }
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(io("sync a folder"))
}

/// Other systems can't open a folder to sync it.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> Result<(), StorageError> {
    Ok(())
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nothing more can be done about a scratch file that can't be removed; its folder is swept.
            let _ = std::fs::remove_file(&self.temp);
        }
    }
}

#[cfg(test)]
mod tests;
