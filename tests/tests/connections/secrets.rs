//! A connection string that is kept in a file, as systemd's credentials and Kubernetes's secrets are, and what becomes of the work
//! when its password is changed. Secrets Manager and Parameter Store: the suite `deploy`.

use std::path::{Path, PathBuf};

use tests::{HostCommand, World, eventually};

const FIRST: &str = "f1rst/pa:ss@word";
const SECOND: &str = "s3cond?pa ss%word";

/// A role that may do everything, with a password of its own, and the file that holds its connection string.
struct Kept {
    world: World,
    role: String,
    file: PathBuf,
}

impl Kept {
    async fn new() -> Self {
        let world = World::new().await;
        let role = format!("kept_{}", world.text("SELECT current_database()::text", &[]).await);
        world.execute(&format!("CREATE ROLE {role} LOGIN SUPERUSER")).await;
        let file = world.dir().join("database-url");
        let kept = Self { world, role, file };
        kept.in_database(FIRST).await;
        kept.in_file(FIRST);
        kept
    }

    async fn in_database(&self, password: &str) {
        self.world.execute(&format!("ALTER ROLE {} PASSWORD '{password}'", self.role)).await;
    }

    fn in_file(&self, password: &str) {
        std::fs::write(&self.file, format!("{}\n", self.url(password))).unwrap();
    }

    fn url(&self, password: &str) -> String {
        let (_, place) = self.world.db.url().split_once('@').unwrap();
        let escaped: String = password
            .bytes()
            .map(
                |byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") },
            )
            .collect();
        format!("postgres://{}:{escaped}@{place}", self.role)
    }

    /// Ends all of the role's sessions.
    async fn cut(&self) {
        self.world
            .text(
                "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE usename = $1",
                &[&self.role],
            )
            .await;
    }

    fn host(&self) -> HostCommand {
        self.world.host().without("DATABASE_URL").env("DATABASE_URL_SECRET", format!("file:{}", self.file.display()))
    }
}

fn holds_no_password(text: &str, whence: &str) {
    for secret in [FIRST, SECOND, "f1rst", "s3cond"] {
        assert!(!text.contains(secret), "{secret} is in {whence}:\n{text}");
    }
}

#[tokio::test]
async fn a_password_that_changes_is_taken_up_without_a_restart_and_without_an_attempt() {
    let kept = Kept::new().await;
    let world = &kept.world;
    let mut host = kept
        .host()
        .args(["run", "--every", "200ms", "--admin", "off"])
        .env(
            "WORKER_LOG",
            "trace,hyper=debug,hyper_util=debug,wasmtime=info,cranelift=info,wasmtime_internal_cranelift=info",
        )
        .spawn();
    host.logged("worker.started").await;
    let of_process = |name: &str| std::fs::read(format!("/proc/{}/{name}", host.pid())).unwrap();
    holds_no_password(&String::from_utf8_lossy(&of_process("cmdline")), "its command line");
    world.receipts_from(0, 3).await;
    eventually("some are done", async || (world.count("receipts WHERE status = 'ocr_done'").await == 3).then_some(()))
        .await;

    kept.in_database(SECOND).await;
    kept.cut().await;
    world.receipts_from(3, 5).await;
    host.logged_with("queue.unreachable", "password authentication failed").await;
    kept.in_file(SECOND);
    eventually("the others are done", async || {
        (world.count("receipts WHERE status = 'ocr_done'").await == 8).then_some(())
    })
    .await;
    let log = host.stop().await;
    assert!(log.logged("secret.changed"), "{}", log.stderr);
    holds_no_password(&log.stderr, "the log at level trace");
    assert_eq!(world.count("receipt_queue WHERE attempts <> 1").await, 0);
    world.assert_settled(8).await;
}

#[tokio::test]
async fn every_verb_takes_the_secret_and_tells_nobody() {
    let kept = Kept::new().await;
    for args in [&["status", "--json"][..], &["doctor"], &["migrate"], &["dlq", "list"], &["run", "--once"]] {
        let finished = kept.host().args(args).env("WORKER_LOG", "debug").run().await;
        holds_no_password(&format!("{}{}", finished.stdout, finished.stderr), &args.join(" "));
        finished.ok();
    }
    // A verb says what is wrong at once.
    kept.in_file(SECOND);
    let error = kept.host().args(["status"]).run().await.error();
    holds_no_password(&error, "an error");
    assert!(error.contains("password authentication failed") && error.contains("database-url"), "{error}");
}

#[tokio::test]
async fn a_template_takes_its_values_from_json() {
    let kept = Kept::new().await;
    let (_, place) = kept.world.db.url().split_once('@').unwrap();
    let json = serde_json::json!({ "username": kept.role, "password": FIRST, "urls": { "no": "text" } });
    std::fs::write(&kept.file, json.to_string()).unwrap();
    let template = format!("postgres://{{username}}:{{password}}@{place}");
    let host =
        |template: &str, secret: &str| kept.host().env("DATABASE_URL", template).env("DATABASE_URL_SECRET", secret);
    let file = format!("file:{}", kept.file.display());
    host(&template, &file).arg("status").run().await.ok();
    // The direct connection is another place in the same template.
    host(&template, &file).env("DATABASE_DIRECT_URL", &template).arg("doctor").run().await.ok();
    let only = template.replace("{username}", &kept.role);
    host(&only, &format!("{file}#password")).arg("status").run().await.ok();
    // systemd has a folder for them.
    let folder = kept.file.parent().unwrap();
    host(&template, "file:database-url").env("CREDENTIALS_DIRECTORY", folder).arg("status").run().await.ok();

    let long = Path::new("/no/such/file").display().to_string();
    for (url, secret, words) in [
        (&*template, format!("{file}#urls"), "its urls is no text"),
        (&*template, format!("{file}#nowhere"), "it has: password, urls, username"),
        ("", file.clone(), "without a host"),
        (kept.world.db.url(), file.clone(), "unset one"),
        (&*template, format!("file:{long}"), "/no/such/file: No such file"),
        ("", kept.url(FIRST), "not to hold it"),
    ] {
        let error = host(url, &secret).arg("status").run().await.error();
        assert!(error.contains(words) && error.contains("DATABASE_URL_SECRET"), "{secret}: {words} is not in: {error}");
        holds_no_password(&error, "an error");
    }
}

#[tokio::test]
async fn a_key_of_supabases_is_answered_with_a_line() {
    let world = World::new().await;
    let keyed =
        || world.host().env("SUPABASE_SERVICE_ROLE_KEY_SECRET", "app/key").env("SUPABASE_SERVICE_ROLE_KEY", FIRST);
    for (verb, mark) in [(&["run", "--once"][..], "WARN"), (&["doctor"], "warn  unread")] {
        let finished = keyed().args(verb).run().await;
        let said = format!("{}{}", finished.stdout, finished.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("SUPABASE_SERVICE_ROLE_KEY")).collect();
        let [line] = lines.as_slice() else { panic!("{said}") };
        assert!(line.contains(mark) && line.contains("not read"), "{line}");
        holds_no_password(&said, "what is said of a key");
        finished.ok();
    }
}

#[tokio::test]
async fn a_database_that_moves_is_followed_to_where_the_secret_says() {
    let kept = Kept::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let here = kept.url(FIRST);
    let (login, place) = here.split_once('@').unwrap();
    let (_, database) = place.split_once('/').unwrap();
    std::fs::write(&kept.file, format!("{login}@{nobody}/{database}")).unwrap();
    let mut host = kept.host().args(["run", "--every", "200ms", "--admin", "off"]).spawn();
    host.logged("worker.start_waits").await;
    kept.in_file(FIRST);
    host.logged("worker.started").await;
    kept.world.receipts_from(0, 2).await;
    eventually("they are done", async || {
        (kept.world.count("receipts WHERE status = 'ocr_done'").await == 2).then_some(())
    })
    .await;
    host.stop().await;
    kept.world.assert_settled(2).await;
}
