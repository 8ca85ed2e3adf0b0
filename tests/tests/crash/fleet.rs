//! Hosts, each with a link of its own.

use std::sync::Arc;

use rustix::process::Signal;
use tests::wire::{Link, Wire};
use tests::{Finished, Running};

pub(crate) struct Fleet {
    wire: Arc<Wire>,
    args: Vec<&'static str>,
    /// By number; none where one was killed.
    members: Vec<Option<Member>>,
    /// The number of the first that was not told to stop.
    first: usize,
}

struct Member {
    host: Running,
    _link: Link,
}

impl Fleet {
    /// Starts so many, and waits until they work.
    pub(crate) async fn start(wire: &Arc<Wire>, hosts: usize, args: Vec<&'static str>) -> Self {
        let mut fleet = Self { wire: Arc::clone(wire), args, members: Vec::new(), first: 0 };
        for _ in 0..hosts {
            fleet.spawn().await;
        }
        for Member { host, .. } in fleet.members.iter_mut().flatten() {
            // Before that a lost connection is an error of configuration.
            host.logged("worker.started").await;
        }
        fleet
    }

    /// One more.
    pub(crate) async fn add(&mut self) {
        self.spawn().await;
    }

    /// kill -9, and what it had on the wire goes no further.
    pub(crate) async fn kill(&mut self, number: usize) {
        let Member { host, _link } = self.members[number].take().unwrap();
        host.kill().await;
    }

    /// SIGTERM for all; only one for each, since a second one stops at once.
    pub(crate) fn terminate(&mut self) {
        self.members[self.first..].iter().flatten().for_each(|member| member.host.signal(Signal::TERM));
        self.first = self.members.len();
    }

    /// Waits for the ends of those that were not killed. They have ended well.
    pub(crate) async fn ends(&mut self) -> Vec<Finished> {
        let mut ends = Vec::new();
        for Member { host, _link } in self.members.drain(..).flatten() {
            let end = host.wait().await;
            assert_eq!(end.code, Some(0), "{}", end.stderr);
            ends.push(end);
        }
        ends
    }

    /// Everything that was logged so far.
    pub(crate) fn log(&self) -> String {
        let log = |(number, member): (usize, &Member)| format!("host {number}:\n{}", member.host.log());
        self.members.iter().enumerate().filter_map(|(n, member)| Some(log((n, member.as_ref()?)))).collect()
    }

    async fn spawn(&mut self) {
        let link = self.wire.link(self.members.len()).await;
        self.members.push(Some(Member { host: link.run(&self.args).spawn(), _link: link }));
    }
}
