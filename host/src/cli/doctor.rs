//! `host doctor`: is everything there that a worker needs? One line a check, with what to do.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;
use tokio_postgres::config::SslMode;

use super::args::{ListenArgs, SandboxArgs};
use super::output::{self, plain};
use super::target::{Target, TargetArgs};
use super::unread::unread_keys;
use crate::aws::{self, Aws};
use crate::failure::{Failure, FailureKind};
use crate::ocr::kind_of_code;
use crate::queue::place::{HOST_CONNECTIONS, Room, room, status_default, strangers};
use crate::queue::rehearsal::{Rehearsed, of_any};
use crate::queue::status::{missing_rights, parked, say_parked, warnings};
use crate::queue::tls::Verify;
use crate::queue::{
    Connection, Database, QueueError, check_listen, check_primary, is_pooled, is_switched_off, migrate, reconcile,
};
use crate::storage::{Artifacts, NOBODYS, PROBE};

/// Checks component, database, TLS, pooler, LISTEN, schema, rights, a settle, clock, buckets and Textract; one line each, with what to do.
///
/// Exit code 1 when a check fails. It writes one small object (ocr/.doctor) to the artifact bucket and makes one Textract
/// call that Textract refuses, which costs nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host doctor
  host doctor --json | jq 'select(.ok | not)'")]
pub(crate) struct Doctor {
    /// One line of JSON a check.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    /// Nothing that keeps a worker from its work, and yet to be looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warning: bool,
    detail: String,
}

type Outcome = Result<String, String>;

/// Checks that are shown only where there is something to be said, and fail nothing.
const WARNINGS: [&str; 3] = ["exposure", "reconcile", "unread"];

/// How long receipts are looked at for some that are in no queue.
const GLANCE: Duration = Duration::from_secs(2);

impl Doctor {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let mut healthy = true;
        let mut report = |check: &'static str, outcome: Outcome| -> anyhow::Result<()> {
            healthy &= outcome.is_ok();
            let ok = outcome.is_ok();
            let detail = outcome.unwrap_or_else(|problem| problem);
            let warning = ok && WARNINGS.contains(&check);
            let check = Check { check, ok, warning, detail };
            if self.json {
                return output::json(&check);
            }
            let mark = match (ok, warning) {
                (true, false) => "ok  ",
                (true, true) => "warn",
                (false, _) => "FAIL",
            };
            Ok(output::line(format!("{mark}  {:<16} {}", check.check, plain(&check.detail)))?)
        };
        let component = self.sandbox.load(1).map(|(_, program)| program.digest().to_owned());
        report("component", component.map_err(|error| error.to_string()))?;
        if let Some(notice) = unread_keys() {
            report("unread", Ok(notice))?;
        }
        let target = match self.target.resolve().await {
            Ok(target) => target,
            Err(error) => {
                report("database", Err(format!("{error:#}")))?;
                return Ok(ExitCode::FAILURE);
            }
        };
        database(&target, &mut report).await?;
        report("listen", self.listen(&target).await)?;
        match aws::load(&target.aws).await {
            Ok(aws) => {
                report("aws", Ok(format!("region {}, credentials found", aws.region)))?;
                report("source bucket", source_bucket(&target, &aws).await)?;
                report("artifact bucket", artifact_bucket(&target, &aws).await)?;
                report("textract", textract(&aws).await)?;
            }
            Err(error) => report("aws", Err(error.to_string()))?,
        }
        Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Doctor {
    async fn listen(&self, target: &Target) -> Outcome {
        let direct = target.direct(&self.target, &self.listen).await.map_err(|error| format!("{error:#}"))?;
        let Some(direct) = direct else { return Ok("not asked for: the queue is polled".to_owned()) };
        check_listen(&target.database, &direct).await.map_err(|error| error.to_string())?;
        let arrive = format!("notifications arrive at {}", direct.at());
        let off = match target.database.connect().await {
            Ok(client) => is_switched_off(&client).await,
            Err(_) => false,
        };
        Ok(match off {
            true => format!("{arrive}, but receipt_queue_settings.notify is 'off': receipts wait for --every"),
            false => arrive,
        })
    }
}

async fn database(
    target: &Target,
    report: &mut impl FnMut(&'static str, Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut client = match target.database.connect().await {
        Ok(client) => client,
        Err(error) => return report("database", Err(error.to_string())),
    };
    let primary = check_primary(&client, &target.database).await;
    report(
        "database",
        primary.map(|()| format!("connected to {}", target.database.at())).map_err(|error| error.to_string()),
    )?;
    let pooled = is_pooled(&client).await;
    report("tls", tls(&client, &target.database, matches!(pooled, Ok(true))).await)?;
    let pooler = pooled.map(|pooled| match pooled {
        true => "there is one, which claims and settles go through",
        false => "none: this is a session of the server's own",
    });
    report("pooler", pooler.map(str::to_owned).map_err(|error| error.to_string()))?;
    let schema = migrate::check(&client).await;
    // A role that may not look at the version hears of all that it lacks at once.
    let migrated = !matches!(schema, Err(QueueError::NotMigrated { .. }));
    let schema = match schema {
        Err(error) => Err(error.to_string()),
        Ok(()) => match migrate::drift(&client).await {
            Err(error) => Err(error.to_string()),
            Ok(drift) if drift.is_empty() => Ok("up to date".to_owned()),
            Ok(drift) => Err(format!("{}; host migrate mends it", drift.join("; "))),
        },
    };
    report("schema", schema)?;
    if migrated {
        let outcome = match missing_rights(&client).await {
            Err(error) => Err(error.to_string()),
            Ok(missing) if missing.is_empty() => Ok("may work the queue; the triggers are on".to_owned()),
            Ok(missing) => Err(missing.join("; ")),
        };
        let may_work = outcome.is_ok();
        report("rights", outcome)?;
        if may_work {
            report("settle", settle(&mut client).await)?;
        }
        for warning in warnings(&client).await.unwrap_or_else(|error| vec![error.to_string()]) {
            report("exposure", Ok(warning))?;
        }
        // Who may not reconcile has heard so under "rights".
        if let Ok(found) = reconcile::glance(&client, GLANCE).await
            && let Some(notice) = found.notice()
        {
            report("reconcile", Ok(notice))?;
        }
        match parked(&client).await {
            Ok(count) if count > 0 => report("parked", Ok(say_parked(count)))?,
            // What keeps it from being counted is told of above.
            _ => {}
        }
    }
    if migrated {
        report("queue tables", queue_tables(&client).await)?;
        report("status default", default_of_status(&client).await)?;
    }
    report("connections", connections(&client).await)?;
    report("clock", clock(&client).await)
}

/// The real one, on a receipt that is there, and rolled back.
async fn settle(client: &mut impl Connection) -> Outcome {
    match of_any(client).await.map_err(|error| error.to_string())? {
        Rehearsed::Passed => Ok("a result would be written (tried, and rolled back)".to_owned()),
        Rehearsed::Unclear(why) => Ok(format!("not tried: {why}")),
        Rehearsed::NeverDead(error) => Err(format!("a result would be written, and not that a receipt fails: {error}")),
        Rehearsed::Refused(error) => Err(format!("no result would be written: {error}")),
    }
}

async fn tls(client: &impl Connection, database: &Database, pooled: bool) -> Outcome {
    if database.is_by_socket() {
        return Ok("not needed: a socket of this machine".to_owned());
    }
    let settings = database.tls();
    let checked = match settings.verify {
        Verify::Nothing => "its certificate is not checked (sslmode=verify-full checks it)",
        Verify::Chain => "its certificate is signed by a CA that we know, for whichever host (verify-ca)",
        Verify::Full => "its certificate and its name are checked (verify-full)",
    };
    let encrypted = match settings.mode {
        SslMode::Disable => return Ok("not encrypted (sslmode=disable)".to_owned()),
        // A pooler's server knows only how the pooler came to it.
        SslMode::Prefer if pooled => return Ok("encrypted if the pooler offers it (sslmode=prefer)".to_owned()),
        SslMode::Prefer => {
            let sql = "SELECT coalesce((SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_backend_pid()), false)";
            let row = client.query_typed_one(sql, &[]).await.map_err(|error| error.to_string())?;
            row.try_get(0).map_err(|error| error.to_string())?
        }
        _ => true,
    };
    Ok(match encrypted {
        true => format!("encrypted; {checked}"),
        false => "not encrypted: the server offers no TLS (sslmode=prefer)".to_owned(),
    })
}

async fn queue_tables(client: &impl Connection) -> Outcome {
    let strangers = strangers(client).await.map_err(|error| error.to_string())?;
    match strangers.as_slice() {
        [] => Ok("nobody else may change them".to_owned()),
        some => Err(format!("{}: REVOKE that right (docs/beside-your-app.md)", some.join("; "))),
    }
}

/// No failure: the app may name the status.
async fn default_of_status(client: &impl Connection) -> Outcome {
    Ok(match status_default(client).await.map_err(|error| error.to_string())? {
        None => "a receipt that is inserted without a status is queued".to_owned(),
        Some(default) => format!(
            "a receipt is queued only where the app writes the status 'pending': the column's default is {default}"
        ),
    })
}

async fn connections(client: &impl Connection) -> Outcome {
    let limits = room(client).await.map_err(|error| error.to_string())?;
    if let Some(Room { whose, limit, .. }) = limits.iter().find(|room| room.limit < HOST_CONNECTIONS) {
        return Err(format!("a host needs up to {HOST_CONNECTIONS}, and {whose} may have {limit}: raise that limit"));
    }
    let least =
        limits.first().map(|Room { whose, limit, used }| format!("; {whose} may have {limit}, {used} are in use"));
    Ok(format!("a host needs up to {HOST_CONNECTIONS}{}", least.unwrap_or_default()))
}

/// Leases are judged by the database's clock, signatures by AWS's: ours should agree.
async fn clock(client: &impl Connection) -> Outcome {
    let row = client.query_typed_one("SELECT clock_timestamp()", &[]).await.map_err(|error| error.to_string())?;
    let theirs: SystemTime = row.try_get(0).map_err(|error| error.to_string())?;
    let ours = SystemTime::now();
    let apart = ours.duration_since(theirs).or_else(|_| theirs.duration_since(ours)).unwrap_or_default();
    if apart.as_secs() >= 60 {
        return Err(format!(
            "{} s apart from the database's; run NTP on both (AWS refuses over 15 minutes)",
            apart.as_secs()
        ));
    }
    Ok(format!("{} ms apart from the database's", apart.as_millis()))
}

async fn source_bucket(target: &Target, aws: &Aws) -> Outcome {
    let bucket = target.source_bucket().map_err(|error| error.to_string())?;
    // What the worker does: get an object. That there is none by this name is the good answer.
    let asked = aws.s3.get_object().bucket(&bucket).key(NOBODYS).send().await;
    match asked.map_err(|error| crate::storage::classify(&error, &format!("s3://{bucket}"))) {
        Ok(_) => Ok(format!("s3://{bucket} can be read")),
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(format!("s3://{bucket} can be read")),
        Err(failure) => Err(advice(
            &failure,
            "grant s3:GetObject on it, and s3:ListBucket so that a missing photo is told from a forbidden one",
        )),
    }
}

async fn artifact_bucket(target: &Target, aws: &Aws) -> Outcome {
    let bucket = target.artifact_bucket().map_err(|error| error.to_string())?;
    let what = format!("s3://{bucket}");
    let advice = |failure: Failure| {
        advice(&failure, "grant s3:PutObject and s3:GetObject on its objects and s3:ListBucket on it")
    };
    Artifacts::new(aws.s3.clone(), bucket.clone()).probe().await.map_err(advice)?;
    let get = aws.s3.head_object().bucket(&bucket).key(PROBE).send().await;
    get.map_err(|error| advice(crate::storage::classify(&error, &what)))?;
    let absent = aws.s3.head_object().bucket(&bucket).key("ocr/.doctor-absent").send().await;
    match absent.map_err(|error| crate::storage::classify(&error, &what)) {
        Err(failure) if failure.kind != FailureKind::NotFound => Err(advice(failure)),
        _ => Ok(format!("{what} can be written and read")),
    }
}

/// An image that is none: Textract refuses it without charge, after it has checked who asks.
async fn textract(aws: &Aws) -> Outcome {
    let image = aws_sdk_textract::primitives::Blob::new(*b"not an image");
    let document = aws_sdk_textract::types::Document::builder().bytes(image).build();
    let Err(error) = aws.textract.detect_document_text().document(document).send().await else {
        return Ok("answers".to_owned());
    };
    let failure = aws::classify(&error, "textract", "DetectDocumentText", kind_of_code);
    match failure.kind {
        FailureKind::UnsupportedDocument | FailureKind::BadDocument | FailureKind::InvalidRequest => {
            Ok("answers, and would read".to_owned())
        }
        _ => Err(advice(
            &failure,
            "grant textract:DetectDocumentText (and textract:AnalyzeExpense for --ocr-api expense)",
        )),
    }
}

fn advice(failure: &Failure, grant: &str) -> String {
    match failure.kind {
        FailureKind::AccessDenied => format!("{failure}; {grant}"),
        _ => failure.to_string(),
    }
}
