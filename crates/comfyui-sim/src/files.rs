//! The folders `input`, `output` and `temp`: names, contents and the counter of saved names.
//! Small files stay in memory up to a bound; larger ones go to a private folder, or all of them to the data folder.
//! Knows nothing of HTTP and nothing of pictures.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::blob::Blob;
use crate::sync::lock;

const MEMORY_PER_FILE: usize = 16 << 20;
const MEMORY_TOTAL: usize = 512 << 20;

/// One of the three folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Folder {
    Input,
    Output,
    Temp,
}

impl Folder {
    pub(crate) const ALL: [Self; 3] = [Self::Input, Self::Output, Self::Temp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Temp => "temp",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|folder| folder.name() == text)
    }
}

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileKey {
    pub(crate) folder: Folder,
    pub(crate) subfolder: String,
    pub(crate) name: String,
}

impl FileKey {
    pub(crate) fn new(folder: Folder, subfolder: &str, name: &str) -> Self {
        let subfolder = subfolder.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>();
        Self { folder, subfolder: subfolder.join("/"), name: name.to_owned() }
    }

    /// Splits `sub/dir/name.png`.
    pub(crate) fn from_path(folder: Folder, path: &str) -> Self {
        let (subfolder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Self::new(folder, subfolder, name)
    }
}

#[derive(Debug, Clone)]
enum Content {
    Memory(Blob),
    Disk(PathBuf),
}

#[derive(Debug, Clone)]
struct Entry {
    content: Content,
    size: usize,
    modified: SystemTime,
}

/// A file as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) blob: Blob,
    pub(crate) modified: SystemTime,
}

impl Stored {
    /// Changes with the content, as far as time and size tell.
    pub(crate) fn etag(&self) -> String {
        let nanos = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        format!("\"{nanos:x}-{:x}\"", self.blob.len())
    }
}

#[derive(Default)]
struct Index {
    files: BTreeMap<FileKey, Entry>,
    counters: HashMap<(Folder, String, String), u32>,
    memory: usize,
    spilled: u64,
}

/// All files of one simulator.
pub(crate) struct FileStore {
    root: Option<PathBuf>,
    spill: PathBuf,
    index: Mutex<Index>,
}

impl FileStore {
    /// Opens the data folder, if there is one, with the files that lie in it.
    pub(crate) fn open(root: Option<PathBuf>) -> io::Result<Self> {
        let spill = std::env::temp_dir().join(format!("comfyui-sim-{}", uuid::Uuid::new_v4().simple()));
        let store = Self { root, spill, index: Mutex::default() };
        if let Some(root) = &store.root {
            for folder in Folder::ALL {
                fs::create_dir_all(root.join(folder.name()))?;
            }
            store.clear_temp();
            let mut index = lock(&store.index);
            for folder in [Folder::Input, Folder::Output] {
                let _ = scan(&mut index, folder, &root.join(folder.name()), "");
            }
        }
        Ok(store)
    }

    /// Stores a file, replacing one of the same name.
    pub(crate) fn put(&self, key: FileKey, blob: Blob) {
        let size = blob.len();
        let content = self.place(&key, blob);
        let mut index = lock(&self.index);
        if let Content::Memory(blob) = &content {
            index.memory += blob.own_len();
        }
        let old = index.files.insert(key, Entry { content, size, modified: SystemTime::now() });
        if let Some(Entry { content: Content::Memory(old), .. }) = old {
            index.memory = index.memory.saturating_sub(old.own_len());
        }
    }

    fn place(&self, key: &FileKey, blob: Blob) -> Content {
        let path = match &self.root {
            Some(root) if key.name.len() < 255 && !key.name.contains(['/', '\0']) => {
                root.join(key.folder.name()).join(&key.subfolder).join(&key.name)
            }
            // A name that no disk takes exists in memory only: hostile names are made on purpose.
            Some(_) => return Content::Memory(blob),
            None => {
                let mut index = lock(&self.index);
                if blob.own_len() <= MEMORY_PER_FILE && index.memory + blob.own_len() <= MEMORY_TOTAL {
                    return Content::Memory(blob);
                }
                index.spilled += 1;
                self.spill.join(format!("{}.bin", index.spilled))
            }
        };
        match write_file(&path, &blob) {
            Ok(()) => Content::Disk(path),
            Err(error) => {
                tracing::warn!(%error, "a file could not be written and stays in memory");
                Content::Memory(blob)
            }
        }
    }

    /// Reads a file; blocks while it is read from disk.
    pub(crate) fn get(&self, key: &FileKey) -> Option<Stored> {
        let entry = lock(&self.index).files.get(key).cloned()?;
        let blob = match entry.content {
            Content::Memory(blob) => blob,
            Content::Disk(path) => fs::read(path).ok()?.into(),
        };
        Some(Stored { blob, modified: entry.modified })
    }

    /// Whether reading a file means reading from disk.
    pub(crate) fn is_on_disk(&self, key: &FileKey) -> bool {
        lock(&self.index).files.get(key).is_some_and(|entry| matches!(entry.content, Content::Disk(_)))
    }

    pub(crate) fn exists(&self, key: &FileKey) -> bool {
        lock(&self.index).files.contains_key(key)
    }

    /// Changes whenever the file does.
    pub(crate) fn fingerprint(&self, key: &FileKey) -> Option<(SystemTime, usize)> {
        lock(&self.index).files.get(key).map(|entry| (entry.modified, entry.size))
    }

    /// The names of the files that lie directly in a folder, sorted.
    pub(crate) fn list(&self, folder: Folder) -> Vec<String> {
        let from = FileKey { folder, subfolder: String::new(), name: String::new() };
        let index = lock(&self.index);
        let direct = index.files.range(from..).take_while(|(key, _)| key.folder == folder && key.subfolder.is_empty());
        direct.map(|(key, _)| key.name.clone()).collect()
    }

    /// The next `count` numbers of `prefix_00001_.ext` in a subfolder; returns the first.
    pub(crate) fn reserve(&self, folder: Folder, subfolder: &str, prefix: &str, count: u32) -> u32 {
        let mut index = lock(&self.index);
        let Index { files, counters, .. } = &mut *index;
        let counter = match counters.get_mut(&(folder, subfolder.to_owned(), prefix.to_owned())) {
            Some(counter) => counter,
            None => {
                let highest = highest_number(files, folder, subfolder, prefix);
                counters.entry((folder, subfolder.to_owned(), prefix.to_owned())).or_insert(highest + 1)
            }
        };
        let first = *counter;
        *counter = counter.saturating_add(count);
        first
    }

    /// Empties `temp`, as every start of ComfyUI does.
    pub(crate) fn clear_temp(&self) {
        let mut index = lock(&self.index);
        let Index { files, counters, memory, .. } = &mut *index;
        counters.retain(|(folder, ..), _| *folder != Folder::Temp);
        files.retain(|key, entry| {
            let keep = key.folder != Folder::Temp;
            if let (false, Content::Memory(blob)) = (keep, &entry.content) {
                *memory = memory.saturating_sub(blob.own_len());
            }
            keep
        });
        if let Some(root) = &self.root {
            let temp = root.join(Folder::Temp.name());
            let _ = fs::remove_dir_all(&temp);
            let _ = fs::create_dir_all(&temp);
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.spill);
    }
}

fn highest_number(files: &BTreeMap<FileKey, Entry>, folder: Folder, subfolder: &str, prefix: &str) -> u32 {
    let from = FileKey { folder, subfolder: subfolder.to_owned(), name: format!("{prefix}_") };
    let same = files.range(from..).take_while(|(key, _)| key.subfolder == subfolder && key.folder == folder);
    let rests = same.map_while(|(key, _)| key.name.strip_prefix(prefix)?.strip_prefix('_'));
    rests.filter_map(|rest| rest.split('_').next()?.parse::<u32>().ok()).max().unwrap_or(0)
}

fn write_file(path: &Path, blob: &Blob) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::File::create(path)?;
    for part in blob.parts() {
        io::Write::write_all(&mut file, part)?;
    }
    Ok(())
}

fn scan(index: &mut Index, folder: Folder, path: &Path, subfolder: &str) -> io::Result<()> {
    for found in fs::read_dir(path)? {
        let found = found?;
        let name = found.file_name().to_string_lossy().into_owned();
        let metadata = found.metadata()?;
        if metadata.is_dir() {
            let below = if subfolder.is_empty() { name } else { format!("{subfolder}/{name}") };
            scan(index, folder, &found.path(), &below)?;
        } else {
            let key = FileKey::new(folder, subfolder, &name);
            let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
            let modified = metadata.modified()?;
            index.files.insert(key, Entry { content: Content::Disk(found.path()), size, modified });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(text: &str) -> Blob {
        text.as_bytes().to_vec().into()
    }

    #[test]
    fn numbers_go_on_after_the_highest_file_of_a_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(Some(folder.path().to_owned())).unwrap();
        store.put(FileKey::new(Folder::Output, "a/b", "x_00041_.png"), blob("one"));
        drop(store);
        let store = FileStore::open(Some(folder.path().to_owned())).unwrap();
        assert_eq!(store.reserve(Folder::Output, "a/b", "x", 2), 42);
        assert_eq!(store.reserve(Folder::Output, "a/b", "x", 1), 44);
        assert_eq!(store.reserve(Folder::Output, "a", "x", 1), 1);
    }

    #[test]
    fn clearing_temp_keeps_everything_else() {
        let store = FileStore::open(None).unwrap();
        for folder in Folder::ALL {
            store.put(FileKey::new(folder, "", "a.png"), blob("x"));
        }
        store.clear_temp();
        let left: Vec<bool> = Folder::ALL.map(|folder| store.exists(&FileKey::new(folder, "", "a.png"))).to_vec();
        assert_eq!(left, [true, true, false]);
    }
}
