//! Sessions whose statements run when the schedule says so, and the one that watches them.
//!
//! A statement stops twice: before it is sent (see [`super::wire`]) and, once it has its snapshot, before it looks at the
//! first row. The second is a row-level security policy that waits for an advisory lock of the watcher's: it is there for
//! the role of these sessions alone, and the statements stay as they are shipped. What waits for a lock is known from
//! `pg_blocking_pids`, not from time.

use std::sync::Arc;
use std::time::Duration;

use tests::TestDatabase;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::database::{Leases, has_own_transaction, perform};
use crate::reference::{Op, Seen};
use crate::statements::{Prepared, Statements};
use crate::wire::{Gate, Held};

const ROLE: &str = "model_session";

/// Pauses every first look at a row, for the role of the sessions.
const PAUSES: &str = "
    CREATE FUNCTION model_pause() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_advisory_lock_shared(pg_backend_pid());
            PERFORM pg_advisory_unlock_shared(pg_backend_pid());
            RETURN true;
        END
    $$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO model_session;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO model_session;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO model_session;
    ALTER TABLE receipts ENABLE ROW LEVEL SECURITY;
    CREATE POLICY model_pause ON receipts TO model_session USING (model_pause()) WITH CHECK (true);
    CREATE POLICY model_pause ON receipt_queue TO model_session USING (model_pause()) WITH CHECK (true);
    CREATE POLICY model_pause ON receipt_queue_dlq TO model_session USING (model_pause()) WITH CHECK (true);";

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Its next statement waits to be sent.
    Statement,
    /// A statement has its snapshot and has seen no row yet.
    Snapshot,
    /// A statement waits for a lock of another session's.
    Lock,
    Done,
}

pub async fn prepare_database(watcher: &Client, db: &TestDatabase) {
    static ROLE_IS_THERE: OnceCell<()> = OnceCell::const_new();
    let role = format!("CREATE ROLE {ROLE} LOGIN PASSWORD 'secret'");
    ROLE_IS_THERE.get_or_init(async || db.connect().await.batch_execute(&role).await.unwrap()).await;
    watcher.batch_execute(PAUSES).await.unwrap();
}

type Work = JoinHandle<Result<Seen, String>>;

pub struct Session {
    pub pid: i32,
    gate: Arc<Gate>,
    connection: Arc<Mutex<(Client, Prepared)>>,
    work: Option<Work>,
    /// The watcher holds the lock that pauses it.
    paused: bool,
}

impl Session {
    pub async fn connect(db: &TestDatabase, statements: &Statements) -> Self {
        let config: Config = db.url_as(ROLE).parse().unwrap();
        let server = format!("127.0.0.1:{}", config.get_ports()[0]);
        let stream = TcpStream::connect(server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let gate = Arc::new(Gate::default());
        let (client, connection) = config.connect_raw(Held::new(stream, Arc::clone(&gate)), NoTls).await.unwrap();
        tokio::spawn(connection);
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        let prepared = statements.prepare(&client).await;
        Self { pid, gate, connection: Arc::new(Mutex::new((client, prepared))), work: None, paused: false }
    }

    /// Begins an operation in a transaction; it stops before its first statement.
    pub fn begin(&mut self, op: Op, leases: Arc<Leases>) {
        let connection = Arc::clone(&self.connection);
        self.gate.close();
        self.work = Some(tokio::spawn(async move {
            let (client, prepared) = &mut *connection.lock().await;
            let problem = |error: tokio_postgres::Error| format!("{op:?}: {error:?}");
            if has_own_transaction(&op) {
                return perform(client, prepared, &leases, &op).await;
            }
            client.batch_execute("BEGIN").await.map_err(problem)?;
            let seen = perform(client, prepared, &leases, &op).await?;
            client.batch_execute("COMMIT").await.map_err(problem)?;
            Ok(seen)
        }));
    }

    /// Lets it go on from where it stopped.
    pub async fn step(&mut self, watcher: &Client, at: At, pause: bool) {
        match at {
            At::Statement => {
                if pause && !self.paused {
                    watcher.execute("SELECT pg_advisory_lock($1)", &[&i64::from(self.pid)]).await.unwrap();
                    self.paused = true;
                }
                self.gate.let_through();
            }
            At::Snapshot => self.resume(watcher).await,
            At::Lock | At::Done => unreachable!("{at:?} is not the schedule's to end"),
        }
    }

    async fn resume(&mut self, watcher: &Client) {
        if std::mem::take(&mut self.paused) {
            watcher.execute("SELECT pg_advisory_unlock($1)", &[&i64::from(self.pid)]).await.unwrap();
        }
    }

    /// Ends its connection, as a crash does; returns when the server has let go of all that it held.
    pub async fn kill(&mut self, watcher: &Client) {
        watcher.execute("SELECT pg_terminate_backend($1, 60000)", &[&self.pid]).await.unwrap();
        self.gate.open();
        self.resume(watcher).await;
    }

    /// Ready for the next operation.
    pub async fn finish(&mut self, watcher: &Client) -> Result<Seen, String> {
        self.resume(watcher).await;
        self.gate.open();
        self.work.take().unwrap().await.unwrap()
    }

    fn is_done(&self) -> bool {
        self.work.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Where each is, once nobody runs any more.
pub async fn settled(sessions: &[Session], watcher: &Client, watcher_pid: i32) -> Vec<At> {
    let pids: Vec<i32> = sessions.iter().map(|session| session.pid).collect();
    loop {
        let before = sessions.iter().map(standing).collect::<Vec<_>>();
        if before.iter().all(Option::is_some) {
            return before.into_iter().flatten().collect();
        }
        let sql =
            "SELECT pg_blocking_pids(pid) FROM unnest($1::int[]) WITH ORDINALITY AS s (pid, place) ORDER BY place";
        let blockers: Vec<Vec<i32>> =
            watcher.query(sql, &[&pids]).await.unwrap().iter().map(|row| row.get(0)).collect();
        let at = |(standing, blockers): (&Option<At>, &Vec<i32>)| match standing {
            Some(at) => Some(*at),
            None if blockers.contains(&watcher_pid) => Some(At::Snapshot),
            // Somebody outside of the schedule (a NOTIFY in another database takes a turn at its commit) is soon done.
            None if blockers.iter().any(|pid| pids.contains(pid)) => Some(At::Lock),
            None => None,
        };
        let found: Vec<Option<At>> = before.iter().zip(&blockers).map(at).collect();
        let still = sessions.iter().map(standing).collect::<Vec<_>>() == before;
        if still && found.iter().all(Option::is_some) {
            return found.into_iter().flatten().collect();
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// What is known without asking the server.
fn standing(session: &Session) -> Option<At> {
    if session.is_done() {
        Some(At::Done)
    } else if session.gate.holds() {
        Some(At::Statement)
    } else {
        None
    }
}
