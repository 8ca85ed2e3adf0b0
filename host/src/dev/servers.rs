//! Everything that a worker needs, on this machine: Postgres, S3 and a Textract that reads with Tesseract, with their state in
//! one folder, so that the next start goes on with it.

use std::io;
use std::path::{Path, PathBuf};

use super::postgres::{self, LocalPostgres};
use super::s3::{self, LocalS3};
use super::state::DevState;
use crate::aws::{self, AwsError, AwsOverrides};
use crate::ocr::local::{self, LocalTextract, Reader};
use crate::queue::migrate::{mend, migrate};
use crate::queue::place::{NewTable, check_place};
use crate::queue::{Connection as _, Database, QueueError, Schema};

const SOURCE_BUCKET: &str = "receipts-source";
const ARTIFACT_BUCKET: &str = "receipts-artifacts";
const POSTGRES_PORT: u16 = 54329;
const REGION: &str = "us-east-1";

/// The database that the receipts are in.
#[derive(Debug)]
pub enum DevDatabase {
    /// In a Postgres that is started.
    Started { schema: Option<Schema> },
    /// In one that is there already.
    Given { url: String, schema: Schema },
}

/// The servers. Dropping them stops them too, without anybody waiting for it.
pub struct DevServers {
    /// Where they are.
    pub state: DevState,
    /// First to start and last to stop: it holds the lock on the folder.
    postgres: Option<LocalPostgres>,
    s3: LocalS3,
    textract: LocalTextract,
}

/// Why they are not there.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    #[error("cannot {what} the folder {}", path.display())]
    Folder { what: &'static str, path: PathBuf, source: io::Error },
    #[error("another `host dev` (process {pid}) works in {}", path.display())]
    InUse { pid: u32, path: PathBuf },
    #[error("cannot make the schema")]
    Schema(#[source] tokio_postgres::Error),
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    #[error(transparent)]
    S3(#[from] s3::Error),
    #[error(transparent)]
    Textract(#[from] local::Error),
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl DevServers {
    /// Starts them on this folder, which is made where it is not there.
    pub async fn start(folder: &Path, database: DevDatabase) -> Result<Self, DevError> {
        let problem = |what| move |source| DevError::Folder { what, path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(problem("make"))?;
        let folder = folder.canonicalize().map_err(problem("use"))?;
        if let Some(other) = DevState::read(&folder) {
            return Err(DevError::InUse { pid: other.pid, path: folder });
        }
        let (postgres, database_url, schema) = match database {
            DevDatabase::Given { url, schema } => (None, url, Some(schema.to_string())),
            DevDatabase::Started { schema } => {
                let postgres = start_postgres(&folder.join("postgres")).await?;
                postgres.ensure_database("receipts").await?;
                let url = postgres.url("receipts");
                (Some(postgres), url, schema.map(|schema| schema.to_string()))
            }
        };
        let mut settings = s3::Settings::new(folder.join("s3"));
        settings.secret_key = random_secret()?;
        settings.buckets = vec![SOURCE_BUCKET.to_owned(), ARTIFACT_BUCKET.to_owned()];
        let s3 = LocalS3::start(settings).await?;
        let overrides = AwsOverrides {
            region: Some(REGION.to_owned()),
            credentials: Some((s3.access_key().to_owned(), s3.secret_key().to_owned())),
            s3_endpoint: Some(s3.endpoint()),
            textract_endpoint: None,
        };
        let mut settings = local::Settings::new(Reader::tesseract());
        settings.s3 = Some(aws::load(&overrides).await?.s3);
        let textract = LocalTextract::start(settings).await?;
        let state = DevState {
            folder,
            pid: std::process::id(),
            database_url,
            schema,
            s3_endpoint: s3.endpoint(),
            textract_endpoint: textract.endpoint(),
            access_key: s3.access_key().to_owned(),
            secret_key: s3.secret_key().to_owned(),
            region: REGION.to_owned(),
            source_bucket: SOURCE_BUCKET.to_owned(),
            artifact_bucket: ARTIFACT_BUCKET.to_owned(),
        };
        Ok(Self { state, postgres, s3, textract })
    }

    /// Makes the schema where the database is ours, and migrates it.
    pub async fn migrate(&self) -> Result<Database, DevError> {
        let database = self.state.database()?;
        let mut client = database.connect().await?;
        if self.postgres.is_some() {
            let make = format!("CREATE SCHEMA IF NOT EXISTS {}", database.schema().quoted());
            client.batch_execute(&make).await.map_err(DevError::Schema)?;
        }
        check_place(&client, NewTable::of(database.names_schema())).await?;
        migrate(&mut client).await?;
        mend(&mut client).await?;
        Ok(database)
    }

    /// Stops them, and takes the state away that told of them.
    pub async fn stop(self) {
        self.state.remove();
        self.textract.stop().await;
        self.s3.stop().await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}

/// On the same port each time where that is free, so that a psql or a GUI finds it again.
async fn start_postgres(folder: &Path) -> Result<LocalPostgres, postgres::Error> {
    let settings = postgres::Settings { port: Some(POSTGRES_PORT), ..postgres::Settings::new(folder) };
    match LocalPostgres::start(settings).await {
        Err(postgres::Error::PortTaken { .. }) => LocalPostgres::start(postgres::Settings::new(folder)).await,
        started => started,
    }
}

/// Loopback is open to every user of the machine; the secret is not.
fn random_secret() -> Result<String, DevError> {
    let mut bytes = [0_u8; 20];
    getrandom::fill(&mut bytes).map_err(DevError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
