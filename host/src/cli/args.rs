//! Flags that several verbs share, and how their values are read.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::{FalseyValueParser, OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};

use super::folders::user_cache;
use super::quantity::{duration, size};
use crate::admin::{AdminAddress, AdminClient, AdminSettings, DEFAULT_ADDRESS};
use crate::aws::AwsOverrides;
use crate::aws::call::Caller;
use crate::queue::{Database, Origin, Schema};
use crate::sandbox::{Limits, Program, Sandbox};
use crate::secret::{self, ConnectionSecret};
use crate::swap::source::ComponentLocation;

/// Where the queue is.
#[derive(Debug, Clone, Args)]
pub(super) struct DatabaseArgs {
    /// Postgres: `postgres://user:password@host:5432/database?sslmode=require`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// The secret that holds it: name or ARN of Secrets Manager, ssm:NAME or file:PATH; #KEY behind it takes one value of its JSON.
    /// It is read anew when the database refuses the password. DATABASE_URL may then be a template with {username} and {password}.
    #[arg(long, env = "DATABASE_URL_SECRET", value_name = "SECRET")]
    database_url_secret: Option<String>,
    /// How to log in: with the password, or with a token that is made for each connection by the IAM role.
    #[arg(long, env = "DATABASE_AUTH", default_value = "password")]
    database_auth: DatabaseAuth,
    /// CA file (PEM) to check the server's certificate against, or `system`, where the URL has no sslrootcert.
    #[arg(long, env = "PGSSLROOTCERT", value_name = "FILE")]
    database_root_cert: Option<String>,
    #[command(flatten)]
    schema: SchemaArgs,
}

/// How to log in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DatabaseAuth {
    Password,
    RdsIam,
}

/// Where in the database.
#[derive(Debug, Clone, Args)]
pub(super) struct SchemaArgs {
    /// Schema that the receipts table is in, and the queue beside it; public, or the URL's schema= (as Prisma has it).
    #[arg(long = "schema", env = "WORKER_SCHEMA", value_name = "NAME")]
    name: Option<String>,
}

impl SchemaArgs {
    /// The one that the flag names.
    pub(super) fn named(&self) -> anyhow::Result<Option<Schema>> {
        let name = self.name.as_deref().filter(|name| !name.is_empty());
        name.map(|name| name.parse().map_err(|error: String| anyhow::anyhow!("--schema (WORKER_SCHEMA): {error}")))
            .transpose()
    }

    /// The database, with the schema that the flag names.
    pub(super) fn within(&self, database: Database) -> anyhow::Result<Database> {
        Ok(match self.named()? {
            Some(schema) => database.with_schema(schema),
            None => database,
        })
    }
}

impl DatabaseArgs {
    pub(super) async fn parse(&self, aws: &AwsOverrides) -> anyhow::Result<Database> {
        match (given(&self.database_url), given(&self.database_url_secret)) {
            (None, None) => anyhow::bail!(
                "no database: set DATABASE_URL or --database-url (postgres://user:password@host:5432/db), or name the secret \
                 that holds it with DATABASE_URL_SECRET"
            ),
            (url, None) => self.open(Origin::Given(url.unwrap_or_default()), aws).await,
            (template, Some(secret)) => self.of_secret("DATABASE_URL_SECRET", secret, template, aws).await,
        }
    }

    pub(super) fn is_given(&self) -> bool {
        given(&self.database_url).is_some() || given(&self.database_url_secret).is_some()
    }

    async fn of_secret(
        &self,
        variable: &'static str,
        secret: &str,
        template: Option<&str>,
        aws: &AwsOverrides,
    ) -> anyhow::Result<Database> {
        let secret = ConnectionSecret::new(secret, template, aws.clone()).context(variable)?;
        self.open(Origin::Secret(Box::new(secret)), aws).await.context(variable)
    }

    async fn open(&self, origin: Origin<'_>, aws: &AwsOverrides) -> anyhow::Result<Database> {
        let tokens = match self.database_auth {
            DatabaseAuth::Password => None,
            DatabaseAuth::RdsIam => Some(Caller::load(aws).await?),
        };
        self.schema.within(Database::open(origin, self.database_root_cert.as_deref(), tokens).await?)
    }

    /// The flags about the schema, where another one names the database.
    pub(super) fn schema(&self) -> &SchemaArgs {
        &self.schema
    }
}

/// The same database without a pooler in between.
#[derive(Debug, Clone, Args)]
pub(super) struct DirectArgs {
    /// The same database past the pooler (PgBouncer, Supavisor), for LISTEN and migrations; --database-url if not given.
    #[arg(long, env = "DATABASE_DIRECT_URL", hide_env_values = true, value_name = "URL")]
    direct_url: Option<String>,
    /// The secret that holds the direct URL, as --database-url-secret. A direct URL with {places} in it and no secret of its own
    /// takes what is in that one.
    #[arg(long, env = "DATABASE_DIRECT_URL_SECRET", value_name = "SECRET")]
    direct_url_secret: Option<String>,
}

impl DirectArgs {
    pub(super) async fn or(
        &self,
        args: &DatabaseArgs,
        database: &Database,
        aws: &AwsOverrides,
    ) -> anyhow::Result<Database> {
        let direct = match (given(&self.direct_url), given(&self.direct_url_secret), given(&args.database_url_secret)) {
            (None, None, _) => return Ok(database.clone()),
            (template, Some(secret), _) => args.of_secret("DATABASE_DIRECT_URL_SECRET", secret, template, aws).await?,
            (Some(url), None, Some(secret)) if secret::is_template(url) => {
                args.of_secret("DATABASE_DIRECT_URL", secret, Some(url), aws).await?
            }
            (Some(url), None, _) => args.open(Origin::Given(url), aws).await.context("DATABASE_DIRECT_URL")?,
        };
        if !direct.names_schema() {
            return Ok(direct.with_schema(database.schema().clone()));
        }
        anyhow::ensure!(
            direct.schema() == database.schema(),
            "DATABASE_DIRECT_URL names the schema {}, and DATABASE_URL {}: they are to be the same database",
            direct.schema(),
            database.schema()
        );
        Ok(direct)
    }
}

/// How a worker hears of new receipts.
#[derive(Debug, Clone, Args)]
pub(super) struct ListenArgs {
    #[command(flatten)]
    direct: DirectArgs,
    /// Poll only: no LISTEN (for a pooler in transaction mode without --direct-url). Set --every to a second or so with it.
    #[arg(long, env = "WORKER_NO_LISTEN", value_parser = FalseyValueParser::new())]
    no_listen: bool,
}

impl ListenArgs {
    /// Where to listen; none to poll alone.
    pub(super) async fn direct(
        &self,
        args: &DatabaseArgs,
        database: &Database,
        aws: &AwsOverrides,
    ) -> anyhow::Result<Option<Database>> {
        if self.no_listen { Ok(None) } else { self.direct.or(args, database, aws).await.map(Some) }
    }
}

fn given(url: &Option<String>) -> Option<&str> {
    url.as_deref().filter(|url| !url.trim().is_empty())
}

/// How AWS is reached. Credentials come from where the SDK finds them: environment, profile, web identity, container or
/// instance role.
#[derive(Debug, Clone, Args)]
pub(super) struct AwsArgs {
    /// AWS region.
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    region: Option<String>,
    /// Another S3 (MinIO, a local one).
    #[arg(long, env = "AWS_ENDPOINT_URL_S3", value_name = "URL")]
    s3_endpoint: Option<String>,
    /// Another Textract.
    #[arg(long, env = "AWS_ENDPOINT_URL_TEXTRACT", value_name = "URL")]
    textract_endpoint: Option<String>,
}

impl AwsArgs {
    pub(super) fn overrides(&self) -> AwsOverrides {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        AwsOverrides {
            region: given(&self.region),
            credentials: None,
            s3_endpoint: given(&self.s3_endpoint),
            textract_endpoint: given(&self.textract_endpoint),
        }
    }
}

/// The buckets.
#[derive(Debug, Clone, Args)]
pub(super) struct BucketArgs {
    /// Bucket of the receipts' photos; no other one is read.
    #[arg(long, env = "SOURCE_BUCKET", value_name = "BUCKET")]
    source_bucket: Option<String>,
    /// Bucket for the OCR artifacts.
    #[arg(long, env = "ARTIFACT_BUCKET", value_name = "BUCKET")]
    artifact_bucket: Option<String>,
}

impl BucketArgs {
    pub(super) fn source(&self) -> anyhow::Result<String> {
        named(self.source_bucket.as_ref(), "the bucket of the receipts' photos", "SOURCE_BUCKET")
    }

    pub(super) fn artifact(&self) -> anyhow::Result<String> {
        named(self.artifact_bucket.as_ref(), "the bucket for the OCR artifacts", "ARTIFACT_BUCKET")
    }
}

fn named(bucket: Option<&String>, what: &str, variable: &str) -> anyhow::Result<String> {
    bucket
        .filter(|bucket| !bucket.is_empty())
        .cloned()
        .ok_or_else(|| anyhow::anyhow!("{what} is not named: set {variable}"))
}

/// The component and its sandbox.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sandbox")]
pub(super) struct SandboxArgs {
    /// Component to run: a file, or (host run) s3://bucket/key; the one that is built in, if not given.
    #[arg(long, env = "WORKER_COMPONENT", value_name = "FILE|URL")]
    pub(super) component: Option<ComponentLocation>,
    /// Folder for compiled components and those that were confirmed (mode 0700); the user's cache, if not given. `off`: keep
    /// none, compile at every start.
    #[arg(long, env = "WORKER_CACHE_DIR", value_parser = OsStringValueParser::new().map(PathBuf::from), value_name = "FOLDER|off")]
    cache_dir: Option<PathBuf>,
    /// Linear memory of a run.
    #[arg(long, env = "WORKER_MAX_MEMORY", default_value = "64MiB", value_parser = size, value_name = "SIZE")]
    max_memory: usize,
    /// Core instances that a component may consist of.
    #[arg(long, env = "WORKER_MAX_INSTANCES", default_value_t = 16, value_parser = at_least_one, value_name = "N")]
    max_instances: usize,
    /// Tables that a component may have.
    #[arg(long, env = "WORKER_MAX_TABLES", default_value_t = 16, value_parser = at_least_one, value_name = "N")]
    max_tables: usize,
    /// Elements of one table.
    #[arg(long, env = "WORKER_MAX_TABLE_ELEMENTS", default_value_t = 20_000, value_parser = at_least_one, value_name = "N")]
    max_table_elements: usize,
    /// Live handles of a run.
    #[arg(long, env = "WORKER_MAX_HANDLES", default_value_t = 1_000, value_parser = at_least_one, value_name = "N")]
    max_handles: usize,
    /// Bytes that one call may pass from the component to the host.
    #[arg(long, env = "WORKER_MAX_HOST_CALL", default_value = "16MiB", value_parser = size, value_name = "SIZE")]
    max_host_call: usize,
    /// Bytes of a run's output that reach the log.
    #[arg(long, env = "WORKER_MAX_LOG_BYTES", default_value = "64KiB", value_parser = size, value_name = "SIZE")]
    max_log_bytes: usize,
    /// A run's own computing time; time in host calls is not counted.
    #[arg(long, env = "WORKER_DEADLINE", default_value = "5s", value_parser = duration, value_name = "TIME")]
    deadline: Duration,
    /// A run's time by the clock on the wall, host calls included, for each of its receipts.
    #[arg(long, env = "WORKER_RUN_TIMEOUT", default_value = "15m", value_parser = duration, value_name = "TIME")]
    run_timeout: Duration,
}

impl SandboxArgs {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            memory: self.max_memory,
            instances: self.max_instances,
            tables: self.max_tables,
            table_elements: self.max_table_elements,
            handles: self.max_handles,
            host_call_bytes: self.max_host_call,
            deadline: self.deadline,
            run_timeout: self.run_timeout,
            log_bytes: self.max_log_bytes,
        }
    }

    /// Makes a sandbox for so many runs side by side, and loads the component.
    pub(super) fn load(&self, concurrency: usize) -> anyhow::Result<(Arc<Sandbox>, Arc<Program>)> {
        let sandbox = Arc::new(Sandbox::new(self.limits(), concurrency, self.cache_dir().as_deref())?);
        let program = sandbox.load(self.component_file()?)?;
        Ok((sandbox, Arc::new(program)))
    }

    /// The component's file; none for the built-in one.
    pub(super) fn component_file(&self) -> anyhow::Result<Option<&Path>> {
        match &self.component {
            None => Ok(None),
            Some(ComponentLocation::File(path)) => Ok(Some(path)),
            Some(ComponentLocation::S3 { bucket, key }) => anyhow::bail!(
                "only `host run` reads a component from S3; fetch it first: aws s3 cp s3://{bucket}/{key} worker.wasm"
            ),
        }
    }

    /// Unless it is `off`.
    pub(super) fn keeps_a_cache(&self) -> bool {
        self.cache_dir.as_ref().is_none_or(|folder| !folder.as_os_str().is_empty() && folder.as_os_str() != "off")
    }

    pub(super) fn cache_dir(&self) -> Option<PathBuf> {
        match &self.cache_dir {
            Some(_) if !self.keeps_a_cache() => None,
            Some(folder) => Some(folder.clone()),
            None => user_cache().map(|cache| cache.join("compiled")),
        }
    }
}

/// The admin endpoint: where a host listens, and where verbs find it.
#[derive(Debug, Clone, Args)]
pub(super) struct AdminArgs {
    /// Address of the admin endpoint, or `off`: health and metrics for whoever can reach it, host swap and host shadow for whoever
    /// can read its token [default: 127.0.0.1:9464]
    #[arg(long, env = "WORKER_ADMIN", value_name = "ADDRESS")]
    admin: Option<AdminAddress>,
}

impl AdminArgs {
    /// How a host starts its endpoint.
    pub(super) fn settings(&self) -> AdminSettings {
        AdminSettings { address: self.admin, folder: user_cache() }
    }

    /// Where the host that runs on this machine listens.
    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        match self.admin {
            None => Ok(DEFAULT_ADDRESS),
            Some(AdminAddress::At(address)) => Ok(address),
            Some(AdminAddress::Off) => {
                anyhow::bail!("the admin endpoint is off (WORKER_ADMIN); name the host's address with --admin")
            }
        }
    }

    /// The host that runs on this machine.
    pub(super) async fn client(&self) -> anyhow::Result<AdminClient> {
        let address = self.address()?;
        let folder = user_cache()
            .ok_or_else(|| anyhow::anyhow!("no folder to look for the host's token: set HOME or XDG_CACHE_HOME"))?;
        Ok(AdminClient::find(address, &folder).await?)
    }
}

/// Reads a count that must not be zero.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{text:?} is no whole number")),
    }
}
