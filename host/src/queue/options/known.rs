//! The options that connection strings have: libpq's own, and those of the libraries that apps use. A name that is not here is
//! refused and not repeated: it may be the end of a password.

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has this name here.
    Taken(&'static str),
    /// It has no meaning here, and the connection is as safe without it.
    Ignored(&'static str),
    /// Without it the connection would be less safe, or another than was meant; what to do instead.
    Refused(&'static str, &'static str),
}

/// None for a name that nobody uses. libpq's names are written small; those of others are found however they are written.
pub(super) fn fate(name: &str) -> Option<Fate> {
    let name = name.to_ascii_lowercase();
    let same = |known: &&&str| **known == name;
    TAKEN
        .iter()
        .find(same)
        .map(|name| Fate::Taken(name))
        .or_else(|| ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, name)| Fate::Taken(name)))
        .or_else(|| IGNORED.iter().find(same).map(|name| Fate::Ignored(name)))
        .or_else(|| REFUSED.iter().find(|(refused, _)| *refused == name).map(|(name, what)| Fate::Refused(name, what)))
}

const TAKEN: [&str; 33] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "replication",
    "requiressl",
    "schema",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslaccept",
    "sslcert",
    "sslcertmode",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Other spellings: the driver's, sqlx's, JDBC's.
const ALIASES: [(&str, &str); 8] = [
    ("applicationname", "application_name"),
    ("keepalives_retries", "keepalives_count"),
    ("ssl-ca", "sslrootcert"),
    ("ssl-cert", "sslcert"),
    ("ssl-key", "sslkey"),
    ("ssl-mode", "sslmode"),
    ("ssl-root-cert", "sslrootcert"),
    ("username", "user"),
];

/// How other clients pool, cache, encode and wait; Kerberos, which is not spoken here; habits of TLS that it never had here.
const IGNORED: [&str; 107] = [
    "adapter",
    "advisory_locks",
    "async_fallback",
    "authtype",
    "autosave",
    "binary_parameters",
    "binarytransfer",
    "checkout_timeout",
    "client_encoding",
    "client_min_messages",
    "command_timeout",
    "conn_health_checks",
    "conn_max_age",
    "connection_limit",
    "connectiontimeoutmillis",
    "connecttimeout",
    "currentschema",
    "database_tasks",
    "datestyle",
    "default_query_exec_mode",
    "defaultrowfetchsize",
    "description_cache_capacity",
    "disable_prepared_binary_result",
    "disable_server_side_cursors",
    "encoding",
    "extra_float_digits",
    "fetch_types",
    "gssdelegation",
    "gsslib",
    "idle_in_transaction_session_timeout",
    "idle_timeout",
    "idletimeoutmillis",
    "intervalstyle",
    "keepalive",
    "krbspn",
    "krbsrvname",
    "loadbalancehosts",
    "lock_timeout",
    "logintimeout",
    "max",
    "max_cacheable_statement_size",
    "max_cached_statement_lifetime",
    "max_connection_lifetime",
    "max_idle_connection_lifetime",
    "max_inactive_connection_lifetime",
    "max_lifetime",
    "max_overflow",
    "max_pool_size",
    "max_protocol_version",
    "max_queries",
    "max_size",
    "maxpoolsize",
    "min_messages",
    "min_pool_size",
    "min_protocol_version",
    "min_read_buffer_size",
    "min_size",
    "minpoolsize",
    "pgbouncer",
    "pool",
    "pool_health_check_period",
    "pool_max_conn_idle_time",
    "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter",
    "pool_max_conns",
    "pool_min_conns",
    "pool_min_idle_conns",
    "pool_mode",
    "pool_pre_ping",
    "pool_recycle",
    "pool_size",
    "pool_timeout",
    "pooling",
    "prefer_simple_protocol",
    "prepare",
    "prepared_statement_cache_queries",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "prepared_statements",
    "preparedstatementcachequeries",
    "preparedstatementcachesizemib",
    "preparethreshold",
    "query_timeout",
    "reaping_frequency",
    "rewritebatchedinserts",
    "search_path",
    "single_use_connections",
    "socket_timeout",
    "sockettimeout",
    "sslcompression",
    "sslkeylogfile",
    "sslpassword",
    "standard_conforming_strings",
    "statement-cache-capacity",
    "statement_cache_capacity",
    "statement_cache_mode",
    "statement_cache_size",
    "statement_limit",
    "statement_timeout",
    "stringtype",
    "supa",
    "targetservertype",
    "tcpkeepalive",
    "timezone",
    "tty",
    "uselibpqcompat",
    "workaround",
];

const REFUSED: [(&str, &str); 20] = [
    ("oauth_client_id", OAUTH),
    ("oauth_client_secret", OAUTH),
    ("oauth_issuer", OAUTH),
    ("oauth_scope", OAUTH),
    ("passfile", "put the password into the string, or into PGPASSWORD"),
    ("require_auth", "ask for channel_binding=require or sslmode=verify-full instead"),
    ("requirepeer", "leave it out, and let none but the server's user write into the socket's folder"),
    ("role", "use options=-c%20role%3DNAME, or log in as that role"),
    ("scram_client_key", "give the password"),
    ("scram_server_key", "give the password"),
    ("server_settings", "use options=-c%20NAME%3DVALUE"),
    ("service", SERVICE),
    ("servicefile", SERVICE),
    ("sslcrl", REVOCATION),
    ("sslcrldir", REVOCATION),
    ("sslfactory", "use sslmode=verify-full and sslrootcert instead"),
    ("sslhostnameverifier", "use sslmode=verify-full instead"),
    ("sslidentity", "name PEM files with sslcert and sslkey instead"),
    ("sslinline", "name PEM files with sslcert, sslkey and sslrootcert instead"),
    ("sslrootcertdir", "name one file with sslrootcert instead"),
];

const OAUTH: &str = "log in with a password or a client certificate";
const SERVICE: &str = "put host, user and password into the string";
const REVOCATION: &str = "revocation lists are not read here; leave it out";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_has_one_fate() {
        let mut names: Vec<&str> = TAKEN.into_iter().chain(IGNORED).collect();
        names.extend(ALIASES.iter().map(|(name, _)| name).chain(REFUSED.iter().map(|(name, _)| name)));
        let many = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), many);
        assert!(names.iter().all(|name| fate(name).is_some() && *name == name.to_ascii_lowercase()));
        assert!(ALIASES.iter().all(|(_, name)| TAKEN.contains(name)));
    }

    #[test]
    fn names_of_others_are_found_however_they_are_written() {
        assert_eq!(fate("prepareThreshold"), Some(Fate::Ignored("preparethreshold")));
        assert_eq!(fate("ApplicationName"), Some(Fate::Taken("application_name")));
        assert_eq!(fate("s3cret"), None);
    }
}
