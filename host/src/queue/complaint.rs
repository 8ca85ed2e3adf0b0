//! What is wrong with a connection string, without a word of it that might be a secret. A password with an unencoded `@`, `?`
//! or blank in it may stand wherever else a name would: so only names that are known here are repeated.

/// Options that libpq, this host, or the libraries of apps know.
const OPTIONS: [&str; 52] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "connection_limit",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "options",
    "passfile",
    "password",
    "pgbouncer",
    "pool_max_conns",
    "pool_timeout",
    "port",
    "prepared_statements",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "schema",
    "search_path",
    "service",
    "servicefile",
    "socket_timeout",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
];

/// Beginnings that other libraries take, and none of which is Postgres's own.
const SCHEMES: [&str; 13] = [
    "jdbc:postgresql:",
    "postgresql+asyncpg:",
    "postgresql+psycopg:",
    "postgresql+psycopg2:",
    "postgresql+pg8000:",
    "postgres+asyncpg:",
    "ecto:",
    "pgsql:",
    "prisma:",
    "prisma+postgres:",
    "mysql:",
    "sqlite:",
    "https:",
];

/// `problem` is the driver's word on it, which may quote anything.
pub(super) fn about(url: &str, problem: &str) -> String {
    let lower = url.trim_start().to_ascii_lowercase();
    if !lower.starts_with("postgres://") && !lower.starts_with("postgresql://") {
        if let Some(scheme) = SCHEMES.iter().find(|scheme| lower.starts_with(*scheme)) {
            return format!("it begins with {scheme}, not with postgres:");
        }
        if lower.contains("://") {
            return "it does not begin with postgres://".to_owned();
        }
    }
    let quoted = problem.split('`').nth(1).unwrap_or_default();
    let known = OPTIONS.iter().find(|option| **option == quoted);
    match known {
        Some(option) if problem.contains("invalid value") => format!("its {option} has an impossible value{ENCODE}"),
        Some(option) => format!("its option {option} is not supported; leave it out"),
        None if problem.contains("unknown option") => format!("it has an option that is unknown{ENCODE}"),
        None => format!("it cannot be read{ENCODE}"),
    }
}

/// Whether a password that nobody has encoded reaches to where a host, a database or an option would be.
pub(super) fn has_a_stray_at(url: &str) -> bool {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let after = base.split_once('@').map(|(_, after)| after);
    match after {
        None => query.contains('@'),
        Some(after) => after.contains('@') || query.contains('@') && !after.contains('/'),
    }
}

const ENCODE: &str = "; percent-encode what is in the password (@ is %40, ? is %3F, / is %2F, # is %23), or quote it where \
                      the string has the form key=value";

#[cfg(test)]
mod tests {
    use crate::queue::Database;

    #[test]
    fn nothing_is_quoted_that_might_be_a_secret() {
        for (url, says) in [
            ("postgresql+asyncpg://me:s3cret@h/x?ssl=require", "postgresql+asyncpg:"),
            ("jdbc:postgresql://h/x?user=me&password=s3cret", "jdbc:"),
            ("s3cret+x://me:s3cret@h/x", "does not begin with postgres://"),
            ("postgres://me:s3cret@h:s3cret/x", "port"),
            ("postgres://me:12?s3cret@h/x", "@ too many"),
            ("postgres://me:12?s3cret=1&x=1", "unknown"),
            ("postgres://me:12?sslmode=s3cret", "sslmode"),
            ("postgres://me:p@s3cret@h/x", "percent-encode"),
            ("postgres://me:12?sslrootcert=s3cret&sslmode=verify-ca@h/x", "@ too many"),
            ("postgres://me:12?schema=s3cret@h/x%zz", "@ too many"),
            ("postgres://me:s3cret", "port"),
            ("postgres://me:pw@h/x?connect_timeout=s3cret", "connect_timeout"),
            ("host=h user=me password=a s3cret", "percent-encode"),
            ("host=h user=me password='s3cret", "percent-encode"),
            ("host=h s3cret=1", "unknown"),
            ("s3cret", "percent-encode"),
        ] {
            let said = Database::parse(url).map_or_else(|error| format!("{error} {error:?}"), |found| found.at());
            assert!(!said.contains("s3cret"), "{said}");
            assert!(said.contains(says), "{url}: {said}");
        }
    }
}
