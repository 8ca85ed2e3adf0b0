//! Supabase's own CLI pushes the migrations and looks at what they made, on a plain Postgres that has its roles; and the page's commands
//! are run as they stand. What only the real platform can tell: its pooler, its network, its Storage.

use std::path::{Path, PathBuf};

use host::dev::postgres::{LocalPostgres, Settings};
use tempfile::TempDir;
use tests::peers::peer;
use tests::supabase::{ROLES, UID};
use tests::{TestDatabase, World, WorldSettings};
use tokio::process::Command;
use tokio_postgres::NoTls;

const PUBLICATION: &str = "CREATE PUBLICATION supabase_realtime;";

const OWN: &str = "
    CREATE TABLE public.receipts (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL, image_url text, note text,
        status text NOT NULL DEFAULT 'pending'
    );
    ALTER TABLE public.receipts ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON public.receipts TO authenticated USING (user_id = (SELECT auth.uid()));
    INSERT INTO public.receipts (user_id, image_url) VALUES (gen_random_uuid(), 'a.jpg');";

const NEWEST: &str = "20261127000000_receipt_queue_world.sql";

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

/// A project's folder and its database.
struct Project {
    world: World,
    folder: PathBuf,
}

impl Project {
    async fn new() -> Self {
        let db = TestDatabase::empty().await;
        db.connect().await.batch_execute(&format!("{ROLES} {UID} {PUBLICATION}")).await.unwrap();
        let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
        let folder = world.dir().join("project");
        std::fs::create_dir_all(folder.join("supabase/migrations")).unwrap();
        Self { world, folder }
    }

    fn add(&self, name: &str, sql: &str) {
        std::fs::write(self.folder.join("supabase/migrations").join(name), sql).unwrap();
    }

    fn add_ours(&self, which: impl Fn(&str) -> bool) {
        for entry in std::fs::read_dir(migrations()).unwrap() {
            let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
            let name = name.to_str().unwrap();
            if which(name) {
                self.add(name, &std::fs::read_to_string(path).unwrap());
            }
        }
    }

    async fn supabase(&self, args: &[&str]) -> String {
        let mut command = Command::new(peer("supabase"));
        command
            .args(args)
            .args(["--db-url", self.world.db.url()])
            .current_dir(&self.folder)
            .env("HOME", self.world.dir());
        let output = command.env("SUPABASE_TELEMETRY_DISABLED", "1").output().await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "supabase {args:?}: {said}");
        said
    }

    /// Pushed twice, and nothing to be said of it.
    async fn pushes(&self, args: &[&str]) {
        let push = [&["db", "push", "--yes"], args].concat();
        self.supabase(&push).await;
        assert!(self.supabase(&push).await.contains("up to date"));
        self.supabase(&["db", "advisors", "--fail-on", "warn"]).await;
        // What the platform grants of all that is made in public is taken back for the queue.
        let open = "pg_class c CROSS JOIN unnest(ARRAY['anon', 'authenticated', 'service_role']) AS role
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname ~ '^(vw_)?receipt_'
              AND has_table_privilege(role, c.oid, 'SELECT, INSERT, UPDATE, DELETE')";
        assert_eq!(self.world.count(open).await, 0);
        let found = self.world.host().arg("doctor").run().await;
        assert_eq!(found.code, Some(0), "{}", found.stdout);
    }
}

#[tokio::test]
#[ignore = "of minutes: make deploy-test"]
async fn an_empty_project_is_pushed_to() {
    let project = Project::new().await;
    project.add_ours(|_| true);
    project.pushes(&[]).await;
}

#[tokio::test]
#[ignore = "of minutes: make deploy-test"]
async fn a_project_with_receipts_and_later_migrations_of_its_own_is_pushed_to() {
    let project = Project::new().await;
    project.add("20250101000000_app.sql", OWN);
    project.add("20991231000000_later.sql", "ALTER TABLE public.receipts ADD COLUMN later text;");
    project.supabase(&["db", "push", "--yes"]).await;
    project.add_ours(|_| true);
    project.pushes(&["--include-all"]).await;
    assert_eq!(project.world.count("receipt_queue WHERE s3_key = 'a.jpg'").await, 1);
}

#[tokio::test]
#[ignore = "of minutes: make deploy-test"]
async fn the_schema_of_the_last_release_is_pushed_to() {
    let project = Project::new().await;
    project.add_ours(|name| name != NEWEST);
    project.supabase(&["db", "push", "--yes"]).await;
    project.add_ours(|_| true);
    project.pushes(&[]).await;
}

#[tokio::test]
#[ignore = "of minutes: make deploy-test"]
async fn realtime_tells_of_results_where_it_is_asked_to() {
    let dir = TempDir::new().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = vec!["wal_level=logical".to_owned()];
    let settings = Settings { fsync: false, max_connections: 50, options, ..Settings::new(dir.path()) };
    let postgres = LocalPostgres::start(settings).await.unwrap();
    let db = TestDatabase::within(&postgres).await;
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    let realtime = || world.host().args(["migrate", "--realtime"]);
    assert!(realtime().run().await.error().contains("supabase_realtime"));
    world.execute("CREATE PUBLICATION supabase_realtime").await;
    for _ in 0..2 {
        realtime().run().await.ok();
    }
    world.execute("SELECT pg_create_logical_replication_slot('app', 'pgoutput')").await;
    let (id, _) = world.receipt("a.jpg").await;
    world.once().await;
    let (client, connection) = tokio_postgres::connect(world.db.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT data FROM pg_logical_slot_peek_binary_changes('app', NULL, NULL, 'proto_version', '1',
        'publication_names', 'supabase_realtime')";
    let messages: Vec<Vec<u8>> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let updates: Vec<String> = messages
        .iter()
        .filter(|message| message.first() == Some(&b'U'))
        .map(|message| String::from_utf8_lossy(message).into_owned())
        .collect();
    assert!(updates.iter().any(|update| update.contains(&id) && update.contains("ocr_done")), "{updates:?}");
    // Nothing of the queue's.
    let relations = messages.iter().filter(|message| message.first() == Some(&b'R'));
    assert!(
        relations.map(|message| String::from_utf8_lossy(message)).all(|relation| !relation.contains("receipt_queue"))
    );
    drop(client);
    postgres.stop().await;
}

/// The blocks of the page that are to be typed.
fn typed() -> String {
    let page = std::fs::read_to_string(migrations().join("../docs/deploy-supabase.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
#[ignore = "of minutes: make deploy-test"]
async fn the_commands_of_the_page_lead_to_the_first_receipt() {
    let project = Project::new().await;
    let world = &project.world;
    world.photo("receipts/first.jpg").await;
    let mut bash = Command::new("bash");
    let host = world.host().into_inner();
    for (name, value) in host.as_std().get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    let bin = world.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(host.as_std().get_program(), bin.join("host")).unwrap();
    std::os::unix::fs::symlink(peer("supabase"), bin.join("supabase")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    bash.env("PATH", path).env("OWNER_URL", world.db.url()).env("WORKER_PASSWORD", "secret");
    bash.env("DATABASE_URL", world.db.url_as("receipt_worker")).env("RECEIPT_WORKER", migrations().join(".."));
    bash.env("SUPABASE_TELEMETRY_DISABLED", "1").current_dir(&project.folder);
    let output = bash.args(["-euxo", "pipefail", "-c", &typed()]).output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(world.count("receipts WHERE status = 'ocr_done'").await, 1, "{said}");
    let published = "pg_publication_tables WHERE pubname = 'supabase_realtime' AND tablename = 'receipts'";
    assert_eq!(world.count(published).await, 1);
}
