//! Channel binding: whatever the server's certificate is signed with, both ends hash it alike, or it is said that they cannot.

use crate::certificates::{Authority, Key};
use crate::tls_server::{HOST, NOW, Tls};

const PSS: [&str; 4] = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];

#[tokio::test]
async fn a_login_is_bound_to_certificates_of_every_signature_that_has_a_hash() {
    let tls = Tls::start().await;
    let required = "sslmode=require&channel_binding=require";
    tls.is_kept_out("sslmode=prefer&channel_binding=require", &["channel_binding=require", "speak TLS"]).await;

    for (key, padding) in [(Key::Ec, &[][..]), (Key::Rsa, &[]), (Key::Rsa, &PSS)] {
        let authority = Authority::new("A CA", key);
        let ca = tls.file("ca.pem", &authority.certificate());
        for hash in ["sha224", "sha256", "sha384", "sha512"] {
            let signed = [&["-md", hash], padding].concat();
            tls.take(&authority.issue_signed(HOST, NOW, &signed)).await;
            // A wrong hash is one that the server refuses.
            tls.gets_in(required).await;
            let full = format!("sslmode=verify-full&channel_binding=require&sslrootcert={}", ca.display());
            match (key, hash) {
                (_, "sha224") | (Key::Ec, "sha512") => tls.is_kept_out(&full, &["cannot be checked here"]).await,
                _ => tls.gets_in(&full).await,
            }
        }
    }

    let authority = Authority::new("A CA", Key::Ed25519);
    tls.take(&authority.issue_signed(HOST, NOW, &["-md", "null"])).await;
    tls.is_kept_out(required, &["signed with Ed25519", "sslmode=verify-full", "channel_binding=prefer"]).await;
    tls.gets_in("sslmode=require").await;
    let ca = tls.file("ca.pem", &authority.certificate());
    tls.gets_in(&format!("sslmode=verify-full&channel_binding=prefer&sslrootcert={}", ca.display())).await;

    // A server that asks for no password binds nothing.
    tls.certify(HOST, NOW).await;
    tls.admit("host all all 127.0.0.1/32 trust\n").await;
    tls.is_kept_out(required, &["did not bind this login", "scram-sha-256"]).await;
    tls.gets_in("sslmode=require&channel_binding=disable").await;
    tls.server.stop().await;
}
