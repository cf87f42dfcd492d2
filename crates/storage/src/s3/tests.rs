mod faults;
mod open;
mod proxy;
mod server;

use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use bytes::Bytes;
use gateway_config::S3Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::proxy::Proxy;
use self::server::Server;
use super::upload::PART;
use super::*;
use crate::suite::{self, Place, get, put, until_pieces};

/// As patient as usual, with waits that a test has time for.
const PATIENCE: Patience = Patience {
    waits: ExponentialBuilder::new().with_jitter().with_min_delay(Duration::from_millis(1)).with_max_times(4),
    ..Patience::DEFAULT
};

/// A storage in a prefix of a test's own.
struct Bucket {
    server: Server,
    storage: Arc<S3Storage>,
}

impl Place for Bucket {
    async fn new(limit: u64) -> Self {
        Self::on(Server::start().await, limit).await
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as Arc<dyn Storage>
    }

    async fn pieces(&self) -> usize {
        self.objects().await.len() + self.uploads().await.len()
    }
}

impl Bucket {
    async fn on(server: Server, limit: u64) -> Self {
        let storage = Arc::new(S3Storage::open_with(&server.settings, limit, PATIENCE).await.unwrap());
        Self { server, storage }
    }

    async fn objects(&self) -> Vec<String> {
        let pages = self.storage.client.bucket.list(self.storage.prefix.clone(), None).await.unwrap();
        pages.into_iter().flat_map(|page| page.contents).map(|object| object.key).collect()
    }

    /// Keys of unfinished uploads.
    async fn uploads(&self) -> Vec<String> {
        let prefix = self.storage.prefix.as_str();
        let pages = self.storage.client.bucket.list_multiparts_uploads(Some(prefix), None).await.unwrap();
        pages.into_iter().flat_map(|page| page.uploads).map(|upload| upload.key).collect()
    }

    /// The same storage behind a bad network.
    async fn through_proxy(&self, patience: Patience) -> (Proxy, S3Storage) {
        let proxy = Proxy::to(self.server.address()).await;
        let settings = S3Settings { endpoint: Some(proxy.endpoint.clone()), ..self.server.settings.clone() };
        let storage = S3Storage::open_with(&settings, 1 << 30, patience).await.unwrap();
        proxy.seen();
        (proxy, storage)
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7 + n / 65_536) as u8).collect()
}

suite::behaves!(Bucket);

#[tokio::test]
async fn nothing_of_the_proof_at_the_start_is_left() {
    let place = Bucket::new(100).await;
    assert_eq!(place.pieces().await, 0);
    assert_eq!(place.storage.name(), "s3");
}

#[tokio::test]
async fn a_large_object_goes_up_in_parts_of_bounded_size_and_is_read_across_them() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    let content = pattern(40 << 20);
    let mut writer = storage.create("a/large").await.unwrap();
    for piece in content.chunks(3_000_000) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    let stored = writer.finish().await.unwrap();
    assert_eq!(stored.size, 40 << 20);
    let seen = proxy.seen();
    let parts: Vec<usize> =
        seen.iter().filter(|(line, _)| line.contains("partNumber=")).map(|(_, length)| *length).collect();
    assert_eq!(parts, [PART; 5]);
    assert_eq!(seen.len(), 7, "one to begin, one a part, one to put them together: {seen:?}");

    assert!(get(&storage, "a/large", None).await.unwrap() == content);
    for (start, length) in [(PART - 3, 6), (PART, 1), ((40 << 20) - 5, 5), (1_000_000, 20_000_000)] {
        let range = ByteRange { start: start as u64, length: length as u64 };
        let part = get(&storage, "a/large", Some(range)).await.unwrap();
        assert!(part == content[start..start + length], "{start}+{length}");
    }
    assert_eq!(place.pieces().await, 1);
}

#[tokio::test]
async fn an_object_smaller_than_a_part_goes_up_in_one_call() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    put(&storage, "a/small", &[&pattern(PART - 1)]).await.unwrap();
    assert_eq!(proxy.seen().iter().map(|(_, length)| *length).collect::<Vec<_>>(), [PART - 1]);
    // One of just a part has one part.
    put(&storage, "a/part", &[&pattern(PART)]).await.unwrap();
    assert_eq!(proxy.seen().len(), 3);
    assert_eq!(storage.open("a/part", None).await.unwrap().size, PART as u64);
}

#[tokio::test]
async fn removing_a_prefix_also_ends_its_unfinished_uploads_and_not_its_neighbours() {
    let place = Bucket::new(1 << 30).await;
    let mut writers = Vec::new();
    for key in ["day/job.1.a", "day/job.1.b", "day/job.12.a"] {
        let mut writer = place.storage.create(key).await.unwrap();
        writer.write(Bytes::from(pattern(PART))).await.unwrap();
        writers.push(writer);
    }
    put(&*place.storage, "day/job.1.c", &[b"x"]).await.unwrap();
    place.storage.remove_all("day/job.1.").await.unwrap();
    assert_eq!(place.uploads().await, [format!("{}day/job.12.a", place.storage.prefix)]);
    assert!(place.objects().await.is_empty());
    // Whoever still writes there fails, and brings nothing back.
    let kept = writers.pop().unwrap();
    for writer in writers {
        assert!(writer.finish().await.is_err());
    }
    kept.finish().await.unwrap();
    until_pieces(&place, 1).await;
}

#[tokio::test]
async fn more_objects_than_one_list_holds_are_removed() {
    let place = Bucket::on(Server::own(None).await, 100).await;
    let folder = place.server.folder().unwrap().join(server::BUCKET).join(&place.storage.prefix);
    std::fs::create_dir_all(folder.join("day")).unwrap();
    for number in 0..2_100 {
        std::fs::write(folder.join(format!("day/job.1.{number}")), b"x").unwrap();
    }
    std::fs::write(folder.join("day/job.2.0"), b"x").unwrap();
    place.storage.remove_all("day/job.1.").await.unwrap();
    assert_eq!(place.objects().await, [format!("{}day/job.2.0", place.storage.prefix)]);
}

#[tokio::test]
async fn a_list_of_unfinished_uploads_that_the_server_does_not_know_is_no_error() {
    let place = Bucket::new(100).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    put(&storage, "a/x", &[b"x"]).await.unwrap();
    proxy.spoil("?uploads", 1, proxy::Fault::Answer(501, "NotImplemented"));
    storage.remove_all("a/x").await.unwrap();
    assert_eq!(place.pieces().await, 0);
}

#[tokio::test]
async fn keys_lie_below_the_prefix_and_are_located_with_their_bucket() {
    let place = Bucket::new(100).await;
    put(&*place.storage, "a/x", &[b"x"]).await.unwrap();
    let (bucket, prefix) = (&place.server.settings.bucket, &place.server.settings.prefix);
    assert_eq!(place.objects().await, [format!("{prefix}/a/x")]);
    assert_eq!(place.storage.locate("a/x").unwrap(), format!("s3://{bucket}/{prefix}/a/x"));
}

/// Fetches `url`, from `address` whatever its host, with no credentials of its own.
async fn fetch(url: &str, address: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    let host =
        url.port().map_or(url.host_str().unwrap().to_owned(), |port| format!("{}:{port}", url.host_str().unwrap()));
    let target = &url[url::Position::BeforePath..];
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_signed_url_reads_its_object_and_no_other() {
    let place = Bucket::new(100).await;
    put(&*place.storage, "a/x", &[b"hello"]).await.unwrap();
    put(&*place.storage, "a/y", &[b"other"]).await.unwrap();
    let url = place.storage.presign("a/x", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(url.contains("X-Amz-Expires=60&"), "{url}");
    let address = place.server.address();
    let answer = fetch(&url, &address).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    for altered in [url.replace("/a/x?", "/a/y?"), url.replace("X-Amz-Expires=60&", "X-Amz-Expires=61&")] {
        let answer = fetch(&altered, &address).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let too_long = place.storage.presign("a/x", Duration::from_secs(604_801)).await;
    assert!(matches!(too_long, Err(StorageError::Io { .. })), "{too_long:?}");
}

#[tokio::test]
async fn a_bucket_in_the_host_name_is_signed_as_such() {
    let server = Server::own(Some("s3.example")).await;
    std::fs::write(server.folder().unwrap().join(server::BUCKET).join("x"), b"hello").unwrap();
    let settings = S3Settings {
        endpoint: Some(String::from("http://s3.example")),
        path_style: false,
        prefix: String::new(),
        ..server.settings.clone()
    };
    let client = Client::new(&settings, PATIENCE).unwrap();
    let storage = S3Storage { client, prefix: String::new(), limit: 100 };
    let url = storage.presign("x", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(url.starts_with("http://pictures.s3.example/x?"), "{url}");
    let answer = fetch(&url, &server.address()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");

    let aws = S3Settings { endpoint: None, region: String::from("cn-north-1"), ..settings };
    let storage = S3Storage { client: Client::new(&aws, PATIENCE).unwrap(), ..storage };
    let url = storage.presign("x", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(url.starts_with("https://pictures.s3.cn-north-1.amazonaws.com.cn/x?"), "{url}");
}
