//! Results that break the contract: never a lost receipt, never a stuck one, and nothing in the database that is none.

use host::sandbox::Limits;
use tests::components::component;

use crate::support::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_result_out_of_range_is_put_right_or_refused_by_name() {
    let bench = Bench::new().await;
    let ids = [
        "ok.1",
        "confidence-nan.1",
        "confidence-infinite.1",
        "confidence-negative.1",
        "confidence-huge.1",
        "scale.1",
        "whole.1",
        "currency.1",
        "ok.2",
        "control.1",
        "blank.1",
        "vendor.1",
        "no-such-day.1",
        "month.1",
        "day-zero.1",
        "year.1",
        "ok.3",
    ];
    bench.insert(&ids).await;
    bench.pass(&component("misbehaves"), Limits::default(), 1).await;

    let field = async |id: &str, field: &str| -> Option<String> {
        assert!(bench.done(id).await.is_some(), "{id}: {:?}", bench.dead(id).await);
        let query = format!("SELECT ({field})::text FROM receipts WHERE id = $1");
        bench.client.query_one(&query, &[&id]).await.unwrap().get(0)
    };
    for id in ["ok.1", "ok.2", "ok.3"] {
        assert_eq!(field(id, "vendor_text").await.as_deref(), Some("ok"));
    }
    for (id, confidence) in [
        ("confidence-nan.1", 0.0),
        ("confidence-negative.1", 0.0),
        ("confidence-infinite.1", 100.0),
        ("confidence-huge.1", 100.0),
    ] {
        let found: f64 = field(id, "ocr_confidence").await.unwrap().parse().unwrap();
        assert!((found - confidence).abs() < f64::EPSILON, "{id}: {found}");
    }
    assert_eq!(field("scale.1", "total_amount").await.as_deref(), Some("-9.223372036854775808"));
    assert_eq!(field("whole.1", "total_amount").await.as_deref(), Some("9223372036854775807"));
    assert_eq!(field("currency.1", "currency").await, None);
    assert_eq!(field("control.1", "vendor_text").await.as_deref(), Some("ab[2Jcd\u{202e}e"));
    assert_eq!(field("blank.1", "vendor_text").await, None);
    assert_eq!(field("vendor.1", "vendor_text ~ '^v+$'").await.as_deref(), Some("true"));
    for id in ["no-such-day.1", "month.1", "day-zero.1"] {
        let dead = bench.dead(id).await.unwrap_or_else(|| panic!("{id} is no dead letter"));
        assert_eq!((&*dead.code, dead.attempts), ("queue.ResultRefused", 1), "{id}: {}", dead.message);
        assert_eq!(dead.notes.as_deref(), Some("the database refused the result"));
    }
    assert!(bench.done("year.1").await.is_some() || bench.dead("year.1").await.is_some());
}

/// The app's own columns may be narrower than what was read.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_the_apps_columns_do_not_take_is_a_dead_letter() {
    let bench = Bench::new().await;
    let narrow = "ALTER TABLE receipts ALTER vendor_text TYPE varchar(20), ALTER total_amount TYPE numeric(10, 2)";
    bench.client.batch_execute(narrow).await.unwrap();
    bench.insert(&["ok.1", "whole.1", "vendor.1", "ok.2"]).await;
    bench.pass(&component("misbehaves"), Limits::default(), 5).await;
    for id in ["ok.1", "ok.2"] {
        assert_eq!(bench.done(id).await, Some((1, Some("ok".to_owned()))), "{id}");
    }
    for id in ["whole.1", "vendor.1"] {
        assert_eq!(bench.dead(id).await.unwrap().code, "queue.ResultRefused", "{id}");
    }
}

/// The schedule asks for jobs whenever something has changed: an answer that changed something would have it ask for ever. One
/// whose breaker is half-open has nothing but that to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_job_is_told_of_no_change() {
    let bench = Bench::new().await;
    let (pump, _services, _wake) = bench.pump(1).await;
    let mut ready = pump.ready();
    // The first poll tells of an empty queue.
    while !pump.is_idle() {
        ready.changed().await.unwrap();
    }
    ready.mark_unchanged();
    assert!(pump.take(1).is_empty() && !ready.has_changed().unwrap());
}
