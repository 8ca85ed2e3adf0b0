//! The Postgres that the host starts itself.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use host::dev::postgres::{Error, LocalPostgres, Settings};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// One test, since making a cluster takes seconds: a life with all that can happen in it.
#[tokio::test]
async fn a_cluster_lives_through_stops_and_kills() {
    let dir = folder();

    // The first start makes it.
    let postgres = LocalPostgres::start(settings(&dir)).await.unwrap();
    postgres.ensure_database("receipt worker").await.unwrap();
    postgres.ensure_database("receipt worker").await.unwrap();
    let url = postgres.url("receipt worker");
    execute(&url, "CREATE TABLE kept AS SELECT 1 AS value").await;

    // Nobody else gets in: neither on the same folder, nor without the password, nor by reading it.
    assert!(matches!(LocalPostgres::start(settings(&dir)).await, Err(Error::InUse { .. })));
    let wrong = url.replace(&password(&url), "wrong");
    assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err());
    let mode = fs::metadata(dir.path().join("password")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // A stop ends the server although somebody is connected.
    let (_client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let port = postgres.port();
    let start = Instant::now();
    postgres.stop().await;
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!dir.path().join("cluster/postmaster.pid").exists());

    // A second start goes on with what was there, on the port that is asked for.
    let postgres = LocalPostgres::start(Settings { port: Some(port), ..settings(&dir) }).await.unwrap();
    assert_eq!(postgres.port(), port);
    execute(&url, "INSERT INTO kept VALUES (2)").await;

    // A port that is taken is named.
    let other = folder();
    match LocalPostgres::start(Settings { port: Some(port), ..settings(&other) }).await {
        Err(Error::PortTaken { port: taken }) => assert_eq!(taken, port),
        other => panic!("expected PortTaken, got {:?}", other.err()),
    }

    // The host is killed: its end of the pipe closes, and the server stops by itself.
    drop(postgres);
    wait_until_gone(dir.path()).await;

    // The host and the keeper are killed: the next start stops the server that is left.
    let postgres = LocalPostgres::start(settings(&dir)).await.unwrap();
    let server = server_pid(dir.path());
    kill(parent_of(server));
    drop(postgres);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(Path::new(&format!("/proc/{server}")).exists() || !cfg!(target_os = "linux"));
    let postgres = LocalPostgres::start(settings(&dir)).await.unwrap();
    assert_ne!(server_pid(dir.path()), server);

    // The server is killed too: the next start recovers.
    execute(&postgres.url("receipt worker"), "INSERT INTO kept VALUES (3)").await;
    kill(server_pid(dir.path()));
    drop(postgres);
    let postgres = LocalPostgres::start(settings(&dir)).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&postgres.url("receipt worker"), NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.query("SELECT value FROM kept ORDER BY value", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [1, 2, 3]);
    postgres.stop().await;

    // The machine went down, and another process has the server's number now.
    if cfg!(target_os = "linux") {
        let cluster = dir.path().join("cluster");
        let owner = fs::metadata(&cluster).unwrap().uid();
        let mut stranger = std::process::Command::new("sleep").arg("60").uid(owner).spawn().unwrap();
        fs::write(cluster.join("postmaster.pid"), format!("{}\n", stranger.id())).unwrap();
        LocalPostgres::start(settings(&dir)).await.unwrap().stop().await;
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

/// A start that is given up, by a Ctrl-C say, leaves no server behind.
#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_running() {
    let dir = folder();
    LocalPostgres::start(settings(&dir)).await.unwrap().stop().await;
    for milliseconds in [5, 10, 20, 40, 80] {
        let start = LocalPostgres::start(settings(&dir));
        let _ = tokio::time::timeout(Duration::from_millis(milliseconds), start).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        wait_until_gone(dir.path()).await;
    }
}

#[tokio::test]
async fn missing_binaries_are_named() {
    let dir = folder();
    let nowhere = Settings { bin_dir: Some("/nowhere".into()), ..settings(&dir) };
    let error = LocalPostgres::start(nowhere).await.err().unwrap();
    assert!(error.to_string().contains("apt-get install postgresql"), "{error}");
}

#[tokio::test]
async fn another_version_and_a_lost_password_are_named() {
    let dir = folder();
    let cluster = dir.path().join("cluster");
    fs::create_dir(&cluster).unwrap();
    fs::write(cluster.join("PG_VERSION"), "7\n").unwrap();
    let error = LocalPostgres::start(settings(&dir)).await.err().unwrap();
    assert!(matches!(error, Error::OtherVersion { .. }) && error.to_string().contains("Postgres 7"), "{error}");

    let installed = std::process::Command::new("postgres").arg("--version").output();
    if let Ok(installed) = installed {
        let text = String::from_utf8(installed.stdout).unwrap();
        let major: String = text.split(") ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        fs::write(cluster.join("PG_VERSION"), major).unwrap();
        let error = LocalPostgres::start(settings(&dir)).await.err().unwrap();
        assert!(matches!(error, Error::PasswordLost { .. }), "{error}");
    }
}

/// Only root changes its user, and only then can the way be barred.
#[tokio::test]
async fn a_folder_that_the_server_cannot_reach_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let barred = TempDir::new().unwrap();
    fs::set_permissions(barred.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let inside = barred.path().join("data");
    let error = LocalPostgres::start(Settings::new(&inside)).await.err().unwrap();
    let Error::NotTraversable { folder, .. } = &error else { panic!("{error}") };
    assert_eq!(folder, &barred.path().canonicalize().unwrap());
    assert!(error.to_string().contains("chmod o+x"), "{error}");
}

fn settings(dir: &TempDir) -> Settings {
    Settings { fsync: false, ..Settings::new(dir.path()) }
}

/// A folder that also the user who runs the server for root can pass through.
fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

async fn execute(url: &str, statement: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
}

fn password(url: &str) -> String {
    url.split([':', '@']).nth(2).unwrap().to_owned()
}

fn server_pid(dir: &Path) -> i32 {
    let file = fs::read_to_string(dir.join("cluster/postmaster.pid")).unwrap();
    file.lines().next().unwrap().trim().parse().unwrap()
}

fn parent_of(pid: i32) -> i32 {
    // Not everywhere is there a `ps`.
    if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
        return status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    }
    let ps = std::process::Command::new("ps").args(["-o", "ppid=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8(ps.stdout).unwrap().trim().parse().unwrap()
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

async fn wait_until_gone(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while dir.join("cluster/postmaster.pid").exists() {
        assert!(Instant::now() < deadline, "the server goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
