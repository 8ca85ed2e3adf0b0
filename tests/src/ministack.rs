//! AWS in one process that we did not write: ministack serves Lambda's runtime API, SQS, EventBridge and S3, and starts what is in
//! a function's zip. It is spoken to with boto3. `make setup` installs both, pinned (tests/deploy/requirements.txt).

use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use crate::peers::peer;
use crate::{HostCommand, eventually};

const ROLE: &str = "arn:aws:iam::000000000000:role/worker";

/// See the module. Ends when dropped, with all of its functions.
pub struct Ministack {
    endpoint: String,
    client: Boto3,
    server: Child,
    dir: TempDir,
}

impl Ministack {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more in its environment.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut server = Command::new(peer("python3"));
        server.args(["-m", "ministack"]).env_clear().kill_on_drop(true).stdin(Stdio::null());
        server.stdout(log.try_clone().unwrap()).stderr(log);
        server.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir.path()).env("TMPDIR", dir.path());
        server.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
        server.envs(variables.iter().copied());
        let mut server = server.spawn().unwrap();
        eventually("ministack listens", async || {
            let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            assert!(server.try_wait().unwrap().is_none(), "ministack ended: {}", log());
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        let endpoint = format!("http://127.0.0.1:{port}");
        Self { client: Boto3::start(&endpoint), endpoint, server, dir }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One call of boto3's; fails where it does.
    pub async fn call(&self, service: &str, method: &str, args: Value) -> Value {
        let answer = self.client.call(service, method, args).await;
        answer.unwrap_or_else(|error| panic!("{service} {method}: {error}\n{}", self.log()))
    }

    /// A function whose `bootstrap` is this program with this environment: what `make package` puts into a zip.
    pub async fn function(&self, name: &str, host: HostCommand, timeout: u32) {
        let command = host.into_inner();
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', r"'\''"));
        let mut script = "#!/bin/sh\n".to_owned();
        for (variable, value) in command.as_std().get_envs() {
            script += &match value {
                Some(value) => format!("export {}={}\n", variable.to_str().unwrap(), quoted(value)),
                None => format!("unset {}\n", variable.to_str().unwrap()),
            };
        }
        script += &format!("exec {}\n", quoted(command.as_std().get_program()));
        let code = json!({ "ZipFile": { "$zip": { "bootstrap": script } } });
        self.create(name, code, timeout, json!({})).await;
    }

    /// A function of this zip, with these variables.
    pub async fn function_of_zip(&self, name: &str, zip: &Path, timeout: u32, variables: Value) {
        self.create(name, json!({ "ZipFile": { "$file": zip } }), timeout, variables).await;
    }

    async fn create(&self, name: &str, code: Value, timeout: u32, variables: Value) {
        let args = json!({
            "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": ROLE, "MemorySize": 1024,
            "Timeout": timeout, "Code": code, "Environment": { "Variables": variables },
        });
        self.call("lambda", "create_function", args).await;
    }

    /// Its answer, and whether that is an error.
    pub async fn invoke(&self, function: &str, event: &Value) -> (Value, bool) {
        let args = json!({ "FunctionName": function, "Payload": { "$text": event.to_string() } });
        let answer = self.call("lambda", "invoke", args).await;
        let payload = answer["Payload"].as_str().unwrap();
        (serde_json::from_str(payload).unwrap(), answer["FunctionError"].is_string())
    }

    /// What a good answer's body says.
    pub async fn works(&self, function: &str, event: &Value) -> Value {
        let (answer, is_error) = self.invoke(function, event).await;
        assert!(!is_error && answer["statusCode"] == 200, "{answer}\n{}", self.log());
        serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
    }

    /// The process that serves a function, if there is one.
    pub fn process_of(&self, function: &str) -> Option<FunctionProcess> {
        let parent = self.server.id().unwrap().to_string();
        let name = format!("AWS_LAMBDA_FUNCTION_NAME={function}").into_bytes();
        std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let is_child = status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == parent));
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            (is_child && environment.split(|byte| *byte == 0).any(|variable| variable == name))
                .then_some(FunctionProcess(pid))
        })
    }

    /// What it says of itself.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

/// A function's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionProcess(u32);

impl FunctionProcess {
    pub fn signal(self, signal: Signal) {
        let _ = kill_process(Pid::from_raw(self.0.cast_signed()).unwrap(), signal);
    }

    /// Its connections over TCP, but for those to Lambda's runtime API.
    pub fn connections(self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().flatten();
        let links = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let sockets: Vec<String> = links
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let tables =
            ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
        let environment = std::fs::read(format!("/proc/{}/environ", self.0)).unwrap();
        let mut variables =
            environment.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok());
        let api = variables.find_map(|variable| variable.strip_prefix("AWS_LAMBDA_RUNTIME_API=")).unwrap();
        let api: u16 = api.rsplit(':').next().unwrap().parse().unwrap();
        let others = tables.iter().flat_map(|table| table.lines()).filter(|line| {
            let mut columns = line.split_whitespace();
            let is_to_api = columns.nth(2).is_some_and(|remote| remote.ends_with(&format!(":{api:04X}")));
            let is_ours = columns.nth(6).is_some_and(|inode| sockets.iter().any(|socket| socket == inode));
            is_ours && !is_to_api
        });
        others.count()
    }
}

/// Python with boto3, as a child that makes one call after another.
struct Boto3 {
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    _child: Child,
}

impl Boto3 {
    fn start(endpoint: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/aws.py");
        let mut child = Command::new(peer("python3"));
        child.arg(script).arg(endpoint).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
        child.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        let mut child = child.spawn().unwrap();
        let pipes = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Self { pipes: Mutex::new(pipes), _child: child }
    }

    async fn call(&self, service: &str, method: &str, args: Value) -> Result<Value, String> {
        let mut pipes = self.pipes.lock().await;
        let call = json!({ "service": service, "method": method, "args": args });
        pipes.0.write_all(format!("{call}\n").as_bytes()).await.unwrap();
        let line = pipes.1.next_line().await.unwrap().unwrap_or_else(|| panic!("boto3 ended at {service} {method}"));
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}
