//! Servers that ask who calls: certificates of roles, by sslcert and sslkey.

use crate::certificates::{Authority, Key};
use crate::tls_server::{ANY, HOST, NOW, Tls};

const CERTIFIED: &str = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n";
/// The certificate in place of a password.
const CERTIFICATE_ONLY: &str = "hostssl all all 127.0.0.1/32 cert\n";

#[tokio::test]
async fn roles_log_in_with_certificates_and_what_is_wrong_with_one_is_said() {
    let tls = Tls::start().await;
    tls.server.write("root.crt", &tls.authority.certificate());
    tls.certify(HOST, NOW).await;
    tls.reload("ALTER SYSTEM SET ssl_ca_file = 'root.crt'").await;
    tls.admit(CERTIFIED).await;

    let ours = tls.authority.issue_to_role("postgres", NOW);
    let (certificate, key) = (tls.file("our.crt", &ours.certificate), tls.file("our.key", &ours.key));
    let both = tls.file("both.pem", &format!("{}{}", ours.key, ours.certificate));
    let ca = tls.file("ca.pem", &tls.authority.certificate());
    let with = |certificate: &std::path::Path, key: &std::path::Path| {
        format!("sslmode=require&sslcert={}&sslkey={}", certificate.display(), key.display())
    };
    let good = with(&certificate, &key);
    tls.gets_in(&good).await;
    tls.gets_in(&format!("{good}&sslrootcert={}&channel_binding=require", ca.display())).await;
    tls.gets_in(&format!("sslmode=require&sslcert={}", both.display())).await;
    for version in ["TLSv1.2", "TLSv1.3"] {
        tls.gets_in(&format!("{good}&ssl_min_protocol_version={version}&ssl_max_protocol_version={version}")).await;
    }

    let missing = ["requires a valid client certificate", "sslcert and sslkey"];
    tls.is_kept_out("sslmode=require", &missing).await;
    tls.is_kept_out(&format!("{good}&sslcertmode=disable"), &missing).await;
    let other = tls.authority.issue_to_role("somebody", NOW);
    let others = with(&tls.file("other.crt", &other.certificate), &tls.file("other.key", &other.key));
    tls.is_kept_out(&others, &["authentication failed"]).await;
    let foreign = Authority::new("Another CA", Key::Ec).issue_to_role("postgres", NOW);
    let foreign = with(&tls.file("foreign.crt", &foreign.certificate), &tls.file("foreign.key", &foreign.key));
    // Where the version is older the server judges before the handshake has ended, and may hang up before its reason is read.
    let refused = ["foreign.crt", "ssl_ca_file"];
    tls.is_kept_out(&format!("{foreign}&ssl_max_protocol_version=TLSv1.2"), &refused).await;
    let old = tls.authority.issue_to_role("postgres", (2020, 2021));
    let old = with(&tls.file("old.crt", &old.certificate), &tls.file("old.key", &old.key));
    let expired = ["old.crt", "valid today"];
    tls.is_kept_out(&format!("{old}&ssl_max_protocol_version=TLSv1.2"), &expired).await;

    let absent = tls.world.dir().join("absent.pem");
    let encrypted = tls.file("encrypted.key", &tls.authority.encrypted(&ours.key));
    let elses = tls.world.dir().join("other.key");
    let text = tls.file("text.pem", "this is no certificate\n");
    for (parameters, words) in [
        (with(&absent, &key), ["sslcert", "absent.pem", "No such file"]),
        (with(&certificate, &absent), ["sslkey", "absent.pem", "No such file"]),
        (with(&certificate, &encrypted), ["sslkey", "encrypted.key", "openssl pkey"]),
        (with(&certificate, &elses), ["sslkey", "other.key", "another certificate"]),
        (with(&text, &key), ["sslcert", "text.pem", "no certificate in it"]),
        (with(&certificate, &text), ["sslkey", "text.pem", "no private key in it"]),
        // As Prisma has it, where sslcert is a CA's.
        (format!("sslmode=require&sslcert={}", ca.display()), ["sslkey", "ca.pem", "sslrootcert"]),
        (format!("sslmode=require&sslkey={}", key.display()), ["sslkey", "of no use", "sslcert"]),
    ] {
        tls.is_kept_out(&parameters, &words).await;
    }

    // Every connection of a worker's, without a password.
    tls.admit(&format!("{CERTIFICATE_ONLY}local all all trust\n")).await;
    let (receipt, _) = tls.world.receipt("a.jpg").await;
    let url = tls.url(&good).replace(&password_of(tls.world.db.url()), "");
    let host = tls.world.run(&["--every", "1h", "--admin", "off"]).env("DATABASE_URL", &url).spawn();
    tls.world.becomes(&receipt, "ocr_done").await;
    let certified = "pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE 'receipt-worker%' AND \
                     s.client_dn = '/CN=postgres'";
    assert!(tls.world.count(certified).await >= 3);
    host.stop().await.ok();
    tls.admit(ANY).await;

    // A server that has no version in common with us.
    tls.reload("ALTER SYSTEM SET ssl_max_protocol_version = 'TLSv1.2'").await;
    tls.is_kept_out("sslmode=require&ssl_min_protocol_version=TLSv1.3", &["none of the versions"]).await;
    tls.gets_in("sslmode=require").await;
    tls.server.stop().await;
}

/// With the colon before it.
fn password_of(url: &str) -> String {
    let (login, _) = url.split_once('@').unwrap();
    format!(":{}", login.rsplit(':').next().unwrap())
}
