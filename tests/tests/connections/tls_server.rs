//! A Postgres whose certificates are made here, and a world that uses it.

use std::path::PathBuf;

use tests::{Finished, TestDatabase, World, WorldSettings, eventually};

use crate::certificates::{Authority, Certificate, Key};
use crate::server::{Server, folder};

/// The host's name, which no resolver knows.
pub const HOST: &str = "db.internal";
pub const NOW: (u32, u32) = (2020, 2090);
/// As on RDS with rds.force_ssl.
pub const TLS_ONLY: &str = "hostssl all all 127.0.0.1/32 scram-sha-256\n";
pub const ANY: &str = "host all all 127.0.0.1/32 scram-sha-256\n";

/// A server with TLS, and its CA.
pub struct Tls {
    pub server: Server,
    pub world: World,
    pub authority: Authority,
}

impl Tls {
    pub async fn start() -> Self {
        // Its socket is in its own folder.
        let server = Server::start_in(folder(), &["unix_socket_directories=."]).await;
        let db = TestDatabase::within(&server.postgres).await;
        let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
        Self { server, world, authority: Authority::new("Our CA", Key::Ec) }
    }

    /// Gives the server another certificate.
    pub async fn certify(&self, host: &str, years: (u32, u32)) {
        self.take(&self.authority.issue(host, years)).await;
    }

    /// Gives the server a certificate of any CA.
    pub async fn take(&self, certificate: &Certificate) {
        self.server.write("server.crt", &certificate.certificate);
        self.server.write("server.key", &certificate.key);
        self.reload("ALTER SYSTEM SET ssl = on").await;
    }

    pub async fn admit(&self, rules: &str) {
        self.server.write("pg_hba.conf", rules);
        self.reload("").await;
    }

    /// Returns when new sessions have the new configuration: the server tells the old ones last.
    pub async fn reload(&self, sql: &str) {
        let loaded = async || self.world.text("SELECT pg_conf_load_time()::text", &[]).await;
        let before = loaded().await;
        self.world.execute(sql).await;
        self.world.execute("SELECT pg_reload_conf()").await;
        eventually("the configuration is loaded", async || (loaded().await != before).then_some(())).await;
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.world.dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The address with these parameters, by the host's name.
    pub fn url(&self, parameters: &str) -> String {
        let (base, _) = self.world.db.url().split_once('?').unwrap();
        format!("{}?hostaddr=127.0.0.1&{parameters}", base.replace("@127.0.0.1:", &format!("@{HOST}:")))
    }

    pub async fn connect(&self, parameters: &str) -> Finished {
        self.world.host().env("DATABASE_URL", self.url(parameters)).arg("status").run().await
    }

    pub async fn gets_in(&self, parameters: &str) {
        self.connect(parameters).await.ok();
    }

    pub async fn is_kept_out(&self, parameters: &str, words: &[&str]) {
        let finished = self.connect(parameters).await;
        let lines = finished.stderr.lines().count();
        let error = finished.error();
        assert!(words.iter().all(|word| error.contains(word)), "{parameters}: {words:?} are not in: {error}");
        assert_eq!(lines, 1, "{parameters}: {error}");
    }
}
