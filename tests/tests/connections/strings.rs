//! Connection strings as psql and the libraries of apps take them.

use crate::tls_server::{HOST, NOW, Tls};

#[tokio::test]
async fn strings_that_others_take_are_taken_and_what_is_ignored_is_said_once() {
    let tls = Tls::start().await;
    tls.certify(HOST, NOW).await;
    tls.admit("local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n").await;
    let (base, _) = tls.world.db.url().split_once('?').unwrap();
    let (login, rest) = base.strip_prefix("postgresql://").unwrap().split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let (_, port) = rest.strip_suffix("/app").unwrap().split_once(':').unwrap();
    let folder = tls.server.cluster().display().to_string();
    let encoded = folder.replace('/', "%2F");
    let status = |url: &str| tls.world.host().env("DATABASE_URL", url).arg("status");

    for good in [
        format!("postgres://{login}@%2F{}:{port}/app?sslmode=verify-full", encoded.strip_prefix("%2F").unwrap()),
        format!("postgres://{login}@localhost:{port}/app?host={folder}"),
        format!("postgres:///app?host={folder}&port={port}&user={user}&password={password}&sslmode=require"),
        format!("host='{folder}' port = {port} dbname='app' user={user} password='{password}' sslmode=require"),
        format!("host=no.where host=127.0.0.1 port={port} dbname=app user={user} password={password} schema=public"),
        format!("hostaddr=127.0.0.1 port={port} dbname=app user={user} password={password} sslmode=require"),
        format!("postgres://{login}@{HOST}:{port}/app?hostaddr=127.0.0.1&sslmode=require&sslsni=0"),
    ] {
        let finished = status(&good).run().await;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{good}");
    }
    let of_libpq = status("postgres:///app").env("PGHOST", &folder).env("PGPORT", port).env("PGUSER", user);
    of_libpq.env("PGPASSWORD", password).run().await.ok();
    let nowhere = status("postgres:///app").env("PGHOST", "/not/there").run().await.error();
    assert!(nowhere.contains("/not/there:5432/app"), "{nowhere}");

    // A whole worker over the socket; what its string has for others is named once, for two strings and five connections.
    let url = format!(
        "postgres://{login}@%2F{}:{port}/app?pgbouncer=true&connection_limit=1&supa=s3cret&gssencmode=disable&sslpassword=s3cret",
        encoded.strip_prefix("%2F").unwrap()
    );
    let (receipt, _) = tls.world.receipt("a.jpg").await;
    let run = tls.world.run(&["--once", "--admin", "off"]).env("DATABASE_URL", &url).env("DATABASE_DIRECT_URL", &url);
    let finished = run.run().await;
    assert_eq!(tls.world.status_of(&receipt).await, "ocr_done");
    let said = tests::events(&finished.stderr, "database.options_ignored");
    assert!(
        matches!(said.as_slice(), [line] if line.contains("connection_limit gssencmode pgbouncer sslpassword supa")),
        "{said:?}"
    );
    assert!(!finished.stderr.contains("s3cret"));

    let doctor = status(&url).run().await;
    doctor.ok();
    let doctor = tls.world.host().env("DATABASE_URL", &url).args(["doctor", "--json"]).run().await.json_lines();
    let line = doctor.iter().find(|line| line["check"] == "tls").unwrap();
    assert!(line["detail"].as_str().unwrap().contains("socket"), "{line}");
    tls.server.stop().await;
}
