//! What invokes a function, by the event that it is given.

use serde_json::{Value, json};

use crate::worker::Summary;

/// Why there is an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A rule of EventBridge's, or a schedule of its scheduler's.
    Schedule,
    /// Messages of an SQS queue.
    Sqs,
    /// Somebody's call, whatever is in it.
    Direct,
}

impl Kind {
    pub(super) fn of(event: &Value) -> Self {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut records = event.get("Records").and_then(Value::as_array).into_iter().flatten();
        if records.any(|record| text(record, "eventSource").as_deref() == Some("aws:sqs")) {
            return Self::Sqs;
        }
        match (text(event, "detail-type").as_deref(), text(event, "source").as_deref()) {
            (Some("Scheduled Event"), _) | (_, Some("aws.events" | "aws.scheduler")) => Self::Schedule,
            _ => Self::Direct,
        }
    }

    /// For the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Sqs => "sqs",
            Self::Direct => "direct",
        }
    }

    /// What is answered when the queue was worked.
    pub(super) fn answer(self, summary: &Summary) -> Result<Value, serde_json::Error> {
        let body = serde_json::to_string(summary)?;
        Ok(match self {
            // A message says that there is work, and no more: none is to come again.
            Self::Sqs => json!({ "statusCode": 200, "body": body, "batchItemFailures": [] }),
            Self::Schedule | Self::Direct => json!({ "statusCode": 200, "body": body }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_what_it_is_made_of() {
        let sqs = json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "1", "body": "{}" }] });
        let rule = json!({ "source": "aws.events", "detail-type": "Scheduled Event", "detail": {} });
        let scheduler = json!({ "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": "{}" });
        assert_eq!(Kind::of(&sqs), Kind::Sqs);
        assert_eq!(Kind::of(&rule), Kind::Schedule);
        assert_eq!(Kind::of(&scheduler), Kind::Schedule);
        let others = [
            json!(null),
            json!({}),
            json!([]),
            json!("Records"),
            json!({ "Records": [] }),
            json!({ "Records": {} }),
            json!({ "Records": [{ "eventSource": "aws:s3" }, 1] }),
            json!({ "source": 1 }),
            json!({ "httpMethod": "POST", "body": "{\"source\":\"aws.events\"}" }),
        ];
        for event in others {
            assert_eq!(Kind::of(&event), Kind::Direct, "{event}");
        }
    }
}
