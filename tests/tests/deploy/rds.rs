//! Logging in with an IAM token. The AWS CLI makes the token of one second, a real Postgres takes it as a role's password over TLS, and
//! the host, whose clock stands at that second, must make the same. Whether RDS takes it only RDS can tell.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use host::dev::postgres::{LocalPostgres, Settings};
use tempfile::TempDir;
use tests::peers::peer;
use tests::{HostCommand, TestDatabase, World, WorldSettings, eventually};
use tokio::process::Command;

const THEN: &str = "2026-01-02 03:04:05";
const ROLE: &str = "iam_worker";

#[tokio::test]
#[ignore = "of minutes: make deploy-test"]
async fn the_token_of_a_second_is_the_one_that_the_aws_cli_makes() {
    let dir = TempDir::new().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let postgres = LocalPostgres::start(Settings { fsync: false, max_connections: 50, ..Settings::new(dir.path()) })
        .await
        .unwrap();
    let db = TestDatabase::within(&postgres).await;
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.execute(&format!("CREATE ROLE {ROLE} LOGIN SUPERUSER")).await;
    speak_tls(&world, &dir.path().join("cluster")).await;

    let port = postgres.port().to_string();
    let mut cli = Command::new("faketime");
    cli.args(["-f", THEN]).arg(peer("aws")).args(["rds", "generate-db-auth-token", "--region", "us-east-1"]);
    cli.args(["--hostname", "db.internal", "--username", ROLE, "--port", &port])
        .env("TZ", "UTC")
        .env("HOME", world.dir());
    cli.env("AWS_ACCESS_KEY_ID", world.s3.access_key()).env("AWS_SECRET_ACCESS_KEY", world.s3.secret_key());
    let output = cli.output().await.unwrap();
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(token.contains("X-Amz-Date=20260102T030405Z"), "{token}{}", String::from_utf8_lossy(&output.stderr));
    world.execute(&format!("ALTER ROLE {ROLE} PASSWORD '{token}'")).await;

    let url = |mode: &str| format!("postgres://{ROLE}@db.internal:{port}/app?hostaddr=127.0.0.1&sslmode={mode}");
    let at = |time: &str, mode: &str| {
        let host = world.host().env("DATABASE_URL", url(mode)).env("DATABASE_AUTH", "rds-iam").into_inner();
        let mut command = HostCommand::of("faketime").args(["-f", time]).arg(host.as_std().get_program()).arg("status");
        for (name, value) in host.as_std().get_envs() {
            command = value.into_iter().fold(command, |command, value| command.env(name.to_str().unwrap(), value));
        }
        // Time passes for whatever waits; only what it is o'clock stands still.
        command.env("TZ", "UTC").env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    at(THEN, "require").run().await.ok();
    // A second later it is another one.
    let error = at("2026-01-02 03:04:06", "require").run().await.error();
    assert!(error.contains("GRANT rds_iam") && !error.contains("X-Amz"), "{error}");
    let error = at(THEN, "prefer").run().await.error();
    assert!(error.contains("sslmode=verify-full"), "{error}");
    drop(world);
    postgres.stop().await;
}

/// Gives the server a certificate, and asks the role for its password as it is, as RDS does.
async fn speak_tls(world: &World, cluster: &Path) {
    let (certificate, key) = (cluster.join("server.crt"), cluster.join("server.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "36500"]);
    openssl.args(["-subj", "/CN=db.internal", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    assert!(openssl.output().await.unwrap().status.success());
    let owner = std::fs::metadata(cluster).unwrap();
    for file in [&certificate, &key] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let rules = cluster.join("pg_hba.conf");
    let others = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("hostssl all {ROLE} 127.0.0.1/32 password\n{others}")).unwrap();
    world.execute("ALTER SYSTEM SET ssl = on").await;
    world.execute("SELECT pg_reload_conf()").await;
    eventually("the server speaks TLS", async || {
        (world.text("SELECT current_setting('ssl')", &[]).await == "on").then_some(())
    })
    .await;
}
