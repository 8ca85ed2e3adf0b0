//! More photos than there is memory for.

use std::time::Duration;

use host::ocr::local::Fault;
use tests::{World, eventually};

const MIB: u64 = 1 << 20;

/// The highest resident memory of a process so far, in bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// What a host needs that works this photo 64 times at a time while OCR is slow, beyond what it needs for tiny ones.
async fn costs(size: usize, budget: &str) -> u64 {
    let world = World::new().await;
    let receipts = 130;
    let mut peaks = Vec::new();
    for size in [100, size] {
        let mut photo = b"\xff\xd8\xff\xe0".to_vec();
        photo.resize(size, 7);
        world.put("photo.jpg", photo).await;
        world.textract.faults().always(Fault::Delay(Duration::from_millis(300)));
        let args = ["--admin", "off", "--concurrency", "64", "--batch-size", "1", "--image-memory", budget];
        let host = world.run(&args).spawn();
        for _ in 0..receipts {
            world.insert("photo.jpg").await;
        }
        eventually("all are done", async || {
            (world.count("receipts WHERE status::text = 'pending'").await == 0).then_some(())
        })
        .await;
        peaks.push(peak(host.pid()));
        host.stop().await.ok();
    }
    world.assert_settled(2 * receipts).await;
    assert_eq!(world.count("receipts WHERE status::text = 'ocr_done'").await, 2 * receipts);
    println!("{size} bytes, --image-memory {budget}: {} MiB, with tiny photos {} MiB", peaks[1] / MIB, peaks[0] / MIB);
    peaks[1].saturating_sub(peaks[0])
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn photos_of_10_mb_stay_within_their_budget() {
    let more = costs(10_000_000, "64MiB").await;
    assert!(more < 192 * MIB, "{} MiB", more / MIB);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn photos_that_travel_in_requests_stay_within_their_budget() {
    let more = costs(5 << 20, "64MiB").await;
    assert!(more < 192 * MIB, "{} MiB", more / MIB);
}

/// A server cuts a connection that nobody reads from. So a photo for which there is no room is not asked for before there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_waits_for_room_holds_no_connection() {
    let world = World::new().await;
    for number in 0..3 {
        let mut bytes = b"\xff\xd8\xff\xe0".to_vec();
        bytes.resize(10 << 20, number);
        world.put(&format!("{number}.jpg"), bytes).await;
    }
    let overrides = host::aws::AwsOverrides {
        region: Some("us-east-1".to_owned()),
        credentials: Some((world.s3.access_key().to_owned(), world.s3.secret_key().to_owned())),
        s3_endpoint: Some(impatient(&world.s3.endpoint()).await),
        textract_endpoint: None,
    };
    let s3 = host::aws::load(&overrides).await.unwrap().s3;
    // Room for two.
    let images = host::storage::Images::new(s3, tests::SOURCE.to_owned(), 20 << 20);
    let (first, second) = (images.fetch(Some("0.jpg")).await.unwrap(), images.fetch(Some("1.jpg")).await.unwrap());
    let waiting = tokio::spawn({
        let images = images.clone();
        async move { images.fetch(Some("2.jpg")).await }
    });
    tokio::time::sleep(4 * IDLE).await;
    assert!(!waiting.is_finished());
    drop(first);
    let third = waiting.await.unwrap().unwrap();
    assert_eq!(third.bytes.len(), 10 << 20);
    drop(second);
}

/// For so long a server waits for somebody to take what it sends.
const IDLE: Duration = Duration::from_millis(500);

/// Cuts connections of which the other side does not read.
async fn impatient(service: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let service: std::net::SocketAddr = service.trim_start_matches("http://").parse().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(service).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let up = tokio::io::copy(&mut from_client, &mut to_server);
                let down = async {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                        match tokio::time::timeout(IDLE, to_client.write_all(&bytes[..count])).await {
                            Ok(Ok(())) => {}
                            _ => return,
                        }
                    }
                };
                tokio::select! {
                    _ = up => {}
                    () = down => {}
                }
            });
        }
    });
    endpoint
}
