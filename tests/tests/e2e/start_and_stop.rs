//! How a host starts and what ends it: what is not there yet, signals, variables, and what is said of wrong ones.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use host::dev::s3::{self, LocalS3};
use host::ocr::local::Fault;
use rustix::process::Signal;
use tests::{ARTIFACTS, HostCommand, SOURCE, TestDatabase, World, WorldSettings, eventually};
use tokio::net::{TcpListener, TcpStream};

const WAITS: &str = "worker.start_waits";
const SECRET: &str = "s3cretPASSw0rd";

/// Nobody is there for now.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Somebody is there, and never answers.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    address
}

fn place(world: &World) -> String {
    world.db.url().split_once('@').unwrap().1.split('/').next().unwrap().to_owned()
}

/// The database as seen from another address.
fn database_at(world: &World, address: SocketAddr) -> String {
    world.db.url().replace(&place(world), &address.to_string())
}

async fn forward(from: SocketAddr, to: String) {
    let listener = TcpListener::bind(from).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
}

#[tokio::test]
async fn a_database_that_comes_later_is_waited_for() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    let address = free().await;
    let mut host = world.run(&[]).env("DATABASE_URL", database_at(&world, address)).spawn();
    host.logged_with(WAITS, "cannot connect to the database at 127.0.0.1").await;
    forward(address, place(&world)).await;
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
}

#[tokio::test]
async fn an_s3_that_comes_later_is_waited_for() {
    let world = World::new().await;
    let (receipt, _) = world.receipt("a.jpg").await;
    let address = free().await;
    let mut host = world.run(&[]).env("AWS_ENDPOINT_URL_S3", format!("http://{address}")).spawn();
    host.logged(WAITS).await;
    let mut settings = s3::Settings::new(world.dir().join("s3"));
    settings.listen = address;
    settings.buckets = vec![SOURCE.to_owned(), ARTIFACTS.to_owned()];
    let _s3 = LocalS3::start(settings).await.unwrap();
    world.becomes(&receipt, "ocr_done").await;
    host.stop().await.ok();
}

#[tokio::test]
async fn one_pass_and_the_other_verbs_wait_for_nobody() {
    let world = World::new().await;
    let gone = database_at(&world, free().await);
    for args in [&["run", "--once"][..], &["status"], &["dlq", "list"], &["migrate"]] {
        let finished = world.host().args(args).env("DATABASE_URL", &gone).run().await;
        assert!(!finished.logged(WAITS), "{}", finished.stderr);
        assert!(finished.error().contains("cannot connect to the database"), "{args:?}");
    }
    let error =
        world.run(&["--once"]).env("AWS_ENDPOINT_URL_S3", format!("http://{}", free().await)).run().await.error();
    assert!(error.contains("S3 cannot be reached"), "{error}");
}

#[tokio::test]
async fn what_waiting_does_not_mend_ends_a_start_at_once() {
    let world = World::new().await;
    let (user, rest) = world.db.url().split_once("://").unwrap().1.split_once(':').unwrap();
    let wrong = format!("postgres://{user}:{SECRET}@{}", rest.split_once('@').unwrap().1);
    let empty = World::with(WorldSettings { db: Some(TestDatabase::empty().await), ..Default::default() }).await;
    for (host, says) in [
        (world.run(&[]).env("DATABASE_URL", wrong), "password authentication failed"),
        (world.run(&[]).env("DATABASE_URL", world.db.url().replace("/test_", "/none_")), "does not exist"),
        (world.run(&[]).env("SOURCE_BUCKET", "nowhere"), "SOURCE_BUCKET: there is no bucket \"nowhere\""),
        (empty.run(&[]), "run `host migrate`"),
    ] {
        let finished = host.run().await;
        assert!(!finished.logged(WAITS) && !finished.stderr.contains(SECRET), "{}", finished.stderr);
        let error = finished.error();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_signal_ends_a_start_that_waits_for_whoever_is_silent_or_absent() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    let (silent, absent) = (silent().await, free().await);
    let s3 = |address: SocketAddr| world.run(&[]).env("AWS_ENDPOINT_URL_S3", format!("http://{address}"));
    let database = |address: SocketAddr| world.run(&[]).env("DATABASE_URL", database_at(&world, address));
    for (number, host) in [s3(silent), s3(absent), database(silent), database(absent)].into_iter().enumerate() {
        let mut host = host.spawn();
        if number % 2 == 1 {
            host.logged(WAITS).await;
        } else {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        assert!(!host.has_ended(), "{}", host.log());
        // Sooner than any of these would have been given up: the test waits no longer than that.
        let finished = tokio::time::timeout(Duration::from_secs(15), host.stop()).await;
        let finished = finished.unwrap_or_else(|_| panic!("start {number} goes on after SIGTERM"));
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    assert_eq!(world.count("receipt_queue WHERE claims = 0").await, 1);
}

#[tokio::test]
async fn two_signals_of_one_moment_are_one() {
    let world = World::new().await;
    world.textract.faults().always(Fault::Delay(Duration::from_secs(2)));
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let host = world.run(&["--every", "200ms"]).spawn();
        let before = world.textract.requests();
        let (receipt, _) = world.receipt(&format!("{before}.jpg")).await;
        eventually("a call", async || (world.textract.requests() > before).then_some(())).await;
        for signal in [first, second, second] {
            host.signal(signal);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let finished = host.wait().await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert_eq!(world.status_of(&receipt).await, "ocr_done");
    }
}

/// `host dev` and Ctrl-C, before it is up.
#[tokio::test]
async fn dev_that_is_stopped_while_it_starts_ends_and_leaves_nothing_running() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    for milliseconds in [50, 400, 1500, 3000] {
        let mut host = HostCommand::bare().env("HOME", folder.path()).env("WORKER_DATA_DIR", &data).arg("dev").spawn();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        if host.has_ended() {
            panic!("{}", host.log());
        }
        host.signal(Signal::INT);
        let finished = tokio::time::timeout(Duration::from_secs(30), host.wait()).await;
        let finished = finished.unwrap_or_else(|_| panic!("stopped after {milliseconds} ms, it goes on"));
        // Before it could listen for signals it ends by the signal itself.
        assert!(matches!(finished.code, Some(0) | None), "{:?} {}", finished.code, finished.stderr);
        let server = data.join("postgres/cluster/postmaster.pid");
        eventually("the end of Postgres", async || (!server.exists()).then_some(())).await;
        assert!(!data.join("dev.json").exists());
    }
}

/// The variables that a verb's help names, with the flags before them.
async fn variables(verb: &[&str]) -> Vec<String> {
    let help = HostCommand::bare().args(verb).arg("--help").run().await.ok();
    let names = help.split("[env: ").skip(1).map(|rest| rest.split([']', '=']).next().unwrap().trim().to_owned());
    names.collect()
}

const VERBS: [&[&str]; 20] = [
    &["run"],
    &["dev"],
    &["migrate"],
    &["enqueue"],
    &["status"],
    &["dlq", "list"],
    &["dlq", "show"],
    &["dlq", "retry"],
    &["dlq", "discard"],
    &["prune"],
    &["rights"],
    &["components"],
    &["reparse"],
    &["parse"],
    &["replay"],
    &["trace", "show"],
    &["swap"],
    &["shadow"],
    &["inspect"],
    &["doctor"],
];

#[tokio::test]
async fn an_empty_variable_is_one_that_is_not_set() {
    let world = World::new().await;
    world.receipt("a.jpg").await;
    let mut names = BTreeSet::new();
    for verb in VERBS {
        names.extend(variables(verb).await);
    }
    assert!(names.contains("TEXTRACT_TPS") && names.contains("WORKER_RECORD") && names.len() > 40, "{names:?}");
    names.extend(
        ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE"]
            .map(str::to_owned),
    );
    let needed = [
        "DATABASE_URL",
        "SOURCE_BUCKET",
        "ARTIFACT_BUCKET",
        "AWS_REGION",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_TEXTRACT",
    ];
    let empty = |host: HostCommand, but: &[&str], value: &str| {
        names.iter().filter(|name| !but.contains(&name.as_str())).fold(host, |host, name| host.env(name, value))
    };
    for (value, args) in [
        ("", &["run", "--once"][..]),
        (" ", &["run", "--once"]),
        ("", &["status"]),
        ("", &["dlq", "list"]),
        ("", &["components"]),
        ("", &["prune", "--dry-run"]),
        ("", &["rights"]),
        ("", &["doctor"]),
        ("", &["reparse", "--dry-run"]),
        ("", &["migrate"]),
        ("", &["inspect"]),
    ] {
        let usual = world.host().args(args).run().await;
        let with = empty(world.host().args(args), &needed, value).run().await;
        assert_eq!(with.code, usual.code, "{args:?}\n{}\n{}", usual.stderr, with.stderr);
    }
    world.assert_settled(1).await;
    // All of them, where nothing is configured: it is missing, not wrong.
    let mut host = empty(HostCommand::bare(), &[], "").env("HOME", world.dir()).arg("run");
    for missing in ["SOURCE_BUCKET", "ARTIFACT_BUCKET"] {
        let error = host.run().await.error();
        assert!(error.contains(&format!("set {missing}")), "{error}");
        let but = ["SOURCE_BUCKET", missing];
        host = but.iter().fold(empty(HostCommand::bare(), &but, ""), |host, name| host.env(name, "bucket"));
        host = host.env("HOME", world.dir()).arg("run");
    }
    let error = host.run().await.error();
    assert!(error.contains("set DATABASE_URL"), "{error}");
}

#[tokio::test]
async fn a_message_about_a_variable_names_it() {
    let world = World::new().await;
    let mut refused = 0;
    for name in variables(&["run"]).await {
        let finished = world.run(&["--once"]).current_dir(world.dir()).env(&name, "§ no such thing").run().await;
        if finished.code == Some(2) {
            refused += 1;
            assert!(finished.stderr.contains(&name), "{name}: {}", finished.stderr);
        }
    }
    assert!(refused > 20, "{refused}");
    let typed = world.run(&["--once", "--every", "soon"]).env("WORKER_EVERY", "1s").run().await;
    assert_eq!(typed.code, Some(2));
    assert!(typed.stderr.contains("--every") && !typed.stderr.contains("from the variable"), "{}", typed.stderr);
}

#[tokio::test]
async fn no_message_and_no_help_tells_a_connection_string() {
    let world = World::new().await;
    let url = format!("postgresql+asyncpg://me:{SECRET}@h/x?ssl=require");
    let assigned = format!("--database-ulr={url}");
    let flag = format!("--every={url}");
    let signed = format!("https://b.s3.amazonaws.com/k?X-Amz-Signature={SECRET}");
    let words = format!("host=h user=me password={SECRET}");
    let quick: [&[&str]; 12] = [
        &["run", "--once", "--database-url", &url],
        &["run", "--once", &url],
        &["run", "--once", &assigned],
        &["run", "--once", &flag],
        &["run", "--once", "--lease", &words],
        &["run", "--once", "--every", &signed],
        &["run", "--once", "--direct-url", &url],
        &[&url],
        &["status", "--database-url", &url],
        &["migrate", "--database-url", &words],
        &["dev", "--once", "--database-url", &url],
        &["components", "allow", &url],
    ];
    for args in quick {
        let finished = world.host().args(args).env("HOME", world.dir()).run().await;
        assert_ne!(finished.code, Some(0), "{args:?}");
        assert!(
            !finished.stderr.contains(SECRET) && !finished.stdout.contains(SECRET),
            "{args:?}\n{}",
            finished.stderr
        );
    }
    for variable in ["DATABASE_URL", "DATABASE_DIRECT_URL", "AWS_ENDPOINT_URL_S3", "WORKER_EVERY", "WORKER_ADMIN"] {
        for args in [&["run", "--once"][..], &["run", "--help"], &["doctor"], &["status"]] {
            let finished = world.host().env(variable, &url).args(args).run().await;
            let said = finished.stderr + &finished.stdout;
            assert!(!said.contains(SECRET), "{variable} {args:?}\n{said}");
        }
    }
}
