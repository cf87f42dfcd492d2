//! Fetches what a run made and stores it under names of ours. Nothing is read into memory whole.

use std::collections::HashSet;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use comfyui_client::{CallError, Download, FileRef, FolderKind, OutputItem};
use gateway_core::event::LogLevel;
use gateway_core::output::{extension_of, file_name, storage_prefix};
use gateway_core::{OutputKind, chain};
use gateway_db::Output;
use gateway_media::{Conversion, StripError};
use gateway_storage::{StorageError, Stored};

use super::sniff::{self, Sniffed, sniff};
use super::whole::Whole;
use super::{Finished, Run, shape};

/// Between the tries to fetch one file.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];
/// Of texts that nodes show.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Why outputs were not collected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectError {
    /// ComfyUI lists a file and does not have it.
    #[error("ComfyUI lists an output that it no longer has")]
    Gone,
    /// ComfyUI could not be read.
    #[error("an output could not be fetched")]
    Fetch(#[source] CallError),
    /// It could not be stored.
    #[error("an output could not be stored")]
    Store(#[from] StorageError),
    /// What ComfyUI wrote into it could not be taken out.
    #[error("what ComfyUI wrote into an output could not be taken out of it")]
    Strip(#[source] StripError),
    /// It holds the prompt, in a form that nothing can be taken out of.
    #[error("an output of an unknown format holds the prompt")]
    Telling,
}

/// One thing to be stored.
enum Item {
    File(FileRef),
    Bytes(Bytes, Option<&'static str>),
}

impl Run {
    /// Stores all outputs of a run: after the pictures that came over the socket, in the order of the history.
    pub(super) async fn collect(&mut self, finished: &mut Finished) -> Result<Vec<Output>, CollectError> {
        let mut outputs = std::mem::replace(&mut finished.pictures, Ok(Vec::new()))?;
        for (node, item) in self.wanted(finished) {
            let index = outputs.len() + 1;
            let output = match item {
                Item::File(file) => self.fetch(&node, index, &file).await?,
                Item::Bytes(bytes, known) => self.keep(&node, index, bytes, known).await?,
            };
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// What of the run counts as output: saved files and texts; temp files only of nodes that the workflow names and
    /// that saved none.
    fn wanted(&self, finished: &mut Finished) -> Vec<(String, Item)> {
        let mut seen = HashSet::new();
        let mut wanted = Vec::new();
        let made = std::mem::take(&mut finished.entry.outputs);
        let saved = |item: &OutputItem| matches!(item, OutputItem::File(file) if file.kind == FolderKind::Output);
        let savers: HashSet<String> =
            made.iter().filter(|output| saved(&output.item)).map(|output| output.node_id.clone()).collect();
        for output in made {
            if !self.workflow.is_output(&output.node_id) {
                continue;
            }
            match output.item {
                OutputItem::File(file) => {
                    let counts = match file.kind {
                        FolderKind::Output => true,
                        FolderKind::Temp => {
                            self.workflow.is_declared(&output.node_id) && !savers.contains(&output.node_id)
                        }
                        FolderKind::Input => false,
                    };
                    if counts && seen.insert(file.clone()) {
                        wanted.push((output.node_id, Item::File(file)));
                    }
                }
                OutputItem::Text(text) => wanted.push((output.node_id, Item::Bytes(Bytes::from(text), Some(TEXT)))),
            }
        }
        wanted
    }

    async fn fetch(&mut self, node: &str, index: usize, file: &FileRef) -> Result<Output, CollectError> {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.fetch_once(node, index, file).await {
                Ok(output) => return Ok(output),
                Err(CollectError::Fetch(error)) if error.is_not_found() => return Err(CollectError::Gone),
                // Of some formats only the walk that takes metadata out notices that the end is missing.
                Err(error @ (CollectError::Fetch(_) | CollectError::Strip(StripError::Incomplete(_)))) => error,
                Err(other) => return Err(other),
            };
            let Some(pause) = pauses.next() else {
                return Err(error);
            };
            tracing::debug!(error = %chain(&error), "an output is fetched again");
            tokio::time::sleep(*pause).await;
        }
    }

    async fn fetch_once(&mut self, node: &str, index: usize, file: &FileRef) -> Result<Output, CollectError> {
        let mut download = self.backend.client.view(file).await.map_err(CollectError::Fetch)?;
        let mut head = BytesMut::new();
        while head.len() < sniff::HEAD {
            match download.next_chunk().await.map_err(CollectError::Fetch)? {
                Some(chunk) => head.extend_from_slice(&chunk),
                None => break,
            }
        }
        if head.is_empty() {
            let reason = String::from("an output file is empty");
            return Err(CollectError::Fetch(CallError::Malformed { operation: "GET /view", reason }));
        }
        let sniffed = sniff(&head);
        match self.conversion(&sniffed) {
            Some(conversion) => self.fetch_to_convert(node, index, head, download, conversion).await,
            None => self.fetch_through(node, index, sniffed, head, download).await,
        }
    }

    /// Stores the rest of a file while it comes.
    async fn fetch_through(
        &self,
        node: &str,
        index: usize,
        sniffed: Sniffed,
        head: BytesMut,
        mut download: Download,
    ) -> Result<Output, CollectError> {
        let mut whole = Whole::of(&head);
        let mut sieve = self.sieve(&sniffed);
        let (name, key) = self.place(sniffed.kind, index, extension_of(sniffed.content_type));
        let mut writer = self.context.parts.storage.create(&key).await?;
        writer.write(sieve.push(head.freeze())?).await?;
        while let Some(chunk) = download.next_chunk().await.map_err(CollectError::Fetch)? {
            whole.take(&chunk);
            writer.write(sieve.push(chunk)?).await?;
        }
        if !whole.is_whole() {
            return Err(truncated(&download));
        }
        writer.write(sieve.finish()?).await?;
        let stored = writer.finish().await?;
        Ok(self.record(node, name, key, sniffed, stored))
    }

    /// Reads a picture whole, and stores what it is converted to. One that is too large for that is stored as it is.
    async fn fetch_to_convert(
        &mut self,
        node: &str,
        index: usize,
        mut head: BytesMut,
        mut download: Download,
        conversion: Conversion,
    ) -> Result<Output, CollectError> {
        let mut whole = Whole::of(&head);
        while let Some(chunk) = download.next_chunk().await.map_err(CollectError::Fetch)? {
            whole.take(&chunk);
            head.extend_from_slice(&chunk);
            if head.len() > shape::LARGEST {
                self.log(LogLevel::Warn, "not_converted", "an output stays as ComfyUI made it: it is too large");
                let sniffed = sniff(&head);
                return self.fetch_through(node, index, sniffed, head, download).await;
            }
        }
        if !whole.is_whole() {
            return Err(truncated(&download));
        }
        self.convert_and_keep(node, index, head.freeze(), conversion).await
    }

    /// Stores a picture that is there whole, in the form that its owner wants.
    pub(super) async fn keep_as_wished(
        &mut self,
        node: &str,
        index: usize,
        bytes: Bytes,
    ) -> Result<Output, CollectError> {
        match self.conversion(&sniff(&bytes)) {
            Some(conversion) => self.convert_and_keep(node, index, bytes, conversion).await,
            None => self.keep(node, index, bytes, None).await,
        }
    }

    async fn convert_and_keep(
        &mut self,
        node: &str,
        index: usize,
        bytes: Bytes,
        conversion: Conversion,
    ) -> Result<Output, CollectError> {
        match self.converted(bytes.clone(), conversion).await {
            Some(converted) => self.keep(node, index, Bytes::from(converted.bytes), None).await,
            None => self.keep(node, index, bytes, None).await,
        }
    }

    pub(super) async fn keep(
        &self,
        node: &str,
        index: usize,
        bytes: Bytes,
        known: Option<&'static str>,
    ) -> Result<Output, CollectError> {
        let sniffed = match known {
            Some(content_type) => Sniffed::of(content_type),
            None => sniff(&bytes),
        };
        let mut sieve = self.sieve(&sniffed);
        let (name, key) = self.place(sniffed.kind, index, extension_of(sniffed.content_type));
        let mut writer = self.context.parts.storage.create(&key).await?;
        writer.write(sieve.push(bytes)?).await?;
        writer.write(sieve.finish()?).await?;
        let stored = writer.finish().await?;
        Ok(self.record(node, name, key, sniffed, stored))
    }

    /// Name and storage key of an output. No byte of either is ComfyUI's.
    fn place(&self, kind: OutputKind, index: usize, extension: &str) -> (String, String) {
        let name = file_name(kind, index, extension);
        let key = format!("{}{name}", storage_prefix(self.job.id, self.job.epoch));
        (name, key)
    }

    fn record(&self, node: &str, file: String, storage_key: String, sniffed: Sniffed, stored: Stored) -> Output {
        Output {
            file,
            node_id: node.to_owned(),
            kind: sniffed.kind,
            content_type: sniffed.content_type.to_owned(),
            size: i64::try_from(stored.size).unwrap_or(i64::MAX),
            sha256: stored.sha256,
            width: sniffed.size.map(|(width, _)| width),
            height: sniffed.size.map(|(_, height)| height),
            storage_key,
            created_at: self.context.parts.database.now(),
            removed_at: None,
        }
    }
}

fn truncated(download: &Download) -> CollectError {
    CollectError::Fetch(CallError::Truncated { expected: None, received: download.received() })
}
