//! What is wrong with a connection string, without a word of it that might be a secret. A password with an unencoded `@`, `?`
//! or blank in it may stand wherever else a name would: so only names that are known here are repeated.

use std::net::IpAddr;

use super::QueueError;

/// Beginnings that other libraries take, and what is to be written instead.
const SCHEMES: [(&str, &str); 28] = [
    ("jdbc:postgresql:", "postgresql://…, without jdbc:, user and password as ?user=…&password=… or before the host"),
    ("r2dbc:postgresql:", "postgresql://…, without r2dbc:"),
    ("postgresql+asyncpg:", LIKE_THAT),
    ("postgresql+psycopg:", LIKE_THAT),
    ("postgresql+psycopg2:", LIKE_THAT),
    ("postgresql+psycopg2cffi:", LIKE_THAT),
    ("postgresql+psycopg_async:", LIKE_THAT),
    ("postgresql+pg8000:", LIKE_THAT),
    ("postgresql+pygresql:", LIKE_THAT),
    ("postgres+asyncpg:", LIKE_THAT),
    ("postgres+psycopg:", LIKE_THAT),
    ("postgres+psycopg2:", LIKE_THAT),
    ("asyncpg:", LIKE_THAT),
    ("cockroachdb:", LIKE_THAT),
    ("ecto:", LIKE_THAT),
    ("pg:", LIKE_THAT),
    ("pgsql:", LIKE_THAT),
    ("pgsql+postgres:", LIKE_THAT),
    ("postgis:", LIKE_THAT),
    ("psql:", LIKE_THAT),
    ("timescale:", LIKE_THAT),
    ("timescaledb:", LIKE_THAT),
    ("prisma:", PROXY),
    ("prisma+postgres:", PROXY),
    ("mysql:", ""),
    ("sqlite:", ""),
    ("http:", API),
    ("https:", API),
];
const LIKE_THAT: &str = "postgres://…, the rest as it is";
const PROXY: &str = "the database's own postgres://… address, not that of Prisma's proxy";
const API: &str = "the database's own postgres://… address, not that of an API";

/// What makes it no connection string at all, if it is of a form that is known; it does not begin with postgres://.
pub(super) fn about_form(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with(['"', '\'', '`', '<']) {
        return Some("it stands in quotes or brackets; did you mean what is within them?".to_owned());
    }
    if lower.starts_with("psql ") {
        return Some("it is a command; did you mean what follows psql, without its quotes?".to_owned());
    }
    if lower.starts_with("database_url=") {
        return Some("it begins with its own name; did you mean what follows the first =?".to_owned());
    }
    if lower.starts_with("postgres://") || lower.starts_with("postgresql://") {
        return Some("postgres:// is to be written in small letters".to_owned());
    }
    if let Some((scheme, instead)) = SCHEMES.iter().find(|(scheme, _)| lower.starts_with(scheme)) {
        let meant = if instead.is_empty() { String::new() } else { format!("; did you mean {instead}?") };
        return Some(format!("it begins with {scheme}, not with postgres:{meant}"));
    }
    // A value may have a URL's letters in it.
    let name = lower.split(['=', ' ']).next().unwrap_or_default();
    if name.contains("://") || name.starts_with("postgres:") || name.starts_with("postgresql:") {
        return Some("it does not begin with postgres://".to_owned());
    }
    let of_dot_net = ["server", "data source", "user id", "username", "host", "database", "port", "password"];
    let is_dot_net = |text: &str| {
        of_dot_net
            .iter()
            .any(|name| text.trim_start().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')))
    };
    // Its second pair tells: a password of libpq's form may have a ";" in it.
    (is_dot_net(&lower) && lower.split_once(';').is_some_and(|(_, rest)| rest.is_empty() || is_dot_net(rest)))
        .then(|| DOT_NET.to_owned())
}

const DOT_NET: &str = "it has .NET's form (Key=Value;…)";

/// Names of hosts and databases are in messages; these cannot be any, and may be the end of a password or hold one.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), QueueError> {
    // With a zone behind it: fe80::1%eth0.
    let is_address = name.split('%').next().is_some_and(|name| name.parse::<IpAddr>().is_ok());
    let is_server = what == "host" && !name.starts_with('/') && !is_address;
    let wrong = if is_server && name.contains(['@', '/', ' ', '?', '#', ':', '\\']) {
        "; percent-encode the password (@ is %40)"
    } else if name.contains('=') && name.contains([';', '&', ' ']) || name.contains("://") {
        "; options follow a ?, joined by &, and a password is quoted or percent-encoded"
    } else if name.chars().any(char::is_control) {
        ""
    } else {
        return Ok(());
    };
    Err(QueueError::Url(format!("its {what} has an impossible name{wrong}")))
}

/// An option that is known, and whose value is not told.
pub(super) fn impossible(option: &'static str) -> QueueError {
    QueueError::Url(format!("its {option} has an impossible value{ENCODE}"))
}

pub(super) fn unknown_option() -> QueueError {
    QueueError::Url(format!("it has an option that is unknown{ENCODE}"))
}

/// Whether a password that nobody has encoded reaches to where a host, a database or an option would be. `rest` follows the
/// scheme.
pub(super) fn has_a_stray_at(rest: &str) -> bool {
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let after = base.split_once('@').map(|(_, after)| after);
    match after {
        None => query.contains('@'),
        Some(after) => after.contains('@') || query.contains('@') && !after.contains('/'),
    }
}

pub(super) const ENCODE: &str = "; percent-encode what is in the password (@ is %40, ? is %3F, / is %2F, # is %23), or quote \
                                 it where the string has the form key=value";

#[cfg(test)]
mod tests {
    use crate::queue::Database;

    #[test]
    fn nothing_is_quoted_that_might_be_a_secret() {
        for (url, says) in [
            ("postgresql+asyncpg://me:s3cret@h/x?ssl=require", "did you mean postgres://…"),
            ("postgresql+asyncpg://me:s3cret@h/x?ssl=require", "postgresql+asyncpg:"),
            ("jdbc:postgresql://h/x?user=me&password=s3cret", "without jdbc:"),
            ("prisma+postgres://accelerate/?api_key=s3cret", "not that of Prisma's proxy"),
            ("https://s3cret.supabase.co", "not that of an API"),
            ("mysql://me:s3cret@h/x", "mysql:"),
            ("s3cret+x://me:s3cret@h/x", "does not begin with postgres://"),
            ("postgres:me:s3cret@h/x", "does not begin with postgres://"),
            ("POSTGRES://me:s3cret@h/x", "small letters"),
            ("'postgres://me:s3cret@h/x'", "in quotes"),
            ("psql 'postgres://me:s3cret@h/x'", "follows psql"),
            ("DATABASE_URL=postgres://me:s3cret@h/x", "its own name"),
            ("Host=h;Username=me;Password=s3cret;Database=x", ".NET"),
            ("Server=h;User Id=me;Password=s3cret", ".NET"),
            ("User ID=me;Password=s3cret;Host=h;", ".NET"),
            ("host=h;user=me;password=s3cret", "impossible name"),
            ("postgres://h/x;user=me;password=s3cret", "impossible name"),
            ("postgres://h/x&user=me&password=s3cret", "impossible name"),
            ("postgres://h;password=s3cret/x", "impossible name"),
            ("postgres://h?dbname=postgres://me:s3cret", "impossible name"),
            ("postgres://me:s3cret@h:s3cret/x", "port"),
            ("postgres://me:12?s3cret@h/x", "@ too many"),
            ("postgres://me:12?s3cret=1&x=1", "unknown"),
            ("postgres://me:12?pgbouncer=s3cret&s3cret", "without a value"),
            ("postgres://me:12?sslmode=s3cret", "sslmode"),
            ("postgres://me:12/x?ssl=s3cret", "sslmode"),
            ("postgres://me:12/x?gssencmode=require&sslpassword=s3cret", "gssencmode"),
            ("postgres://me:12/x?passfile=s3cret", "PGPASSWORD"),
            ("postgres://me:12/x?service=s3cret", "service"),
            ("postgres://me:12/x?sslinline=true&sslkey=s3cret", "sslinline"),
            ("postgres://h/x?sslcert=c&sslkey=-----BEGIN%20PRIVATE%20KEY-----%0As3cret", "a file"),
            ("postgres://h/x?sslmode=require&sslrootcert=-----BEGIN%20CERTIFICATE-----%0As3cret", "a file"),
            ("postgres://me:p@s3cret@h/x", "percent-encode"),
            ("postgres://me:12?sslrootcert=s3cret&sslmode=verify-ca@h/x", "@ too many"),
            ("postgres://me:12?schema=s3cret@h/x%zz", "@ too many"),
            ("postgres://me:s3cret", "port"),
            ("postgres://me:pw@h/x?connect_timeout=s3cret", "connect_timeout"),
            ("postgres://me:pw@h/x?channel_binding=s3cret", "channel_binding"),
            ("postgres://me:pw@h/x?load_balance_hosts=s3cret", "load_balance_hosts"),
            ("postgres://me:pw@h/x?target_session_attrs=s3cret", "target_session_attrs"),
            ("postgres://me:pw@h/x?hostaddr=s3cret", "hostaddr"),
            ("postgres://me:pw@h/x?sslnegotiation=s3cret", "sslnegotiation"),
            ("postgres://me:pw@h/x?ssl_min_protocol_version=s3cret", "ssl_min_protocol_version"),
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
