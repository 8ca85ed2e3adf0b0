//! Memory of the host comes back. In a process of its own: other tests take memory too.
#![cfg(target_os = "linux")]

use std::time::Duration;

use host::sandbox::Limits;

use super::harm::{Field, limits};
use super::{Attack, Case, Ends, How};

/// How often each attack is repeated.
const REPEATS: usize = 10;
/// How often before that: what is kept for the next run is taken in the first ones.
const WARM_UP: usize = 3;
/// Bytes that the process may have grown by in the end, for all attacks together: a quarter of a megabyte for each run is
/// more than that.
const MOST_GROWTH: u64 = 48 << 20;

#[test]
fn memory_of_the_host_comes_back() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["attacks::memory::repeated", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "memory_of_the_host_comes_back runs it, in a process of its own"]
async fn repeated() {
    let field = Field::new(Limits { deadline: Duration::from_millis(30), ..limits() }).await;
    let runs = Attack::ALL.iter().filter_map(|attack| match attack.case() {
        Case { how: How::Run(bytes), ends: Ends::Charged(_) } => Some((*attack, bytes)),
        _ => None,
    });
    let programs: Vec<_> =
        runs.map(|(attack, bytes)| (attack, field.sandbox.load_bytes("attack", &bytes).unwrap())).collect();
    let mut before = 0;
    for repeat in 0..WARM_UP + REPEATS {
        if repeat == WARM_UP {
            before = resident();
        }
        for (attack, program) in &programs {
            let job = field.job(&format!("{attack:?} {repeat}")).await;
            assert!(field.run(program, job).await.is_some(), "{attack:?}");
        }
    }
    let after = resident();
    assert!(after < before + MOST_GROWTH, "the host grew from {before} to {after} bytes");
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
