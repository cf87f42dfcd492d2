//! What a bad network and a busy server do to calls.

use super::proxy::Fault;
use super::*;

/// An error with its causes.
fn chain(error: &StorageError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_busy_server_and_cut_connections_are_tried_again() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    let content = pattern(PART + 1_000);
    for fault in [
        Fault::Answer(503, "SlowDown"),
        Fault::Answer(429, "TooManyRequests"),
        Fault::Answer(500, "InternalError"),
        Fault::Answer(400, "RequestTimeout"),
        Fault::Cut,
        Fault::Lost,
        Fault::Short(20),
    ] {
        // Begin, parts, complete; PUT; list, remove, list of uploads; GET.
        for call in [
            "large?uploads",
            "partNumber=1",
            "partNumber=2",
            "large?uploadId=",
            "a/small",
            "list-type=2",
            "?delete",
            "/?uploads",
            "GET ",
        ] {
            proxy.spoil(call, 2, fault);
        }
        put(&storage, "a/large", &[&content]).await.unwrap_or_else(|error| panic!("{fault:?}: {}", chain(&error)));
        put(&storage, "a/small", &[b"small"]).await.unwrap_or_else(|error| panic!("{fault:?}: {}", chain(&error)));
        assert!(get(&storage, "a/large", None).await.unwrap() == content, "{fault:?}");
        assert_eq!(get(&storage, "a/small", None).await.unwrap(), b"small", "{fault:?}");
        storage.remove_all("a/s").await.unwrap_or_else(|error| panic!("{fault:?}: {}", chain(&error)));
        storage.remove_all("a/l").await.unwrap_or_else(|error| panic!("{fault:?}: {}", chain(&error)));
        assert!(place.objects().await.is_empty(), "{fault:?}");
        assert_eq!(proxy.left(), 0, "{fault:?}");
        // An upload whose beginning was answered, and the answer lost, was ended with the rest.
        until_pieces(&place, 0).await;
    }
}

#[tokio::test]
async fn a_completed_upload_whose_answer_was_lost_is_found_and_another_object_is_not_taken_for_it() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    let content = pattern(PART + 5);
    proxy.spoil("?uploadId=", 1, Fault::Lost);
    let stored = put(&storage, "a/x", &[&content]).await.unwrap();
    assert_eq!(stored.size, (PART + 5) as u64);
    assert!(get(&storage, "a/x", None).await.unwrap() == content);

    // An upload that was ended by another, while an object of the same size is there.
    let mut writer = storage.create("a/x").await.unwrap();
    writer.write(Bytes::from(vec![1; PART + 5])).await.unwrap();
    remove::uploads(&storage.client, &storage.prefix).await.unwrap();
    let failed = writer.finish().await.unwrap_err();
    assert!(chain(&failed).contains("NoSuchUpload"), "{}", chain(&failed));
    assert!(get(&storage, "a/x", None).await.unwrap() == content);
}

#[tokio::test]
async fn a_server_that_stays_busy_is_given_up_with_its_words() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    proxy.spoil("", 100, Fault::Answer(503, "SlowDown"));
    let failed = put(&storage, "a/x", &[b"x"]).await.unwrap_err();
    assert_eq!(chain(&failed), "storage failed to publish an object: the server answered 503 SlowDown: spoilt");
    assert_eq!(proxy.seen().len(), 5, "one try, and four more");
    let failed = storage.open("a/x", None).await.err().unwrap();
    assert!(chain(&failed).starts_with("storage failed to open an object: the server answered 503"));
}

#[tokio::test]
async fn what_trying_again_cannot_help_is_tried_once() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    proxy.spoil("", 100, Fault::Answer(403, "AccessDenied"));
    put(&storage, "a/x", &[b"x"]).await.unwrap_err();
    storage.open("a/x", None).await.err().unwrap();
    assert_eq!(proxy.seen().len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_taken_up_where_it_ended() {
    let place = Bucket::new(1 << 30).await;
    let content = pattern(3 << 20);
    put(&*place.storage, "a/x", &[&content]).await.unwrap();
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    proxy.spoil("GET ", 3, Fault::Short(700_000));
    assert!(get(&storage, "a/x", None).await.unwrap() == content);
    assert_eq!(proxy.seen().len(), 4);
    proxy.spoil("GET ", 2, Fault::Short(700_000));
    let range = ByteRange { start: 100_000, length: 2_000_000 };
    assert!(get(&storage, "a/x", Some(range)).await.unwrap() == content[100_000..2_100_000]);
    // Not with the rest of another object.
    proxy.spoil("GET ", 1, Fault::Short(700_000));
    let reader = storage.open("a/x", None).await.unwrap();
    put(&*place.storage, "a/x", &[&vec![9; 3 << 20]]).await.unwrap();
    let read: Result<Vec<Bytes>, StorageError> = futures_util::TryStreamExt::try_collect(reader.stream).await;
    assert!(chain(&read.unwrap_err()).ends_with("the object was replaced while it was read"));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    put(&storage, "a/x", &[b"hello"]).await.unwrap();
    let short = Duration::from_millis(300);
    let mut storage = storage;
    storage.client.patience = Patience { quick: short, slow: short, ..PATIENCE };
    proxy.spoil("", 1, Fault::Silence);
    assert_eq!(get(&storage, "a/x", None).await.unwrap(), b"hello");
    proxy.spoil("PUT ", 1, Fault::Silence);
    put(&storage, "a/x", &[b"again"]).await.unwrap();
    proxy.spoil("", 100, Fault::Silence);
    let failed = storage.open("a/x", None).await.err().unwrap();
    assert!(chain(&failed).ends_with("no answer came from the server within 0.3 s"), "{}", chain(&failed));
}

#[tokio::test]
async fn a_write_that_is_given_up_half_way_ends_the_upload() {
    let place = Bucket::new(1 << 30).await;
    let (proxy, storage) = place.through_proxy(PATIENCE).await;
    let mut writer = storage.create("a/x").await.unwrap();
    writer.write(Bytes::from(pattern(PART))).await.unwrap();
    proxy.spoil("partNumber=2", 1, Fault::Silence);
    let given_up = tokio::time::timeout(Duration::from_millis(200), writer.write(Bytes::from(pattern(PART)))).await;
    assert!(given_up.is_err());
    assert!(writer.finish().await.is_err());
    until_pieces(&place, 0).await;
}
