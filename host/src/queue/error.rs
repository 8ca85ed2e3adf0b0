//! What can go wrong with the queue, and what that means: whether it passes, whose fault it is.

use std::fmt;

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::Schema;
use super::hosted::cure_of_silence;
use crate::failure::{Failure, FailureKind, chain};
use crate::secret::SecretError;

/// What can go wrong with the queue as a whole; a job's own failures are [`Failure`]s.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("DATABASE_URL is not a Postgres connection string: {0} (expected postgres://user:password@host:5432/db)")]
    Url(String),
    #[error("DATABASE_URL: its sslmode is unknown (use disable, prefer, require, verify-ca or verify-full)")]
    SslMode,
    #[error("TLS to the database: {0}")]
    Tls(String),
    #[error("cannot connect to the database at {at}: {reason}")]
    Connect {
        at: String,
        reason: String,
        /// Whether it may well be there later: nobody answered, or the server is just starting, stopping or full.
        passing: bool,
        /// Whether the server did not let us in as who we are.
        refused: bool,
    },
    #[error("cannot log in to the database at {at}: {failure}")]
    Token { at: String, failure: Failure },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the database at {at} does not answer within {seconds} s")]
    Timeout { at: String, seconds: u64 },
    #[error(
        "the database has no receipt queue in its schema {schema} (or an older one: version {found}, needed {needed}); run \
         `host migrate`{elsewhere}"
    )]
    NotMigrated { schema: Schema, found: i64, needed: i64, elsewhere: Elsewhere },
    #[error("DATABASE_URL: schema: {0}")]
    Schema(String),
    #[error(
        "there is no schema {name} in this database; make it (CREATE SCHEMA {}), or name the one that the receipts table is \
         in with --schema",
        .name.quoted()
    )]
    NoSchema { name: Schema },
    #[error(
        "there is no table {}.receipts, but there is {}: nothing was made. {advice}",
        .schema.quoted(), .found.join(" and ")
    )]
    TheLike { schema: Schema, found: Vec<String>, advice: String },
    #[error("the database at {at} is read-only (a replica?); the worker needs the primary")]
    ReadOnly { at: String },
    #[error(
        "notifications do not get through the pooler at {at} (transaction mode?); give LISTEN a direct connection with \
         DATABASE_DIRECT_URL, or run with --no-listen and --every 1s{}",
        cure_of_silence(.at)
    )]
    Pooled { at: String },
    #[error("a notification sent to {from} did not arrive at {at} within {seconds} s; is it the same database?")]
    Unheard { from: String, at: String, seconds: u64 },
    #[error(
        "row-level security hides receipts from role {role:?}, which is to migrate: those that wait would never be queued; \
         migrate as a role with BYPASSRLS, or give this one a policy that is true for it, or ALTER TABLE public.receipts NO \
         FORCE ROW LEVEL SECURITY for as long as it takes"
    )]
    HiddenReceipts { role: String },
    #[error("the queue does not agree with the app's receipts table: {0}")]
    Drifted(String),
    #[error(
        "{missing} of {asked} receipts were set to pending and not queued, so that all of it was undone; host doctor says \
         what keeps the trigger receipts_requeue from its work"
    )]
    NotQueued { missing: usize, asked: usize },
    #[error("{table} is {what}")]
    Unfit { table: String, what: String },
    #[error(
        "there is no publication supabase_realtime in this database: enable Realtime for the project, or leave --realtime out"
    )]
    NoRealtime,
    #[error("migration {name} failed: {reason}")]
    Migration { name: &'static str, reason: String },
    #[error("the database refused {what}: {reason}")]
    Query {
        what: &'static str,
        reason: String,
        code: Option<SqlState>,
        closed: bool,
        /// By a function of the app's.
        raised: bool,
    },
}

/// Schemas that have a receipt queue, where the one that was looked into has none.
#[derive(Debug)]
pub struct Elsewhere(pub(super) Vec<String>);

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            schemas => write!(f, ", or name the schema that has one with --schema: {}", schemas.join(", ")),
        }
    }
}

impl QueueError {
    pub(super) fn query(what: &'static str, error: &tokio_postgres::Error) -> Self {
        let said = error.as_db_error();
        Self::Query {
            what,
            reason: describe(error),
            code: error.code().cloned(),
            closed: error.is_closed() || said.is_some_and(ends_the_session),
            raised: said.is_some_and(is_raised),
        }
    }

    fn code(&self) -> Option<&str> {
        match self {
            Self::Query { code: Some(code), .. } => Some(code.code()),
            _ => None,
        }
    }

    fn class(&self) -> Option<&str> {
        self.code().and_then(|code| code.get(..2))
    }

    /// Whether the same statement may well succeed later: deadlocks and serialization (class 40), resources (53), locks
    /// (55P03, 55006), the operator's interventions and timeouts (57), the system (58). What an app's trigger raises by one of
    /// these codes is its own word for a refusal, unless it says that it would be tried again.
    pub(super) fn is_passing(&self) -> bool {
        self.is_conflict()
            || self.is_late()
            || !self.is_raised()
                && (matches!(self.class(), Some("53" | "57" | "58")) || self.code() == Some("55006"))
                && self.code() != Some("58P01")
    }

    /// Whether rows of this very batch got in somebody's way (class 40: deadlock, serialization), so that fewer of them may
    /// fare better.
    pub(super) fn is_conflict(&self) -> bool {
        self.class() == Some("40")
    }

    /// Whether a start that failed with this may succeed later, with nothing changed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { passing, .. } => *passing,
            Self::Secret(error) => error.may_pass(),
            Self::Token { failure, .. } => matches!(failure.kind, FailureKind::Unavailable | FailureKind::TimedOut),
            Self::Timeout { .. } => true,
            Self::Query { .. } => self.is_passing() || self.is_lost_connection(),
            _ => false,
        }
    }

    /// Whether the server knows us by another password, or not at all.
    pub fn is_refused_login(&self) -> bool {
        matches!(self, Self::Connect { refused: true, .. })
    }

    /// Whether a login was refused that a secret may yet mend.
    pub fn waits_for_a_secret(&self) -> bool {
        matches!(self, Self::Connect { refused: true, passing: true, .. })
    }

    /// The same refusal, where the password is kept elsewhere and may be changing at this moment.
    pub(super) fn that_may_pass(self, why: &str) -> Self {
        match self {
            Self::Connect { at, reason, refused: true, .. } => {
                Self::Connect { at, reason: format!("{reason}; {why}"), passing: true, refused: true }
            }
            other => other,
        }
    }

    /// Whether it took too long: a lock that was waited for, or a time limit.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.code(), Some("55P03" | "57014"))
    }

    /// Whether somebody else has the row locked.
    pub(super) fn is_locked(&self) -> bool {
        self.code() == Some("55P03")
    }

    /// Whether trying again cannot help: the database refused the statement itself (rights, data, a table that is not
    /// there, whatever a trigger of the app's says).
    pub fn is_permanent(&self) -> bool {
        self.code().is_some() && !self.is_passing() && !self.is_lost_connection()
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_lost_connection(&self) -> bool {
        match self {
            // 25006: the server is a primary no more, and the next connection may find the one that is. No code: the error
            // came from the socket or the driver. (An error of class 08 that does not end the session is about another
            // one: a trigger of the app's asks another server.)
            Self::Query { code, closed, .. } => {
                *closed || code.as_ref().is_none_or(|code| *code == SqlState::READ_ONLY_SQL_TRANSACTION)
            }
            _ => true,
        }
    }

    /// Whether one of the rows is at fault (what they hold: cardinality 21, data exception 22, constraint 23, check of a view
    /// 44, too large 54; a trigger of the app's has said so: 09, 27, other languages than SQL 38 and 39; RW: it was not
    /// written as it was sent).
    pub(super) fn is_about_the_data(&self) -> bool {
        let at_fault =
            matches!(self.class(), Some("09" | "21" | "22" | "23" | "27" | "38" | "39" | "44" | "54" | "RW"));
        at_fault || self.is_raised() && !self.is_passing()
    }

    /// Whether a result was written, and was not what came back.
    pub(super) fn is_of_what_was_written(&self) -> bool {
        self.class() == Some("RW")
    }

    /// Whether a trigger of the app's has raised it, by whatever code.
    pub(super) fn is_raised(&self) -> bool {
        matches!(self, Self::Query { raised: true, .. })
    }

    /// What two errors have in common that have one reason: all but numbers and ids.
    pub(super) fn likeness(&self) -> String {
        match self.code() {
            Some(code) if self.is_of_what_was_written() => code.to_owned(),
            _ => {
                let words = self.to_string();
                let is_id = |word: &&str| word.chars().any(|c| c.is_ascii_digit());
                words.split_whitespace().filter(|word| !is_id(word)).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// What the refusal of a result is called in its row. The codes are those of receipt_queue_written().
    pub(super) fn refusal(&self) -> &'static str {
        match self.code() {
            Some("RW001") => "queue.NotWritten",
            Some("RW002") => "queue.ValueChanged",
            _ => "queue.ResultRefused",
        }
    }
}

/// Whether it ends the session. A pooler's own errors say less than Postgres's: neither the place in the server, nor always the
/// severity in the word that is the same in every language.
fn ends_the_session(error: &DbError) -> bool {
    let is_fatal = match error.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        None => matches!(error.severity(), "FATAL" | "PANIC"),
    };
    let is_of_connections = ["08", "57P"].iter().any(|class| error.code().code().starts_with(class));
    is_fatal || is_of_connections && error.routine().is_none()
}

/// Whether a function of the app's has raised it: by the code of RAISE, by the place in the server where RAISE is done, or by a
/// code that is in none of Postgres's classes. What our own functions raise (RW) is not.
fn is_raised(error: &DbError) -> bool {
    let class = error.code().code().get(..2).unwrap_or_default();
    class != "RW" && (class == "P0" || error.routine() == Some("exec_stmt_raise") || !CLASSES.contains(&class))
}

/// Postgres's own classes of errors (its documentation, appendix A).
const CLASSES: [&str; 43] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57",
    "58", "72", "F0", "HV", "XX",
];

/// A driver error as one line: what the server said, with its hint.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let hint = db.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        let hint = match hint.as_str() {
            "" if *db.code() == SqlState::INSUFFICIENT_PRIVILEGE && db.message().contains("schema") => {
                " (hint: GRANT USAGE ON SCHEMA to this role, as `host rights` prints it; `host migrate` needs CREATE too)"
            }
            hint => hint,
        };
        return format!("{} [{}]{hint}", db.message(), db.code().code());
    }
    chain(error)
}

impl From<&QueueError> for Failure {
    fn from(error: &QueueError) -> Self {
        Self::new(crate::failure::FailureKind::Unavailable, "queue.Unavailable", error.to_string())
    }
}
