//! `host health`: how the host on this machine is, for a platform that runs a command to find out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::args::AdminArgs;
use super::output;
use super::quantity::duration;
use crate::admin::readiness;

/// Says whether the host on this machine works, for a platform that finds out by a command (exec probes, HEALTHCHECK).
///
/// It is ready when its component, storage, database and schema are there, and the queue was looked at lately. Exit code 0: it is;
/// 1: it is not, or nobody answers. Needs no token and no other setting than --admin.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host health                               ready?
  host health --live                        is there a host at all? (it may be waiting for the database)
  host health --json | jq .queue.backlog")]
pub(crate) struct Health {
    #[command(flatten)]
    admin: AdminArgs,
    /// Only whether it answers: for a probe whose failure restarts it. A database that is away is no reason to.
    #[arg(long)]
    live: bool,
    /// How long the answer may take.
    #[arg(long, env = "WORKER_HEALTH_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "TIME")]
    timeout: Duration,
    /// What it answers, as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl Health {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let address = from_here(self.admin.address()?);
        let path = if self.live { "/healthz" } else { "/readyz" };
        let Ok(answer) = tokio::time::timeout(self.timeout, readiness(address, path)).await else {
            anyhow::bail!("the host on {address} does not answer within {} s", self.timeout.as_secs_f64());
        };
        let (ok, told) = answer?;
        if self.json {
            output::json(&told)?;
        } else if ok {
            output::line(if self.live { "live" } else { "ready" })?;
        }
        if !ok && !self.json {
            anyhow::bail!("not ready: {}", wrong(&told).join("; "));
        }
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A host that listens on all addresses is asked on this machine's own.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn wrong(told: &Value) -> Vec<String> {
    let checks = told.get("checks").and_then(Value::as_object).into_iter().flatten();
    checks
        .filter_map(|(name, check)| {
            let why = check.get("why").and_then(Value::as_str)?;
            Some(format!("{}: {}", output::plain(name), output::plain(why)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_named() {
        let told = json!({ "checks": { "a": { "ok": true }, "b": { "ok": false, "why": "gone\u{7}" } } });
        assert_eq!(wrong(&told), ["b: gone\u{FFFD}"]);
        assert!(wrong(&Value::Null).is_empty());
    }

    #[test]
    fn all_addresses_are_this_machine() {
        for (listens, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.1.2.3:1", "10.1.2.3:1"), ("[::1]:1", "[::1]:1")]
        {
            assert_eq!(listens.parse().map(from_here), asked.parse());
        }
    }
}
