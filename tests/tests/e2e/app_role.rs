//! The app's roles as Supabase has them: row-level security on receipts, and default privileges that grant everything on
//! whatever is made in `public`. They insert receipts and read their own; of the queue they see nothing.

use tests::supabase::{ROLES, UID};
use tests::{TestDatabase, World, WorldSettings};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const ANNA: &str = "11111111-1111-4111-8111-111111111111";
const BERT: &str = "22222222-2222-4222-8222-222222222222";

const OWN: &str = "
    CREATE TABLE public.receipts (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id uuid NOT NULL DEFAULT auth.uid(),
        status text NOT NULL DEFAULT 'pending',
        image_url text
    );
    ALTER TABLE public.receipts ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON public.receipts TO authenticated
        USING (auth.uid() = user_id) WITH CHECK (auth.uid() = user_id);";

async fn supabase() -> World {
    let db = TestDatabase::empty().await;
    db.connect().await.batch_execute(&format!("{ROLES} {UID} {OWN}")).await.unwrap();
    let world = World::with(WorldSettings { db: Some(db), ..Default::default() }).await;
    world.host().arg("migrate").run().await.ok();
    world
}

/// A session of the API's, for a user.
async fn session(world: &World, role: &str, user: &str) -> Client {
    let client = world.db.connect().await;
    client.batch_execute(&format!("SET ROLE {role}; SET request.jwt.claim.sub = '{user}'")).await.unwrap();
    client
}

#[tokio::test]
async fn users_insert_receipts_and_see_their_own() {
    let world = supabase().await;
    world.photo("anna.jpg").await;
    let (anna, bert) = (session(&world, "authenticated", ANNA).await, session(&world, "authenticated", BERT).await);
    anna.batch_execute("INSERT INTO receipts (image_url) VALUES ('anna.jpg')").await.unwrap();
    bert.batch_execute("INSERT INTO receipts (image_url) VALUES ('nowhere.jpg')").await.unwrap();
    let theft = format!("INSERT INTO receipts (user_id, image_url) VALUES ('{ANNA}', 'a.jpg')");
    assert_eq!(bert.batch_execute(&theft).await.unwrap_err().code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    let summary = world.once().await;
    assert_eq!((&summary["processed"], &summary["dead"]), (&1.into(), &1.into()), "{summary}");
    for (user, expected) in [(&anna, "ocr_done Blue Bottle Cafe"), (&bert, "ocr_failed ")] {
        let rows =
            user.query("SELECT concat_ws(' ', status, coalesce(vendor_text, '')) FROM receipts", &[]).await.unwrap();
        let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(rows, [expected]);
    }
    // Nobody queues another one's receipt.
    let changed =
        bert.execute("UPDATE receipts SET status = 'pending' WHERE image_url = 'anna.jpg'", &[]).await.unwrap();
    assert_eq!((changed, world.count("receipt_queue WHERE NOT processed").await), (0, 0));
    bert.batch_execute("UPDATE receipts SET image_url = 'anna.jpg'").await.unwrap();
    assert_eq!(world.once().await["processed"], 1);
    world.assert_settled(2).await;
}

#[tokio::test]
async fn no_role_of_the_apps_holds_a_right_on_what_the_migrations_made() {
    let world = supabase().await;
    // Of every relation and function of the queue's, and of every privilege that there is.
    let granted = "
        SELECT format('%s: %s on %s', coalesce(r.rolname, 'PUBLIC'), acl.privilege_type, o.name)
        FROM (
            SELECT c.oid::regclass::text AS name, coalesce(c.relacl, acldefault('r', c.relowner)) AS acl, c.relowner AS owner
            FROM pg_class c
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S') AND c.relname <> 'receipts'
            UNION ALL
            SELECT p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
            FROM pg_proc p
            WHERE p.pronamespace = 'public'::regnamespace
        ) AS o
        CROSS JOIN LATERAL aclexplode(o.acl) AS acl
        LEFT JOIN pg_roles r ON r.oid = acl.grantee
        WHERE acl.grantee <> o.owner
        ORDER BY 1";
    let rows = world.client.query(granted, &[]).await.unwrap();
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(rows.is_empty(), "{rows:#?}");
    for role in ["anon", "authenticated", "service_role"] {
        let client = session(&world, role, ANNA).await;
        for forbidden in [
            "SELECT * FROM receipt_queue",
            "UPDATE receipt_queue SET processed = true",
            "INSERT INTO receipt_queue (receipt_id) VALUES (gen_random_uuid())",
            "SELECT * FROM receipt_queue_dlq",
            "SELECT * FROM receipt_component_changes",
            "SELECT * FROM vw_receipt_queue_status",
            "SELECT * FROM vw_receipt_queue_failures",
            "SELECT nextval('receipt_queue_token')",
            "SELECT nextval('receipt_component_changes_id_seq')",
            "SELECT receipt_queue_put(ARRAY[gen_random_uuid()])",
            "SELECT * FROM receipt_queue_pass",
            "SELECT receipt_queue_reconcile(NULL, 1, false, true)",
            "SELECT receipt_queue_reconcile_step('me', '1 hour', 1)",
            "SELECT receipt_queue_hides_from('postgres')",
            "CREATE TEMP TABLE t (n int); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION public.receipts_enqueue()",
            "CREATE TEMP TABLE t (n int); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION public.receipt_component_changes_forget()",
            "CREATE TEMP TABLE t (n int); CREATE TRIGGER t BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION public.receipts_reread()",
            "SET session_replication_role = replica",
        ] {
            let error = client.batch_execute(forbidden).await.expect_err(forbidden);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {forbidden}: {error:?}");
        }
    }
}

#[tokio::test]
async fn definers_functions_look_nowhere_but_where_they_must() {
    let world = supabase().await;
    let paths = "SELECT p.proname::text, p.prosecdef, array_to_string(p.proconfig, ' ') FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef ORDER BY 1";
    let rows = world.client.query(paths, &[]).await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        names,
        [
            "receipt_component_changes_forget",
            "receipt_queue_put",
            "receipt_queue_reconcile",
            "receipt_queue_reconcile_step",
            "receipts_enqueue",
            "receipts_requeue"
        ]
    );
    for row in &rows {
        // pg_temp is last: where it is not named it comes first.
        let settings = row.get::<_, &str>(2).trim_end_matches(" plan_cache_mode=force_custom_plan");
        assert_eq!(settings, "search_path=pg_catalog, pg_temp", "{}", row.get::<_, &str>(0));
    }
}

#[tokio::test]
async fn a_search_path_full_of_traps_changes_nothing() {
    let world = supabase().await;
    // Whatever the functions name without a schema, and the tables, again: called, they would tell.
    world
        .execute(
            "CREATE TABLE public.caught (what text);
             CREATE SCHEMA evil;
             GRANT USAGE, CREATE ON SCHEMA evil TO authenticated;
             GRANT INSERT ON public.caught TO authenticated;
             REVOKE ALL ON public.caught FROM anon",
        )
        .await;
    let anna = session(&world, "authenticated", ANNA).await;
    anna.batch_execute(
        "CREATE FUNCTION evil.caught(what text) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.caught VALUES (what || current_user) $$;
         CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
             $$ BEGIN PERFORM evil.caught('now'); RETURN pg_catalog.now(); END $$;
         CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
             $$ BEGIN PERFORM evil.caught('notify'); END $$;
         CREATE FUNCTION evil.jsonb_build_array(text, numeric, text, date) RETURNS jsonb LANGUAGE plpgsql AS
             $$ BEGIN PERFORM evil.caught('json'); RETURN '[]'; END $$;
         CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN PERFORM evil.caught('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
         CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
         CREATE TEMP TABLE receipt_queue (LIKE public.receipts);
         CREATE TEMP TABLE receipt_queue_dlq (LIKE public.receipts);
         CREATE TEMP TABLE new_receipts (LIKE public.receipts);
         CREATE TEMP TABLE old_receipts (LIKE public.receipts);
         CREATE TABLE evil.receipt_queue (LIKE public.receipts);
         SET search_path = evil, pg_temp, public, pg_catalog;
         INSERT INTO public.receipts (image_url) VALUES ('a.jpg');
         UPDATE public.receipts SET image_url = 'b.jpg'",
    )
    .await
    .unwrap();
    assert_eq!(world.text("SELECT string_agg(s3_key, ',') FROM public.receipt_queue", &[]).await, "b.jpg");
    // Her own statements and what runs in her name may fall into her traps; nothing does in the owner's.
    assert_eq!(world.count("public.caught WHERE what NOT LIKE '%authenticated'").await, 0);
    assert_eq!(world.count("evil.receipt_queue").await, 0);
    // Nor does the host, with the same path.
    world.photo("b.jpg").await;
    let url = format!("{}&options=-csearch_path%3Devil%2Cpublic", world.db.url());
    assert_eq!(world.run(&["--once"]).env("DATABASE_URL", url).run().await.json()["processed"], 1);
    assert_eq!(world.count("public.caught WHERE what NOT LIKE '%authenticated'").await, 0);
}
