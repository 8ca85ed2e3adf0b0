//! What an app's users write into s3_key, image_url and user_id, and what their files are called: it is data, all the way
//! to the log.

use tests::{ARTIFACTS, World, photo_bytes};

/// Nobody must execute this, and no line may begin with it.
const FORGED: &str = "ERROR forged by a user";

fn hostile() -> Vec<String> {
    let line = format!("a\n{FORGED}\r\n\x1b[2J{FORGED}.jpg");
    [
        "'; DROP TABLE receipts; --.jpg",
        "\"; DROP TABLE receipts; --.jpg",
        "'); DELETE FROM receipt_queue; COMMIT; --",
        "$1 $2 ${IFS} $$ DROP TABLE receipts $$",
        "\\'; DROP TABLE receipts; \\\\ \\N \\.",
        "\\.\n",
        "{\"a\": \"b\"}, \"key\": \"'",
        "%27%3B%20DROP%20TABLE%20receipts%00%0A.jpg",
        "%s %I %L %n.jpg",
        "..%2f..%2fetc%2fpasswd",
        "../../etc/passwd",
        "a/./b",
        "/ocr/../x",
        "\u{202E}gpj.elif\u{2066}\u{200F}.jpg",
        "a\u{2028}b\u{85}c.jpg",
        "<script>alert(1)</script>.jpg",
        "`id`$(id)|id;id&&id\t.jpg",
        "é ü 漢 \u{1F9FE}.jpg",
        line.as_str(),
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("{}.jpg", "x".repeat(1 << 20)), "é".repeat(1000)])
    .collect()
}

/// One line an event, and none that a user wrote.
fn assert_lines(text: &str, what: &str) {
    for line in text.lines() {
        assert!(!line.trim_start().starts_with(FORGED), "{what}: {line}");
        assert!(line.len() < 8_000, "{what}: a line of {} bytes", line.len());
    }
    let odd = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let line = text.lines().find(|line| line.chars().any(odd));
    assert_eq!(line, None, "{what}");
}

#[tokio::test]
async fn what_users_write_is_data_from_the_row_to_the_log() {
    for format in ["text", "json"] {
        let world = World::new().await;
        let insert = "INSERT INTO receipts (user_id, image_url) VALUES ($1, $1)";
        for text in hostile() {
            world.client.execute(insert, &[&text]).await.unwrap();
        }
        let count = i64::try_from(hostile().len()).unwrap();
        // Postgres takes no NUL.
        assert!(world.client.execute(insert, &[&"a\0b"]).await.is_err());
        assert_eq!(
            world.count("receipt_queue q JOIN receipts r ON r.id = q.receipt_id WHERE q.s3_key = r.image_url").await,
            count
        );
        let finished = world.run(&["--once", "--log", "debug", "--log-format", format]).run().await;
        assert_lines(&finished.stderr, format);
        if format == "json" {
            for line in finished.stderr.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
        finished.ok();
        let waits = "SELECT coalesce(string_agg(concat_ws(' ', left(s3_key, 100), last_error_kind, last_error_code, last_error), ';'), '')
            FROM receipt_queue";
        assert_eq!(world.text(waits, &[]).await, "", "what was neither done nor given up");
        world.assert_settled(count).await;
        // Nothing is there by these names, so that each is a dead letter, and tells of itself in bounds.
        assert_eq!(
            world.count("receipt_queue_dlq d JOIN receipts r ON r.id = receipt_id WHERE d.s3_key = r.image_url").await,
            count
        );
        assert_eq!(world.count("receipt_queue_dlq WHERE length(error_message) > 5000").await, 0);
        assert_lines(&world.host().args(["dlq", "list"]).run().await.ok(), "dlq list");
        for text in hostile().into_iter().filter(|text| text.len() < 4_000) {
            let id = world.text("SELECT id::text FROM receipts WHERE image_url = $1", &[&text]).await;
            assert_lines(&world.host().args(["dlq", "show", id.as_str()]).run().await.ok(), "dlq show");
            if format == "json" {
                let shown = world.host().args(["dlq", "show", id.as_str(), "--json"]).run().await.json();
                assert_eq!(shown["s3_key"], text.as_str());
            }
        }
        world.host().arg("status").run().await.ok();
        assert_eq!(world.count("receipts").await, count);
    }
}

#[tokio::test]
async fn a_photo_may_be_called_anything_and_its_artifact_stays_in_its_folder() {
    let world = World::new().await;
    let names: Vec<String> = hostile()
        .into_iter()
        .filter(|name| {
            let odd = |part: &str| [".", ".."].contains(&part);
            name.len() <= 1024
                && !name.chars().any(char::is_control)
                && !name.split('/').any(odd)
                && !name.starts_with('/')
        })
        .filter(|name| name.trim() == name)
        .collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        world.receipt(name).await;
    }
    let finished = world.run(&["--once", "--log", "debug"]).run().await;
    assert_lines(&finished.stderr, "run");
    finished.ok();
    let done = i64::try_from(names.len()).unwrap();
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, done);
    assert_eq!(
        world.count("receipts WHERE ocr_s3_key ~ ('^ocr/' || id || '/[0-9a-f]{64}\\.detect\\.json$')").await,
        done
    );
    let listed = world.aws.s3.list_objects_v2().bucket(ARTIFACTS).send().await.unwrap();
    // The object with which a start tries whether artifacts can be written is no artifact.
    let keys: Vec<_> =
        listed.contents().iter().filter_map(|object| object.key()).filter(|key| *key != "ocr/.doctor").collect();
    assert_eq!(keys.len(), names.len());
    assert!(keys.iter().all(|key| key.starts_with("ocr/")), "{keys:?}");
}

#[tokio::test]
async fn ids_that_look_like_paths_have_folders_of_their_own() {
    let world = World::new().await;
    world.execute("ALTER TABLE receipts ALTER COLUMN id DROP DEFAULT").await;
    world
        .execute(
            "DROP TABLE receipts CASCADE; DROP TABLE receipt_queue, receipt_queue_dlq, receipt_queue_schema CASCADE;
             DROP FUNCTION receipt_queue_put; CREATE TABLE receipts (id text PRIMARY KEY, image_url text)",
        )
        .await;
    world.host().arg("migrate").run().await.ok();
    let photo = world.photo("same.jpg").await;
    let ids = ["../../x", "__/__/x", "x'; DROP TABLE receipts; --", "x\n", "x_", "é", "$1"];
    for id in ids {
        world.client.execute("INSERT INTO receipts (id, image_url) VALUES ($1, 'same.jpg')", &[&id]).await.unwrap();
    }
    world.once().await;
    let done = i64::try_from(ids.len()).unwrap();
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, done);
    let distinct = "SELECT count(DISTINCT ocr_s3_key)::text FROM receipts WHERE ocr_s3_key ~ '^ocr/[A-Za-z0-9_.-]+/[0-9a-f]{64}\\.detect\\.json$'";
    assert_eq!(world.text(distinct, &[]).await, done.to_string());
    assert_eq!(world.textract.calls_by_image().get(&photo.digest), Some(&u64::try_from(ids.len()).unwrap()));
}

#[tokio::test]
async fn a_file_on_disk_may_be_called_anything() {
    let world = World::new().await;
    let folder = world.dir().join("photos");
    std::fs::create_dir(&folder).unwrap();
    for name in ["'; DROP TABLE receipts; --.jpg", "a\nERROR forged by a user.jpg", "..jpg", "\u{202E}gpj.exe", "-rf"] {
        std::fs::write(folder.join(name), photo_bytes()).unwrap();
        let file = folder.join(name);
        let user = format!("{name}'); DROP TABLE receipts; --");
        let finished = world.host().args(["enqueue", &format!("--user-id={user}"), "--"]).arg(&file).run().await;
        assert_lines(&finished.stderr, name);
        assert_lines(&finished.ok(), name);
        assert_eq!(
            world.count("receipts WHERE image_url ~ '^receipts/[0-9a-f]{16}/[A-Za-z0-9._-]+$'").await,
            world.count("receipts").await
        );
        let stored = "SELECT count(*)::text FROM receipts WHERE user_id = $1";
        assert_eq!(world.text(stored, &[&user]).await, "1");
    }
    assert_eq!(world.once().await["processed"], 5);
}
