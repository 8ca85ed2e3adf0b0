//! The connection string in Secrets Manager and in Parameter Store, and its rotation. moto and ministack prove that the signed call
//! is one of theirs; Postgres is real.

use serde_json::json;
use tests::{Front, HostCommand, Refusal, World, eventually};

use crate::aws::Aws;

const PASSWORD: &str = "p/w@rd:1 é";
const NEXT: &str = "n3xt one?";
/// All but the compiler's.
const LOG: &str =
    "trace,wasmtime=info,cranelift=info,wasmtime_internal_cranelift=info,wasmtime_environ=info,regalloc2=info";
const LAST: &str = "l4st one#";

struct Kept {
    world: World,
    role: String,
    aws: Aws,
}

impl Kept {
    async fn new(aws: Aws) -> Self {
        let world = World::new().await;
        let role = format!("kept_{}", world.text("SELECT current_database()::text", &[]).await);
        world.execute(&format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")).await;
        Self { world, role, aws }
    }

    fn place(&self) -> &str {
        self.world.db.url().split_once('@').unwrap().1
    }

    /// As RDS writes it.
    fn json(&self, password: &str) -> String {
        let (address, rest) = self.place().split_once('/').unwrap();
        let (host, port) = address.split_once(':').unwrap();
        let database = rest.split('?').next().unwrap();
        json!({
            "engine": "postgres", "host": host, "port": port.parse::<u16>().unwrap(), "username": self.role,
            "password": password, "dbname": database, "dbInstanceIdentifier": "db-1"
        })
        .to_string()
    }

    fn host(&self, secret: &str) -> HostCommand {
        self.world
            .host()
            .without("DATABASE_URL")
            .env("DATABASE_URL_SECRET", secret)
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.aws.endpoint)
            .env("AWS_ENDPOINT_URL_SSM", &self.aws.endpoint)
    }

    async fn reads(&self, secret: &str, template: Option<&str>) {
        let host = self.host(secret);
        let host = template.into_iter().fold(host, |host, template| host.env("DATABASE_URL", template));
        host.arg("status").run().await.ok();
    }

    async fn password(&self, password: &str) {
        self.world.execute(&format!("ALTER ROLE {} PASSWORD '{password}'", self.role)).await;
        let cut = "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE usename = $1";
        self.world.text(cut, &[&self.role]).await;
    }

    async fn done(&self, count: i64) {
        eventually(&format!("{count} receipts are done"), async || {
            (self.world.count("receipts WHERE status = 'ocr_done'").await == count).then_some(())
        })
        .await;
    }
}

async fn asked(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn every_form_is_read(aws: Aws) {
    let kept = Kept::new(aws).await;
    let secret = kept.json(PASSWORD);
    let made =
        kept.aws.cli(&["secretsmanager", "create-secret", "--name", "prod/db", "--secret-string", &secret]).await;
    let arn = made["ARN"].as_str().unwrap();
    kept.reads("prod/db", None).await;
    kept.reads(arn, None).await;
    let place = kept.place();
    kept.reads("prod/db", Some(&format!("postgres://{{username}}:{{password}}@{place}"))).await;
    kept.reads(&format!("{arn}:password::"), Some(&format!("postgres://{}:{{password}}@{place}", kept.role))).await;

    let url = kept.world.db.url();
    kept.aws.cli(&["secretsmanager", "create-secret", "--name", "plain", "--secret-string", url]).await;
    kept.reads("plain", None).await;
    let put = ["ssm", "put-parameter", "--type", "SecureString", "--name", "/prod/url", "--value", url];
    kept.aws.cli(&put).await;
    kept.reads("ssm:/prod/url", None).await;

    for (secret, words) in
        [("not/there", "account and region"), ("ssm:/not/there", "account and region"), ("prod/db#url", "it has: ")]
    {
        let error = kept.host(secret).arg("status").run().await.error();
        assert!(error.contains(words) && error.contains("DATABASE_URL_SECRET"), "{error}");
    }
}

#[tokio::test]
async fn what_moto_keeps_is_read() {
    every_form_is_read(Aws::moto().await).await;
}

#[tokio::test]
async fn what_ministack_keeps_is_read() {
    every_form_is_read(Aws::ministack().await).await;
}

#[tokio::test]
async fn a_rotation_costs_no_receipt_and_no_attempt() {
    let kept = Kept::new(Aws::moto().await).await;
    let (world, aws) = (&kept.world, &kept.aws);
    aws.cli(&["secretsmanager", "create-secret", "--name", "db", "--secret-string", &kept.json(PASSWORD)]).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let admin = format!("127.0.0.1:{port}");
    let mut host = kept.host("db").args(["run", "--every", "200ms", "--admin", &admin]).env("WORKER_LOG", LOG).spawn();
    host.logged("worker.started").await;
    world.receipts_from(0, 3).await;
    kept.done(3).await;

    // The database has the new password, and the secret has it as AWSPENDING.
    let put = ["secretsmanager", "put-secret-value", "--secret-id", "db", "--version-stages"];
    let (next, last) = (kept.json(NEXT), kept.json(LAST));
    let pending = [&put[..], &["AWSPENDING", "--secret-string", &next]].concat();
    let version = aws.cli(&pending).await["VersionId"].as_str().unwrap().to_owned();
    kept.password(NEXT).await;
    world.receipts_from(3, 3).await;
    kept.done(6).await;
    host.logged_with("secret.changed", "stage=Pending").await;

    // It becomes the current one, which is no event.
    let old = aws.cli(&["secretsmanager", "describe-secret", "--secret-id", "db"]).await;
    let versions = old["VersionIdsToStages"].as_object().unwrap();
    let current = versions.iter().find(|(_, stages)| stages.to_string().contains("AWSCURRENT")).unwrap().0;
    let mut moved =
        vec!["secretsmanager", "update-secret-version-stage", "--secret-id", "db", "--version-stage", "AWSCURRENT"];
    moved.extend(["--move-to-version-id", &version, "--remove-from-version-id", current]);
    aws.cli(&moved).await;

    // The other way about: the database first, and nothing gets in for a while.
    kept.password(LAST).await;
    world.receipts_from(6, 3).await;
    host.logged_with("queue.unreachable", "holds no other that gets in").await;
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 6);
    let mut told = String::new();
    for path in ["/metrics", "/readyz", "/healthz"] {
        told += &asked(&admin, path).await;
    }
    assert!(told.contains("receipt_worker"), "{told}");
    let begun = std::time::Instant::now();
    aws.cli(&[&put[..], &["AWSCURRENT", "--secret-string", &last]].concat()).await;
    kept.done(9).await;
    eprintln!("work goes on {:?} after the secret has moved", begun.elapsed());

    let log = told + &host.stop().await.stderr;
    for password in [PASSWORD, NEXT, LAST, "p%2Fw%40rd", "n3xt", "l4st"] {
        assert!(!log.contains(password), "{log}");
    }
    assert_eq!(world.count("receipt_queue WHERE attempts <> 1").await, 0);
    world.assert_settled(9).await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_waited_for_at_a_start_and_named_in_an_outage() {
    let kept = Kept::new(Aws::moto().await).await;
    let (world, aws) = (&kept.world, &kept.aws);
    aws.cli(&["secretsmanager", "create-secret", "--name", "db", "--secret-string", &kept.json(PASSWORD)]).await;
    let front = Front::before(&aws.endpoint).await;
    let away = || front.refuse(|_, _, _| Some(Refusal::Error(503, "ServiceUnavailable")));
    away();
    let host = || kept.host("db").env("AWS_ENDPOINT_URL_SECRETS_MANAGER", front.endpoint());
    // A verb says so at once; a worker waits.
    let error = host().arg("status").run().await.error();
    assert!(error.contains("DATABASE_URL_SECRET") && error.contains("503"), "{error}");
    let mut worker = host().args(["run", "--every", "200ms", "--admin", "off"]).spawn();
    worker.logged("secret.awaited").await;
    front.allow();
    worker.logged("worker.started").await;
    world.receipts_from(0, 2).await;
    kept.done(2).await;

    away();
    kept.password(NEXT).await;
    worker.logged_with("queue.unreachable", "cannot read the secret db").await;
    aws.cli(&["secretsmanager", "put-secret-value", "--secret-id", "db", "--secret-string", &kept.json(NEXT)]).await;
    front.allow();
    world.receipts_from(2, 2).await;
    kept.done(4).await;
    worker.stop().await;
    assert_eq!(world.count("receipt_queue WHERE attempts <> 1").await, 0);
    world.assert_settled(4).await;
}
