//! Secrets Manager and Parameter Store as two others serve them, filled with the AWS CLI.

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tests::eventually;
use tests::peers::peer;
use tokio::process::{Child, Command};

/// A server; ends when dropped.
pub struct Aws {
    pub endpoint: String,
    _server: Child,
    dir: TempDir,
}

impl Aws {
    pub async fn moto() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peer("moto_server"));
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        })
        .await
    }

    pub async fn ministack() -> Self {
        Self::start(|port| {
            let mut command = Command::new(peer("python3"));
            command.args(["-m", "ministack"]).env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
            command
        })
        .await
    }

    async fn start(command: impl FnOnce(u16) -> Command) -> Self {
        let dir = TempDir::new().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(port);
        command.env("HOME", dir.path()).env("TMPDIR", dir.path()).current_dir(dir.path()).kill_on_drop(true);
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("it listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        Self { endpoint: format!("http://127.0.0.1:{port}"), _server: server, dir }
    }

    /// `aws ARGS`, which must succeed; what it prints.
    pub async fn cli(&self, args: &[&str]) -> Value {
        let mut command = Command::new(peer("aws"));
        command
            .args(args)
            .args(["--output", "json"])
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("HOME", self.dir.path());
        command
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", "us-east-1");
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "aws {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}
