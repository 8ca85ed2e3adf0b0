//! TLS as libpq has it, against a Postgres whose certificates are made here: what gets in, and what the one line says
//! that keeps the others out.

use crate::certificates::{Authority, Key};
use crate::tls_server::{ANY, HOST, NOW, TLS_ONLY, Tls};

#[tokio::test]
async fn tls_means_what_libpq_means_and_says_what_is_wrong() {
    let tls = Tls::start().await;

    // A server without TLS.
    tls.gets_in("sslmode=prefer").await;
    tls.is_kept_out("sslmode=require", &["speaks no TLS", "sslmode=disable"]).await;

    tls.certify(HOST, NOW).await;
    let ca = tls.file("ca.pem", &tls.authority.certificate());
    let other = tls.file("other.pem", &Authority::new("Another CA", Key::Ec).certificate());
    // As Amazon's for RDS: many in one file.
    let both = format!("# two\n{}{}", std::fs::read_to_string(&other).unwrap(), tls.authority.certificate());
    let bundle = tls.file("bundle.pem", &both);
    let no_ca = tls.file("no-ca.pem", "this is no certificate\n");
    let (ca, other, bundle, no_ca) = (ca.display(), other.display(), bundle.display(), no_ca.display());

    for good in [
        "sslmode=disable".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-full&sslrootcert={ca}"),
        format!("sslmode=verify-full&sslrootcert={bundle}"),
        format!("sslmode=verify-ca&sslrootcert={ca}"),
        format!("sslmode=require&sslrootcert={ca}"),
        // Nobody asked for a check.
        format!("sslmode=prefer&sslrootcert={other}"),
        // Bound to this very TLS session: nobody in the middle can pass the password on.
        "sslmode=require&channel_binding=require".to_owned(),
    ] {
        tls.gets_in(&good).await;
    }
    let unknown = ["has signed the server's certificate", "sslrootcert"];
    tls.is_kept_out(&format!("sslmode=verify-full&sslrootcert={other}"), &["other.pem", unknown[0], unknown[1]]).await;
    tls.is_kept_out(&format!("sslmode=verify-ca&sslrootcert={other}"), &unknown).await;
    tls.is_kept_out(&format!("sslmode=require&sslrootcert={other}"), &unknown).await;
    tls.is_kept_out("sslmode=verify-full", &["that this system knows", unknown[0]]).await;
    tls.is_kept_out("sslrootcert=system", &["that this system knows", unknown[0]]).await;
    tls.is_kept_out("sslmode=require&sslrootcert=system", &["too weak", "sslmode=verify-full"]).await;
    tls.is_kept_out("sslmode=verify-full&sslrootcert=/not/there.pem", &["sslrootcert /not/there.pem"]).await;
    tls.is_kept_out(&format!("sslmode=verify-full&sslrootcert={no_ca}"), &["no-ca.pem", "PEM"]).await;

    // By variable and by flag.
    let full = tls.url("sslmode=verify-full");
    let status = || tls.world.host().env("DATABASE_URL", &full).arg("status");
    status().env("PGSSLROOTCERT", ca.to_string()).run().await.ok();
    status().args(["--database-root-cert", &ca.to_string()]).run().await.ok();
    assert!(status().env("PGSSLROOTCERT", other.to_string()).run().await.error().contains(unknown[0]));

    // The whole path, every connection of it.
    let (receipt, _) = tls.world.receipt("a.jpg").await;
    let url = tls.url(&format!("sslmode=verify-full&sslrootcert={ca}"));
    let host = tls.world.run(&["--every", "1h", "--admin", "off"]).env("DATABASE_URL", &url).spawn();
    tls.world.becomes(&receipt, "ocr_done").await;
    let plain = "pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE 'receipt-worker%' AND";
    assert!(tls.world.count(&format!("{plain} s.ssl")).await >= 3);
    assert_eq!(tls.world.count(&format!("{plain} NOT s.ssl")).await, 0);
    host.stop().await.ok();

    let doctor = async |parameters: &str| {
        let doctor = tls.world.host().env("DATABASE_URL", tls.url(parameters)).args(["doctor", "--json"]);
        let lines = doctor.run().await.json_lines();
        lines.iter().find(|line| line["check"] == "tls").unwrap()["detail"].as_str().unwrap().to_owned()
    };
    assert!(doctor("sslmode=disable").await.starts_with("not encrypted"));
    assert!(doctor("sslmode=prefer").await.contains("encrypted; its certificate is not checked"));
    assert!(doctor(&format!("sslmode=verify-full&sslrootcert={ca}")).await.contains("its name are checked"));

    tls.admit(TLS_ONLY).await;
    tls.is_kept_out("sslmode=disable", &["no pg_hba.conf entry", "over TLS only", "sslmode=require"]).await;
    tls.gets_in("sslmode=prefer").await;
    tls.admit(ANY).await;

    tls.certify("another.internal", NOW).await;
    let name = ["is for", "another.internal", "sslmode=verify-ca"];
    tls.is_kept_out(&format!("sslmode=verify-full&sslrootcert={ca}"), &name).await;
    tls.gets_in(&format!("sslmode=verify-ca&sslrootcert={ca}")).await;
    tls.gets_in("sslmode=require").await;

    tls.certify(HOST, (2020, 2021)).await;
    tls.is_kept_out(&format!("sslmode=verify-full&sslrootcert={ca}"), &["has expired", "renew"]).await;
    tls.is_kept_out(&format!("sslmode=verify-ca&sslrootcert={ca}"), &["has expired"]).await;
    tls.gets_in("sslmode=require").await;
    tls.certify(HOST, (2080, 2090)).await;
    tls.is_kept_out(&format!("sslmode=verify-full&sslrootcert={ca}"), &["not valid yet", "clocks"]).await;

    tls.server.stop().await;
}
