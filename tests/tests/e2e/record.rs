//! `host run --record`: what is in a trace, and what it may cost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use host::dev::s3::{self, LocalS3};
use host::ocr::local::{Fault, Reader};
use host::trace::{Event, MaskedIn, Trace, traces_in};
use serde_json::{Value, json};
use tests::{Front, Refusal, World, WorldSettings, answer, eventually};

use crate::replay::{folder, record, recorded, replay};

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

fn bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|file| file.metadata().unwrap().len()).sum()
}

#[track_caller]
fn assert_in_none(texts: &[&str], folder: &Path) {
    for file in files(folder) {
        let content = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        for text in texts {
            assert!(!content.contains(text), "{text} is in {}:\n{content}", file.display());
        }
    }
}

#[tokio::test]
async fn no_credential_is_in_a_trace_or_in_the_log() {
    let world = World::new().await;
    let password = world.db.url().split(['@', ':']).nth(2).unwrap().to_owned();
    assert!(password.len() > 7, "{}", world.db.url());
    let (key, secret, token) = ("AKIAXYZXYZXYZXYZXYZX", "RIGHTSECRETxyz", "SESSIONTOKENxyz");
    // The same buckets, for keys that are like no other text.
    let mut settings = s3::Settings::new(world.dir().join("s3"));
    (settings.access_key, settings.secret_key) = (key.to_owned(), secret.to_owned());
    let s3 = LocalS3::start(settings).await.unwrap();
    let secrets = [key, secret, &password, token, "WRONGSECRETxyz", "SIGNATUREabc", "CREDENTIALabc", "USERINFOabc"];
    world.receipts(3).await;
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=CREDENTIALabc&X-Amz-Signature=SIGNATUREabc";
    let source = tests::SOURCE;
    for place in [
        format!("https://{source}.s3.amazonaws.com/missing.jpg?{query}"),
        format!("https://{source}.s3.amazonaws.com/photo-1.jpg?{query}"),
        format!("https://elsewhere.s3.amazonaws.com/missing.jpg?{query}"),
        format!("https://user:USERINFOabc@{source}.s3.amazonaws.com/missing.jpg?{query}"),
        format!("https://user:USERINFOabc@example.com/a.jpg?{query}"),
        "ftp://user:USERINFOabc@example.com/a.jpg".to_owned(),
        "s3://user:USERINFOabc@elsewhere/a.jpg".to_owned(),
    ] {
        world.insert(&place).await;
    }
    // A database that refuses one of them.
    world
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF NEW.image_url = 'photo-0.jpg' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER refuse BEFORE UPDATE ON receipts FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let mut log = String::new();
    // First with a secret that S3 and Textract refuse, then with the right one and a Textract that quotes what it got.
    let run = || {
        let host = world.run(&["--once", "--record"]).arg(folder(&world)).env("AWS_ENDPOINT_URL_S3", s3.endpoint());
        host.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_SESSION_TOKEN", token)
    };
    let wrong = run().env("AWS_SECRET_ACCESS_KEY", "WRONGSECRETxyz").run().await;
    assert!(wrong.stderr.contains("SignatureDoesNotMatch"), "{}", wrong.stderr);
    log.push_str(&wrong.stderr);
    // Such a start is refused before anything is read. Here it is not, since somebody else takes what the start writes.
    let front = Front::before(&s3.endpoint()).await;
    front.refuse(|_, path, _| path.ends_with(".doctor").then_some(Refusal::Nothing));
    let late = run().env("AWS_SECRET_ACCESS_KEY", "WRONGSECRETxyz").env("AWS_ENDPOINT_URL_S3", front.endpoint());
    log.push_str(&late.run().await.stderr);
    crate::pump::expire(&world).await;
    let quotes = [
        format!(
            "Authorization header requires a date. Authorization=AWS4-HMAC-SHA256 Credential={key}/20261124/us-east-1"
        ),
        format!("The Canonical String for this request should have been 'POST\nx-amz-security-token:{token}\n'"),
        format!("'X-Amz-Security-Token={token}' is no pair of key and value"),
    ];
    for message in quotes {
        world.textract.faults().next(1, Fault::Error { kind: "IncompleteSignature".to_owned(), status: 400, message });
    }
    world.textract.faults().next(1, Fault::broken());
    let ran = run().run().await;
    log.push_str(&ran.stderr);
    crate::pump::expire(&world).await;
    let ran = run().env("AWS_ENDPOINT_URL_TEXTRACT", "http://user:USERINFOabc@127.0.0.1:1").run().await;
    log.push_str(&ran.stderr);
    // With nothing in the way the receipts come as far as the database.
    let ran = run().run().await;
    log.push_str(&ran.stderr);

    let traces = recorded(&folder(&world));
    let failed = |code: &str| {
        let is = |event: &Event| matches!(event, Event::Call { result, .. } if result.as_str().contains(code));
        traces.iter().any(|trace| trace.events.iter().any(is))
    };
    for code in
        ["s3.SignatureDoesNotMatch", "s3.NoSuchKey", "textract.IncompleteSignature", "textract.InternalServerError"]
    {
        assert!(failed(code), "{code} was not recorded:\n{log}");
    }
    assert!(log.contains("refused"), "the database refused nothing:\n{log}");
    assert_in_none(&secrets, &folder(&world));
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    replay(&world, folder(&world)).run().await.ok();
}

#[tokio::test]
async fn the_folder_stays_within_its_bound_and_the_oldest_go_first() {
    let world = World::new().await;
    let shared = answer("Blue Bottle Cafe", "4.50", "2024-03-15").len() as u64;
    let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
    let bound = shared + 40 * 1024;
    for _ in 0..4 {
        for number in 0..12 {
            world.receipt(&format!("{number}.jpg")).await;
        }
        let ran = record(&world, &["--record-max-size", &bound.to_string()]).await;
        assert_eq!(ran["processed"], 12);
        assert!(bytes(&folder(&world)) <= bound, "{}", bytes(&folder(&world)));
        let now: BTreeSet<PathBuf> = recorded(&folder(&world)).into_iter().map(|trace| trace.path).collect();
        let gone: Vec<_> = kept.difference(&now).collect();
        let stayed: Vec<_> = kept.intersection(&now).collect();
        assert!(gone.iter().all(|gone| stayed.iter().all(|stayed| gone < stayed)), "{gone:?} {stayed:?}");
        kept = now;
    }
    assert!((2..48).contains(&kept.len()), "{}", kept.len());
    // The one response that all of them share is still there.
    assert_eq!(std::fs::read_dir(folder(&world).join("responses")).unwrap().count(), 1);
    replay(&world, folder(&world)).run().await.ok();
}

#[tokio::test]
async fn a_run_that_is_too_long_for_a_trace_replays_as_far_as_it_goes() {
    let world = World::new().await;
    world.receipts(6).await;
    record(&world, &["--concurrency", "1", "--record-max-run", "2000B"]).await;
    let traces = recorded(&folder(&world));
    let cut: Vec<&Trace> = traces.iter().filter(|trace| !trace.complete).collect();
    assert!(!cut.is_empty());
    for trace in &cut {
        assert!(matches!(trace.events.last(), Some(Event::Return { .. })), "{:?}", trace.events.last());
    }
    let ran = replay(&world, folder(&world)).run().await;
    let said = ran.stdout.lines().filter(|line| line.contains(": incomplete: ")).count();
    assert_eq!(said, cut.len(), "{}", ran.stdout);
    ran.ok();
    let lines = replay(&world, folder(&world)).arg("--json").run().await.json_lines();
    assert_eq!(lines.iter().filter(|line| line["complete"] == false && line["same"] == true).count(), cut.len());
}

/// No file may grow over some MiB, which is less than a response.
#[tokio::test]
async fn a_full_disk_turns_recording_off_and_nothing_else() {
    let mut response: Value = serde_json::from_slice(&answer("Blue Bottle Cafe", "4.50", "2024-03-15")).unwrap();
    response["Padding"] = Value::from(" ".repeat(9 << 20));
    let reader = Some(Reader::recorded(response.to_string()));
    let world = World::with(WorldSettings { reader, ..WorldSettings::default() }).await;
    // What is compiled is kept from here on.
    world.once().await;
    world.receipts(6).await;
    let host = world.run(&["--once", "--record"]).arg(folder(&world)).into_inner();
    let host = host.as_std();
    let mut shell = tokio::process::Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\""])
        .arg(host.get_program())
        .args(host.get_args());
    shell.env_clear().envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = shell.output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["processed"], &summary["failed_runs"]), (&json!(6), &json!(0)), "{log}");
    let warnings = tests::events(&log, "trace.stopped");
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains(folder(&world).to_str().unwrap()) && !log.contains("panicked"), "{log}");
    let left: Vec<PathBuf> = files(&folder(&world)).into_iter().filter(|file| !file.ends_with(".lock")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn traces_that_are_deleted_beside_a_running_host_leave_the_next_ones_whole() {
    let world = World::new().await;
    let host = world.run(&["--every", "200ms", "--record"]).arg(folder(&world)).spawn();
    // All receipts have the same response: the second trace names what the first one stored.
    for (number, delete) in ["traces/*", "traces/responses", "traces", "nothing"].into_iter().enumerate() {
        let (receipt, _) = world.receipt(&format!("{number}.jpg")).await;
        world.becomes(&receipt, "ocr_done").await;
        let digest = host::storage::digest_of(&answer("Blue Bottle Cafe", "4.50", "2024-03-15"));
        // The trace is written when its run is over, which is after the receipt is done.
        eventually("traces that are whole", async || {
            let paths = traces_in(&[folder(&world)]).ok()?;
            let traces: Vec<Trace> = paths.iter().filter_map(|path| Trace::read(path).ok()).collect();
            let whole = traces.iter().all(|trace| trace.response(&digest).is_ok());
            (whole && !traces.is_empty()).then_some(())
        })
        .await;
        let script = format!("rm -rf {}/{delete}", folder(&world).parent().unwrap().display());
        std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
    }
    let finished = host.stop().await;
    assert!(!finished.logged("trace.stopped"), "{}", finished.stderr);
    finished.ok();
}

#[tokio::test]
async fn a_folder_that_cannot_be_recorded_into_is_an_error_at_the_start() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    let file = world.dir().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [&file, &file.join("below"), Path::new("/proc/nowhere")] {
        let error = world.run(&["--once", "--record"]).arg(place).run().await.error();
        assert!(error.contains("cannot record traces") && error.contains(place.to_str().unwrap()), "{error}");
    }
    assert_eq!(world.status_of(&receipt).await, "pending");
}

#[tokio::test]
async fn a_second_host_needs_a_folder_of_its_own() {
    let world = World::new().await;
    let mut first = world.run(&["--record"]).arg(folder(&world)).spawn();
    first.logged("worker.started").await;
    let error = world.run(&["--once", "--record"]).arg(folder(&world)).run().await.error();
    assert!(error.contains("another host records into") && error.contains("folder of its own"), "{error}");
    world.run(&["--once", "--record"]).arg(world.dir().join("other")).run().await.ok();
    let (receipt, _) = world.receipt("a.jpg").await;
    world.becomes(&receipt, "ocr_done").await;
    first.stop().await.ok();
    assert!(!recorded(&folder(&world)).is_empty());
    // Whoever comes after it goes on in the same one, also where it was killed.
    let mut second = world.run(&["--record"]).arg(folder(&world)).spawn();
    second.logged("worker.started").await;
    second.kill().await;
    record(&world, &[]).await;
}

#[tokio::test]
async fn a_redacted_trace_has_no_card_and_no_phone_number_and_replays() {
    let (card, phone) = ("4111 1111 1111 1111", "(415) 555-0173");
    let response = String::from_utf8(answer("Blue Bottle Cafe", "4.50", "2024-03-15")).unwrap();
    let response = response
        .replace("Thank you, come again", &format!("VISA {card}"))
        .replace("12 Market Street, Springfield", &format!("TEL {phone}"));
    let pieces = ["\"Thank\"", "\"you,\"", "\"come\"", "\"again\""];
    let response = pieces
        .iter()
        .zip(["\"VISA\"", "\"4111\"", "\"1111\"", "\"1111 1111\""])
        .fold(response, |text, (from, to)| text.replace(from, to));
    assert!(response.contains(card) && response.contains(phone));
    let world =
        World::with(WorldSettings { reader: Some(Reader::recorded(response)), ..WorldSettings::default() }).await;
    world.receipts(2).await;
    // A receipt that fails with the number in what is said of it.
    world.insert("4111111111111111.jpg").await;
    assert_eq!(record(&world, &["--record-redact"]).await["processed"], 2);

    // The card's first word as a text of its own: a seed may hold these digits, too.
    assert_in_none(&[card, phone, "\"4111\"", "555-0173", "4111111111111111"], &folder(&world));
    let traces = recorded(&folder(&world));
    let mut masked = BTreeSet::new();
    for trace in &traces {
        assert!(trace.header.redacted);
        for event in &trace.events {
            let Event::Masked { place, field, what } = event else { continue };
            let place = if matches!(place, MaskedIn::Response(_)) { "response" } else { "line" };
            masked.insert(format!("{place} {field}: {what}"));
        }
    }
    let has = |part: &str, what: &str| masked.iter().any(|field| field.starts_with(part) && field.ends_with(what));
    for (part, what) in
        [("response Blocks[", ": card number"), ("response Blocks[", ": phone number"), ("line ", ": card number")]
    {
        assert!(has(part, what), "{part}{what}: {masked:#?}");
    }
    // What the receipt says otherwise is there, and the component read it.
    let vendor = |trace: &Trace| {
        trace.events.iter().any(|event| matches!(event, Event::Call { import, args, .. } if import == "queue.job.complete" && args.as_str().contains("Blue Bottle Cafe")))
    };
    assert!(traces.iter().any(vendor));
    replay(&world, folder(&world)).run().await.ok();
}

#[tokio::test]
async fn an_exported_run_is_a_regression_test() {
    let world = World::new().await;
    let (receipt, photo) = world.receipt("a.jpg").await;
    world.insert("missing.jpg").await;
    record(&world, &[]).await;
    let to = world.dir().join("recordings");
    let traces: Vec<Trace> = recorded(&folder(&world));
    let trace = traces
        .iter()
        .find(|trace| std::fs::read_to_string(&trace.path).unwrap().contains("queue.job.complete"))
        .unwrap();
    let shown = world.host().args(["trace", "show"]).arg(&trace.path).run().await.ok();
    assert!(shown.contains(&receipt) && shown.contains("settled   complete"), "{shown}");
    let found = world.host().args(["trace", "grep", "NoSuchKey"]).arg(folder(&world)).run().await.ok();
    assert_eq!(found.lines().count(), 1, "{found}");
    world
        .host()
        .args(["trace", "export"])
        .arg(&trace.path)
        .args(["--receipt", &receipt, "--to"])
        .arg(&to)
        .run()
        .await
        .ok();
    let response = std::fs::read(to.join(format!("{receipt}.json"))).unwrap();
    assert_eq!(response, world.textract.body_for(&photo.digest).unwrap());
    let shown = replay(&world, &to).run().await.ok();
    assert!(shown.starts_with("1 as expected, 0 not"), "{shown}");
    // It can fail.
    let expectation = to.join(format!("{receipt}.expected.json"));
    let text = std::fs::read_to_string(&expectation).unwrap();
    std::fs::write(&expectation, text.replace("4.50", "4.51")).unwrap();
    let ran = replay(&world, &to).run().await;
    assert!(ran.code == Some(1) && ran.stdout.contains("expected \"4.51\", found \"4.50\""), "{}", ran.stdout);
}
