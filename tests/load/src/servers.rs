//! The servers that the host works with, all on this machine.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;
use host::aws::{self, Aws, AwsOverrides};
use host::dev::postgres::{self, LocalPostgres};
use host::dev::s3::{self, LocalS3};
use host::ocr::local::{self, LocalTextract, Reader, Recordings};
use host::queue::{Database, migrate};
use host::storage::digest_of;
use tokio::process::{Child, Command};

use crate::Load;

/// The bucket of the photos.
pub const SOURCE: &str = "load-source";
/// The bucket of the OCR answers.
pub const ARTIFACTS: &str = "load-artifacts";
/// Photos `photo-0.jpg` and so on, each with an OCR answer of its own.
pub const DISTINCT: i64 = 2_500;

/// Where they are, and the command line of a host that works with them.
pub struct Servers {
    host: PathBuf,
    cache: PathBuf,
    /// For what a measurement leaves behind.
    pub scratch: PathBuf,
    postgres: LocalPostgres,
    url: String,
    pub database: Database,
    s3: LocalS3,
    textract: LocalTextract,
    pub aws: Aws,
}

impl Servers {
    pub async fn start(load: &Load, folder: PathBuf) -> anyhow::Result<Self> {
        let postgres = LocalPostgres::start(postgres::Settings::new(folder.join("postgres"))).await?;
        postgres.ensure_database("load").await?;
        let url = postgres.url("load");
        let database = Database::parse(&url)?;
        migrate::migrate(&mut database.connect().await?).await?;
        let mut settings = s3::Settings::new(folder.join("s3"));
        settings.buckets = vec![SOURCE.to_owned(), ARTIFACTS.to_owned()];
        let s3 = LocalS3::start(settings).await?;
        let response =
            std::fs::read(&load.response).with_context(|| format!("cannot read {}", load.response.display()))?;
        let photo = std::fs::read(&load.photo).with_context(|| format!("cannot read {}", load.photo.display()))?;
        let mut recordings = Recordings::new().with_default(response.clone());
        let mut photos = vec![("photo.jpg".to_owned(), photo.clone())];
        for number in 0..DISTINCT {
            // What comes after the end of a JPEG, or of a JSON value, is nobody's business.
            let photo = [photo.as_slice(), number.to_string().as_bytes()].concat();
            let response = [response.as_slice(), " ".repeat(1 + usize::try_from(number)?).as_bytes()].concat();
            recordings = recordings.with_image(digest_of(&photo), response);
            photos.push((format!("photo-{number}.jpg"), photo));
        }
        let mut overrides = AwsOverrides {
            region: Some("us-east-1".to_owned()),
            credentials: Some((s3.access_key().to_owned(), s3.secret_key().to_owned())),
            s3_endpoint: Some(s3.endpoint()),
            textract_endpoint: None,
        };
        let mut settings = local::Settings::new(Reader::Recorded(recordings));
        // Photos above 5 MB travel by reference.
        settings.s3 = Some(aws::load(&overrides).await?.s3);
        let textract = LocalTextract::start(settings).await?;
        overrides.textract_endpoint = Some(textract.endpoint());
        let aws = aws::load(&overrides).await?;
        for (key, photo) in photos {
            let put = aws.s3.put_object().bucket(SOURCE).key(key).body(photo.into());
            put.send().await.context("cannot upload a photo")?;
        }
        let (host, cache, scratch) = (load.host.clone(), folder.join("cache"), folder.join("scratch"));
        std::fs::create_dir_all(&scratch)?;
        Ok(Self { host, cache, scratch, postgres, url, database, s3, textract, aws })
    }

    /// Starts a host.
    pub fn host(&self, concurrency: usize) -> anyhow::Result<Child> {
        self.host_with(concurrency, &[])
    }

    /// Starts a host with more flags.
    pub fn host_with(&self, concurrency: usize, flags: &[&str]) -> anyhow::Result<Child> {
        let mut command = self.command(&["run", "--log", "warn", "--concurrency", &concurrency.to_string()]);
        command.args(flags);
        if !flags.contains(&"--admin") {
            command.args(["--admin", "off"]);
        }
        command.spawn().with_context(|| format!("cannot start {}", self.host.display()))
    }

    /// A verb of the host in the same surroundings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.host);
        command
            .args(args)
            .env("DATABASE_URL", &self.url)
            .env("SOURCE_BUCKET", SOURCE)
            .env("ARTIFACT_BUCKET", ARTIFACTS)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", self.s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.s3.secret_key())
            .env("AWS_ENDPOINT_URL_S3", self.s3.endpoint())
            .env("AWS_ENDPOINT_URL_TEXTRACT", self.textract.endpoint())
            .env("WORKER_CACHE_DIR", &self.cache)
            .env("XDG_CACHE_HOME", &self.scratch)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub async fn stop(self) {
        self.textract.stop().await;
        self.s3.stop().await;
        self.postgres.stop().await;
    }
}
