//! `host parse`, and `host replay` of a folder of responses.

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{World, answer};

use super::{alone, write};

#[tokio::test]
async fn parse_prints_one_line_a_file_in_order() {
    let world = World::new().await;
    let folder = world.dir().join("recorded");
    for number in 0..12 {
        write(&folder, &format!("{number:02}.json"), answer("Corner Shop", &format!("{number}.25"), "2024-05-06"));
    }
    write(&folder, "deeper/page.json", answer("Corner Shop", "99.25", "2024-05-06"));
    write(&folder, "notes.txt", "not a recording");
    let finished = alone(&world).arg("parse").arg(&folder).args(["--jobs", "4"]).run().await;
    let lines = finished.json_lines();
    finished.ok();
    let totals: Vec<&str> = lines.iter().map(|line| line["total"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..12).chain([99]).map(|number| format!("{number}.25")).collect();
    assert_eq!(totals, expected);
    let keys: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 8, "{keys:?}");
    for key in ["file", "vendor", "total", "currency", "date", "confidence", "subtotal", "tax"] {
        assert!(lines[0].get(key).is_some(), "{key}");
    }
    assert_eq!(lines[0]["vendor"], "Corner Shop");
    assert_eq!(lines[0]["date"], "2024-05-06");
    assert!(lines[0]["file"].as_str().unwrap().ends_with("00.json"));
    assert!(lines[0].get("why").is_none());
    let explained = alone(&world).arg("parse").arg(&folder).arg("--why").run().await.json_lines();
    let why = &explained[1]["why"]["total"];
    assert!(why["rule"].as_str().unwrap().starts_with("called a total"), "{why}");
    assert!(why["score"].as_f64().unwrap() > 0.5 && why["place"]["page"] == 1, "{why}");
    let response: Value = serde_json::from_slice(&answer("Corner Shop", "1.25", "2024-05-06")).unwrap();
    let mut lines = response["Blocks"].as_array().unwrap().iter().filter(|block| block["BlockType"] == "LINE");
    let line = lines.nth(usize::try_from(why["line"].as_u64().unwrap()).unwrap()).unwrap();
    assert!(line["Text"].as_str().unwrap().contains("1.25"), "{line}");
}

#[tokio::test]
async fn parse_reads_what_output_config_writes_and_says_when_it_finds_nothing() {
    let world = World::new().await;
    let folder = world.dir().join("output");
    write(&folder, ".s3_access_check", "");
    for number in [1, 2, 10] {
        let page = answer("Corner Shop", &format!("{number}.25"), "2024-05-06");
        write(&folder, &format!("0f3c9e/{number}"), page);
    }
    write(&folder, "0f3c9e/2.txt", "not a page");
    let lines = alone(&world).arg("parse").arg(&folder).run().await.json_lines();
    let totals: Vec<&str> = lines.iter().map(|line| line["total"].as_str().unwrap()).collect();
    assert_eq!(totals, ["1.25", "2.25", "10.25"]);

    let empty = world.dir().join("empty");
    write(&empty, ".s3_access_check", "");
    let error = alone(&world).arg("parse").arg(&empty).run().await.error();
    assert!(error.contains("no recorded response") && error.contains("OutputConfig"), "{error}");
}

#[tokio::test]
async fn parse_says_which_file_is_no_response_and_reads_the_others() {
    let world = World::new().await;
    let good = write(world.dir(), "b.json", answer("Corner Shop", "1.25", "2024-05-06"));
    let broken = write(world.dir(), "a.json", b"{\"Blocks\": [");
    let other = write(world.dir(), "c.json", b"{\"hello\": \"world\"}");
    let binary = write(world.dir(), "d.json", b"\xff\xfe\x00");
    let empty_page = write(world.dir(), "e.json", br#"{"DocumentMetadata":{"Pages":1},"Blocks":[]}"#);
    let finished = alone(&world).arg("parse").args([&broken, &good, &other, &binary, &empty_page]).run().await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let lines = finished.json_lines();
    assert_eq!(lines.len(), 5);
    assert!(lines[0]["error"].as_str().unwrap().contains("JSON") && lines[0]["total"].is_null(), "{}", lines[0]);
    assert!(lines[1]["error"].is_null() && lines[1]["total"] == "1.25", "{}", lines[1]);
    assert!(lines[2]["error"].as_str().unwrap().contains("Textract"), "{}", lines[2]);
    assert!(lines[3]["error"].as_str().unwrap().contains("UTF-8"), "{}", lines[3]);
    assert!(
        lines[4]["error"].is_null() && lines[4]["vendor"].is_null(),
        "a page without text is a result: {}",
        lines[4]
    );

    let error = alone(&world).arg("parse").arg(world.dir().join("nowhere")).run().await.error();
    assert!(error.contains("nowhere"), "{error}");
}

/// The component's stack is small: nesting, of what is read and of what is passed over, must not need it.
#[tokio::test]
async fn parse_reads_what_is_nested_and_refuses_what_never_ends() {
    let world = World::new().await;
    let nested = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let block = |geometry: String| {
        format!(r#"{{"Blocks":[{{"BlockType":"LINE","Text":"TOTAL 4.00","Confidence":99,"Geometry":{geometry}}}]}}"#)
    };
    let files = [
        ("a.json", block(nested("[", "]", 120))),
        ("b.json", block(nested(r#"{"Polygon":["#, "]}", 60))),
        ("c.json", block(nested("[", "]", 100_000))),
        ("d.json", "[".repeat(100_000)),
    ];
    let files = files.map(|(name, json)| write(world.dir(), name, json));
    let lines = alone(&world).arg("parse").args(&files).run().await.json_lines();
    let totals: Vec<Option<&str>> = lines.iter().map(|line| line["total"].as_str()).collect();
    assert_eq!(totals, [Some("4.00"), Some("4.00"), Some("4.00"), None], "{lines:?}");
    assert!(lines[3]["error"].as_str().unwrap().contains("JSON"), "{lines:?}");
}

#[tokio::test]
async fn replay_tells_every_difference_field_by_field() {
    let world = World::new().await;
    let folder = world.dir().join("recorded");
    write(&folder, "a.json", answer("Corner Shop", "1.25", "2024-05-06"));
    write(&folder, "b.json", answer("Corner Shop", "2.25", "2024-05-06"));
    let replay = |args: &[&str]| alone(&world).arg("replay").arg(&folder).args(args);

    let finished = replay(&[]).run().await;
    assert_eq!(finished.code, Some(1));
    assert_eq!(finished.stdout.matches("no expectation").count(), 2, "{}", finished.stdout);

    replay(&["--bless"]).run().await.ok();
    assert!(folder.join("a.expected.json").exists());
    assert!(replay(&[]).run().await.ok().starts_with("2 as expected, 0 not"));
    assert!(replay(&["--bless"]).run().await.ok().starts_with("2 unchanged"));

    let mut expected: Value = serde_json::from_slice(&std::fs::read(folder.join("b.expected.json")).unwrap()).unwrap();
    expected["vendor"] = json!("Another Shop");
    expected["total"] = json!("2.26");
    write(&folder, "b.expected.json", expected.to_string());
    let finished = replay(&[]).run().await;
    assert_eq!(finished.code, Some(1));
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("b.json: vendor: expected \"Another Shop\", found \"Corner Shop\""), "{}", lines[0]);
    assert!(lines[1].contains("b.json: total: expected \"2.26\", found \"2.25\""), "{}", lines[1]);
    assert!(lines[2].starts_with("1 as expected, 1 not"), "{}", lines[2]);

    write(&folder, "b.expected.json", "{");
    assert!(replay(&[]).run().await.error().contains("b.expected.json"));
    write(&folder, "b.json", "no JSON");
    assert_eq!(replay(&["--bless"]).run().await.code, Some(1));
    let empty = TempDir::new().unwrap();
    assert!(alone(&world).arg("replay").arg(empty.path()).run().await.error().contains("no recorded response"));
}
