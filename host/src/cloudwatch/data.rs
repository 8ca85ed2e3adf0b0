//! The points, and the two forms in which CloudWatch takes them.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::health::Depth;
use crate::telemetry::interval::{Interval, Times};

/// Where a dashboard finds them.
const NAMESPACE: &str = "Custom/ReceiptQueue";

/// One metric of one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Datum {
    name: &'static str,
    unit: &'static str,
    value: Point,
}

#[derive(Debug, Clone, PartialEq)]
enum Point {
    One(f64),
    Many(Times),
}

/// Counters are told also when they are zero: an alarm on missing data is how one hears of a host that is gone. What waits is told
/// only where it is known, and a time only where something took it: there is no value that says "unknown".
pub(super) fn data(interval: &Interval, depth: Option<Depth>) -> Vec<Datum> {
    let one = |name, unit, value: u64| Datum { name, unit, value: Point::One(value as f64) };
    let mut data = vec![
        one("Processed", "Count", interval.processed),
        one("Failed", "Count", interval.failed),
        one("Retried", "Count", interval.retried),
        one("OcrPages", "Count", interval.ocr_pages),
    ];
    for (name, times) in [("OcrLatency", &interval.ocr), ("JobLatency", &interval.jobs)] {
        if times.count > 0 {
            data.push(Datum { name, unit: "Milliseconds", value: Point::Many(times.clone()) });
        }
    }
    if let Some(depth) = depth {
        let whole = |number: i64| u64::try_from(number).unwrap_or_default();
        data.push(one("Backlog", "Count", whole(depth.backlog)));
        data.push(one("DLQCount", "Count", whole(depth.dead_letters)));
        data.push(one("OldestAge", "Seconds", whole(depth.oldest_age_seconds)));
    }
    data
}

/// A line of the embedded metric format (docs.aws.amazon.com, "Specification: Embedded metric format").
pub(super) fn embedded(data: &[Datum], since_1970: Duration) -> Value {
    let names: Vec<_> = data.iter().map(|datum| json!({ "Name": datum.name, "Unit": datum.unit })).collect();
    let mut line = Map::new();
    let metrics = json!([{ "Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": names }]);
    let milliseconds = u64::try_from(since_1970.as_millis()).unwrap_or_default();
    line.insert("_aws".to_owned(), json!({ "Timestamp": milliseconds, "CloudWatchMetrics": metrics }));
    for datum in data {
        let value = match &datum.value {
            Point::One(value) => json!(value),
            Point::Many(times) => json!(times.sample),
        };
        line.insert(datum.name.to_owned(), value);
    }
    Value::Object(line)
}

/// The input of PutMetricData.
pub(super) fn put(data: &[Datum], since_1970: Duration) -> Value {
    let data: Vec<_> = data
        .iter()
        .map(|datum| {
            let mut one = json!({ "MetricName": datum.name, "Unit": datum.unit, "Timestamp": since_1970.as_secs() });
            let (key, value) = match &datum.value {
                Point::One(value) => ("Value", json!(value)),
                Point::Many(Times { count, sum, least, most, .. }) => {
                    ("StatisticValues", json!({ "SampleCount": count, "Sum": sum, "Minimum": least, "Maximum": most }))
                }
            };
            if let Some(one) = one.as_object_mut() {
                one.insert(key.to_owned(), value);
            }
            one
        })
        .collect();
    json!({ "Namespace": NAMESPACE, "MetricData": data })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn some() -> Vec<Datum> {
        let mut interval = Interval { processed: 3, ocr_pages: 2, ..Interval::default() };
        interval.ocr.add(Duration::from_millis(1500));
        interval.ocr.add(Duration::from_millis(500));
        data(&interval, Some(Depth { backlog: 7, estimated: false, oldest_age_seconds: 90, dead_letters: 1 }))
    }

    #[test]
    fn a_line_of_the_embedded_format_names_each_metric_and_has_its_value() {
        let line = embedded(&some(), Duration::from_millis(1_700_000_000_123));
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_123_u64);
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().cloned().unwrap_or_default();
        assert_eq!(metrics.len(), 8);
        for metric in metrics {
            assert!(!line[metric["Name"].as_str().unwrap_or_default()].is_null(), "{metric}");
        }
        assert_eq!((&line["Backlog"], &line["OcrLatency"]), (&json!(7.0), &json!([1500.0, 500.0])));
    }

    #[test]
    fn a_call_has_sums_of_what_took_time() {
        let call = put(&some(), Duration::from_secs(1_700_000_000));
        let of = |name: &str| {
            let data = call["MetricData"].as_array().cloned().unwrap_or_default();
            data.into_iter().find(|datum| datum["MetricName"] == name)
        };
        let latency = of("OcrLatency").unwrap_or_default();
        let expected = json!({ "SampleCount": 2, "Sum": 2000.0, "Minimum": 500.0, "Maximum": 1500.0 });
        assert_eq!(latency["StatisticValues"], expected);
        assert_eq!(of("OldestAge").unwrap_or_default()["Value"], 90.0);
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let names = |data: Vec<Datum>| data.iter().map(|datum| datum.name).collect::<Vec<_>>();
        assert_eq!(names(data(&Interval::default(), None)), ["Processed", "Failed", "Retried", "OcrPages"]);
    }
}
