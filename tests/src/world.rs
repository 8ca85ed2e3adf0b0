//! Everything that one test needs: a database, buckets, a Textract, and hosts that are configured for them.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use host::aws::{self, Aws, AwsOverrides};
use host::dev::s3::{self, LocalS3};
use host::ocr::local::{self, LocalTextract, Reader, sha256};
use tempfile::TempDir;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::{HostCommand, TestDatabase, answer, eventually, photo_bytes};

pub const SOURCE: &str = "receipts-source";
pub const ARTIFACTS: &str = "receipts-artifacts";

/// One test's own database and buckets, and a Textract.
pub struct World {
    pub db: TestDatabase,
    /// A connection to it.
    pub client: Client,
    pub s3: LocalS3,
    pub textract: LocalTextract,
    /// Clients of the two.
    pub aws: Aws,
    dir: TempDir,
}

/// How a world differs from the usual.
#[derive(Default)]
pub struct WorldSettings {
    /// In place of a fresh, migrated one.
    pub db: Option<TestDatabase>,
    /// In place of one recorded answer.
    pub reader: Option<Reader>,
}

/// An object in the source bucket.
#[derive(Debug, Clone)]
pub struct Photo {
    pub key: String,
    /// SHA-256, hexadecimal.
    pub digest: String,
}

impl World {
    pub async fn new() -> Self {
        Self::with(WorldSettings::default()).await
    }

    pub async fn with(settings: WorldSettings) -> Self {
        let db = match settings.db {
            Some(db) => db,
            None => TestDatabase::migrated().await,
        };
        let dir = TempDir::new_in(crate::cluster::scratch()).unwrap();
        let mut s3_settings = s3::Settings::new(dir.path().join("s3"));
        s3_settings.buckets = vec![SOURCE.to_owned(), ARTIFACTS.to_owned()];
        let s3 = LocalS3::start(s3_settings).await.unwrap();
        let reader =
            settings.reader.unwrap_or_else(|| Reader::recorded(answer("Blue Bottle Cafe", "4.50", "2024-03-15")));
        let mut overrides = AwsOverrides {
            region: Some("us-east-1".to_owned()),
            credentials: Some((s3.access_key().to_owned(), s3.secret_key().to_owned())),
            s3_endpoint: Some(s3.endpoint()),
            textract_endpoint: None,
        };
        let mut textract_settings = local::Settings::new(reader);
        textract_settings.s3 = Some(aws::load(&overrides).await.unwrap().s3);
        let textract = LocalTextract::start(textract_settings).await.unwrap();
        overrides.textract_endpoint = Some(textract.endpoint());
        let aws = aws::load(&overrides).await.unwrap();
        Self { client: db.connect().await, db, s3, textract, aws, dir }
    }

    /// A folder that goes with the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `host` with a complete environment.
    pub fn host(&self) -> HostCommand {
        HostCommand::bare()
            .env("HOME", self.dir())
            .env("DATABASE_URL", self.db.url())
            .env("SOURCE_BUCKET", SOURCE)
            .env("ARTIFACT_BUCKET", ARTIFACTS)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", self.s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.s3.secret_key())
            .env("AWS_ENDPOINT_URL_S3", self.s3.endpoint())
            .env("AWS_ENDPOINT_URL_TEXTRACT", self.textract.endpoint())
            // A photo that is not there is nowhere, for all tests but those of what comes late.
            .env("WORKER_PHOTO_GRACE", "0")
    }

    /// `host run …`
    pub fn run(&self, args: &[&str]) -> HostCommand {
        self.host().arg("run").args(args)
    }

    /// One pass; returns its summary.
    pub async fn once(&self) -> serde_json::Value {
        self.run(&["--once"]).run().await.json()
    }

    /// A photo like no other in the source bucket.
    pub async fn photo(&self, name: &str) -> Photo {
        self.put(name, photo_bytes()).await
    }

    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Photo {
        let digest = sha256(&bytes);
        self.aws.s3.put_object().bucket(SOURCE).key(key).body(bytes.into()).send().await.unwrap();
        Photo { key: key.to_owned(), digest }
    }

    /// Inserts a receipt as an app does. Returns its id.
    pub async fn insert(&self, image_url: &str) -> String {
        self.text(
            "INSERT INTO receipts (user_id, status, image_url) VALUES ('u', 'pending', $1) RETURNING id::text",
            &[&image_url],
        )
        .await
    }

    /// A photo, and a receipt that names it.
    pub async fn receipt(&self, name: &str) -> (String, Photo) {
        let photo = self.photo(name).await;
        (self.insert(name).await, photo)
    }

    /// Many of them; returns the ids.
    pub async fn receipts(&self, count: usize) -> Vec<(String, Photo)> {
        self.receipts_from(0, count).await
    }

    /// As many, with photos whose names begin with this number.
    pub async fn receipts_from(&self, first: usize, count: usize) -> Vec<(String, Photo)> {
        let mut receipts = Vec::new();
        for number in first..first + count {
            receipts.push(self.receipt(&format!("photo-{number}.jpg")).await);
        }
        receipts
    }

    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// One value as text; fails where there is none.
    pub async fn text(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> String {
        self.client.query_one(sql, parameters).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(&format!("SELECT count(*) FROM {sql}"), &[]).await.unwrap().get(0)
    }

    pub async fn status_of(&self, receipt: &str) -> String {
        self.text("SELECT status::text FROM receipts WHERE id::text = $1", &[&receipt]).await
    }

    /// Waits until a receipt has this status.
    pub async fn becomes(&self, receipt: &str, status: &str) {
        eventually(&format!("receipt {receipt} is {status}"), async || {
            (self.status_of(receipt).await == status).then_some(())
        })
        .await;
    }

    /// A row as JSON text, to see that nothing changed.
    pub async fn row(&self, table: &str, receipt: &str) -> Option<String> {
        let column = if table == "receipts" { "id" } else { "receipt_id" };
        let sql = format!("SELECT to_jsonb(t)::text FROM {table} t WHERE {column}::text = $1");
        self.client.query_opt(&sql, &[&receipt]).await.unwrap().map(|row| row.get(0))
    }

    /// Invariant 1: each receipt is done or dead, none is both or neither, and nothing waits.
    pub async fn assert_settled(&self, receipts: i64) {
        let sql = "SELECT
                count(*),
                count(*) FILTER (WHERE r.status = 'ocr_done' AND q.processed AND d.receipt_id IS NULL),
                count(*) FILTER (WHERE r.status = 'ocr_failed' AND q.receipt_id IS NULL AND d.receipt_id IS NOT NULL)
            FROM receipts r
            LEFT JOIN receipt_queue q ON q.receipt_id = r.id
            LEFT JOIN receipt_queue_dlq d ON d.receipt_id = r.id";
        let row = self.client.query_one(sql, &[]).await.unwrap();
        let (all, done, dead): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((all, done + dead), (receipts, receipts), "{done} done, {dead} dead");
    }

    /// An artifact's bytes.
    pub async fn artifact(&self, key: &str) -> Vec<u8> {
        let object = self.aws.s3.get_object().bucket(ARTIFACTS).key(key).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }
}

/// Compiled components, kept from one run of the tests to the next: to compile one takes seconds where the compiler itself is
/// not optimised.
pub fn cache_dir() -> PathBuf {
    static DIR: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    DIR.get_or_init(|| {
        let dir = crate::process::profile_folder().join("tests-compiled");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).unwrap();
        dir
    })
    .clone()
}
