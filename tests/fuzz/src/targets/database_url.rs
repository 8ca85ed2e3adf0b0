//! DATABASE_URL: any text around a password that must never be shown.

use host::queue::Database;

use crate::Target;

pub const TARGET: Target = Target {
    name: "database-url",
    run,
    seeds: || SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
    longest: 512,
    words: &[
        "@",
        "localhost",
        ":5432",
        "/db",
        "?sslmode=",
        "&sslmode=",
        "disable",
        "prefer",
        "require",
        "verify-full",
        "sslrootcert=",
        "options=",
        "-c%20",
        "application_name=",
        "host=",
        "hostaddr=",
        "port=",
        "user=",
        "dbname=",
        "connect_timeout=",
        "target_session_attrs=read-write",
        "keepalives=",
        "pgbouncer=true",
        "service=",
        "ssl=true",
        "channel_binding=require",
        "schema=",
        "password=",
        ";",
        "://",
        "%40",
        "%00",
        "%zz",
        "[::1]",
        ",",
        "'",
        "\\",
    ],
};

/// What stands behind the password.
const SEEDS: [&str; 10] = [
    "@localhost:5432/db",
    "@db.example.com:6543/app?sslmode=require&options=-c%20statement_timeout%3D5s",
    "@[::1]/db?connect_timeout=3&application_name=x",
    "@one,two:1,3/db?target_session_attrs=read-write",
    " host=localhost port=5432 dbname=db sslmode=prefer",
    " host=/run/postgresql dbname='a b'",
    "@localhost/db?sslmode=disable",
    "@/db?host=/run/x&port=5,6&host=a,b&pgbouncer=true&supa=x",
    ";Host=h;Database=db",
    "' host = '/run/x' schema='My app' options='-c a=b'",
];

const PASSWORD: &str = "S3CR3Tpassw0rd";

/// What stands before it: forms that we read, forms of others, and passwords that nobody has encoded.
const BEFORE: [&str; 14] = [
    "postgres://user:",
    "password=",
    "password='",
    "host=h password = ",
    "postgresql+asyncpg://user:",
    "jdbc:postgresql://h/db?user=u&password=",
    "mysql://user:",
    "psql 'postgres://user:",
    "Host=h;Username=u;Password=",
    "host=h;user=u;password=",
    "postgres://h/db;user=u;password=",
    "postgres://user:a@",
    "postgres://user:12?",
    "postgres://user:1/",
];

fn run(data: &[u8]) {
    let Ok(rest) = std::str::from_utf8(data) else { return };
    // Reading certificates is slow, and no parsing of ours; and libFuzzer learns the password.
    let lower = rest.to_ascii_lowercase();
    let reads_files = ["verify", "sslrootcert", "sslcert", "sslkey", "ssl-"].iter().any(|word| lower.contains(word));
    if reads_files || rest.contains(PASSWORD) {
        return;
    }
    for before in BEFORE {
        // A host or a database that is called so is named, where no @ says that it is a password.
        let is_named = match before.chars().next_back() {
            Some('@') => !rest.contains('@') || rest.contains('?'),
            Some('/') => !rest.contains('@'),
            _ => false,
        };
        if is_named {
            continue;
        }
        let url = format!("{before}{PASSWORD}{rest}");
        // Where an @ is missing, the password is in the host's place; who writes so is told nothing of it either.
        let shown = match Database::parse(&url) {
            Ok(database) => format!("{} {database:?}", database.at()),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
    let _ = Database::parse(rest);
}
