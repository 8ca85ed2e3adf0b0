#![allow(clippy::unwrap_used)]
use std::net::IpAddr;
use std::path::Path;

use tokio_postgres::config::Host;

use super::*;

fn read(text: &str) -> Options {
    Options::read(text, &|_| None).unwrap()
}

fn refusal(text: &str) -> String {
    Options::read(text, &|_| None).err().unwrap().to_string()
}

fn ignored(text: &str) -> Vec<&'static str> {
    read(text).ignored.into_iter().collect()
}

fn hosts(options: &Options) -> Vec<String> {
    let name = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    options.config.get_hosts().iter().map(name).collect()
}

#[test]
fn what_other_clients_take_is_taken() {
    let supabase =
        "postgres://u@h/d?pgbouncer=true&connection_limit=1&supa=base-pooler.x&application_name=x&options=-c%20a%3Db";
    assert_eq!(ignored(supabase), ["connection_limit", "pgbouncer", "supa"]);
    let options = read(supabase);
    assert_eq!((options.config.get_application_name(), options.config.get_options()), (Some("x"), Some("-c a=b")));
    let libpq = "host=h keepalives_count=3 gssencmode=prefer krbsrvname=postgres fallback_application_name=x sslcompression=0 \
                 sslsni=1 client_encoding=UTF8 requirepeer='' replication=0";
    assert_eq!(ignored(libpq), ["client_encoding", "gssencmode", "krbsrvname", "replication", "sslcompression"]);
    let options = read(libpq);
    assert_eq!((options.config.get_keepalives_retries(), options.config.get_application_name()), (Some(3), Some("x")));
    assert!(!options.tls.nameless && read("host=h sslsni=0").tls.nameless);
    for url in [
        "postgres://h/d?prepareThreshold=0&currentSchema=app&ApplicationName=me",
        "postgres://h/d?statement-cache-capacity=0&ssl-mode=require",
        "postgres://h/d?pool_max_conns=4&default_query_exec_mode=simple_protocol&search_path=app",
        "postgres://h/d?prepared_statement_cache_size=0&statement_cache_size=0&command_timeout=5",
        "postgres://h/d?pool=5&prepared_statements=false&conn_max_age=0&sslaccept=accept_invalid_certs",
    ] {
        assert!(!ignored(url).is_empty(), "{url}");
    }
    assert_eq!(
        ignored("postgres://h/d?sslmode=require&connect_timeout=3&channel_binding=prefer&sslcertmode=allow"),
        [""; 0]
    );
}

#[test]
fn what_would_be_less_safe_without_is_refused() {
    for (url, says) in [
        ("postgres://h/d?requirepeer=postgres", "requirepeer is not supported"),
        ("postgres://h/d?require_auth=scram-sha-256", "channel_binding=require"),
        ("postgres://h/d?service=x", "put host, user and password into the string"),
        ("host=h sslcrl=/x", "revocation lists"),
        ("postgres://h/d?gssencmode=require", "sslmode=require"),
        ("postgres://h/d?sslaccept=strict&sslmode=require", "sslmode=verify-full"),
        ("postgres://h/d?sslcertmode=require", "clientcert"),
        ("postgres://h/d?replication=database", "ordinary session"),
        ("postgres://h/d?role=reader", "options=-c%20role"),
        ("postgres://h/d?sslidentity=x.p12", "sslcert and sslkey"),
        ("postgres://h/d?target_session_attrs=standby", "needs the primary"),
        ("postgres://h/d?unheard=of", "unknown"),
    ] {
        let error = refusal(url);
        assert!(error.contains(says), "{url}: {error}");
    }
    // There it says what is asked for anyway.
    assert_eq!(ignored("postgres://h/d?sslaccept=strict&sslmode=verify-full"), ["sslaccept"]);
}

#[test]
fn the_last_of_an_option_counts() {
    let cloud = read("postgres://me:p@localhost/d?host=/cloudsql/p:r:i&user=you&password=q");
    assert_eq!(hosts(&cloud), ["/cloudsql/p:r:i"]);
    assert_eq!((cloud.config.get_user(), cloud.config.get_password()), (Some("you"), Some(&b"q"[..])));
    let words = read("host=a port=1 host=b,c port=2,3 dbname=d dbname=e sslmode=disable sslmode=require");
    assert_eq!((hosts(&words), words.config.get_ports()), (vec!["b".to_owned(), "c".to_owned()], &[2, 3][..]));
    assert_eq!((words.config.get_dbname(), words.tls.mode.as_deref()), (Some("e"), Some("require")));
    assert_eq!(read("postgres://h/d?port=6543").config.get_ports(), [6543]);
    assert_eq!(read("postgres://h/d?schema=a&schema=b").schema.unwrap().name(), "b");
    assert_eq!(read("host=h schema='My app'").schema.unwrap().name(), "My app");
    assert!(read("host=h schema=app schema=''").schema.is_none());
}

#[test]
fn switches_of_others_are_words_of_sslmode() {
    let mode = |url: &str| read(url).tls.mode;
    assert_eq!(mode("postgres://h/d?ssl=true").as_deref(), Some("require"));
    assert_eq!(mode("postgres://h/d?ssl=no-verify").as_deref(), Some("require"));
    assert_eq!(mode("postgres://h/d?ssl=verify-full").as_deref(), Some("verify-full"));
    assert_eq!(mode("postgres://h/d?sslmode=verify-full&ssl=true").as_deref(), Some("verify-full"));
    assert_eq!(mode("postgres://h/d?requiressl=1").as_deref(), Some("require"));
    assert_eq!(mode("postgres://h/d?requiressl=0&ssl=false"), None);
}

#[test]
fn what_the_string_does_not_say_libpqs_variables_say() {
    let variables = |name: &str| {
        let known = [("PGHOST", "one,/run/x"), ("PGPORT", "6000"), ("PGUSER", "me"), ("PGPASSWORD", "p w")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let options = Options::read("postgres:///d", &variables).unwrap();
    assert_eq!(
        (hosts(&options), options.config.get_ports()),
        (vec!["one".to_owned(), "/run/x".to_owned()], &[6000][..])
    );
    assert_eq!((options.config.get_user(), options.config.get_password()), (Some("me"), Some(&b"p w"[..])));
    let options = Options::read("postgres://you:q@h:1/d", &variables).unwrap();
    assert_eq!((hosts(&options), options.config.get_ports()), (vec!["h".to_owned()], &[1][..]));
    assert_eq!((options.config.get_user(), options.config.get_password()), (Some("you"), Some(&b"q"[..])));
    assert!(Options::read("postgres://", &variables).is_err());
    assert!(Options::read("postgres:///d", &|name| (name == "PGPORT").then(|| "s3cret".to_owned())).is_err());
}

#[test]
fn a_string_without_a_host_means_the_socket_of_this_machine() {
    for url in ["postgres:///d", "postgres://me@/d", "dbname=d", "postgres://:5432/d", "host='' dbname=d"] {
        let options = read(url);
        assert!(matches!(options.config.get_hosts(), [Host::Unix(folder)] if folder.starts_with("/")), "{url}");
    }
    let socket = read("postgres://%2Fvar%2Frun/d");
    assert!(matches!(socket.config.get_hosts(), [Host::Unix(folder)] if folder == Path::new("/var/run")));
}

#[test]
fn hosts_addresses_and_ports_go_together() {
    let options = read("postgres://a,b/d?hostaddr=127.0.0.1,::1&port=5,6");
    assert_eq!(options.config.get_hostaddrs(), ["127.0.0.1", "::1"].map(|text| text.parse::<IpAddr>().unwrap()));
    // The name is what TLS asks for.
    assert_eq!(hosts(&read("hostaddr=10.0.0.1 dbname=d")), ["10.0.0.1"]);
    assert_eq!(hosts(&read("postgres://[::1]:5/d")), ["::1"]);
    for wrong in ["postgres://a,b/d?port=1,2,3", "host=a,b hostaddr=::1", "host=/run/x hostaddr=::1", "host=a port=0"] {
        refusal(wrong);
    }
}

#[test]
fn times_are_the_operators_where_he_gives_them() {
    let (usual, given) =
        (read("host=h"), read("host=h connect_timeout=3 tcp_user_timeout=500 keepalives=0 keepalives_idle=7"));
    let seconds = Duration::from_secs;
    assert_eq!(usual.config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
    assert_eq!((given.config.get_connect_timeout(), given.config.get_keepalives()), (Some(&seconds(3)), false));
    assert_eq!(given.config.get_tcp_user_timeout(), Some(&Duration::from_millis(500)));
    assert_eq!((usual.config.get_keepalives_idle(), given.config.get_keepalives_idle()), (SILENCE, seconds(7)));
}
