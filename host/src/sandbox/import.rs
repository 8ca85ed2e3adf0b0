//! The contract's imports: one row each. All that is done with a call (answering, recording, replaying and telling it) is
//! made from its row, or matches on it, so that the compiler asks for what a new one lacks.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::bindings::snapceit::receipts::textract::Api;
use super::bindings::snapceit::receipts::types as wit;
use super::handles::{ArtifactInfo, ImageInfo, JobInfo, TextInfo};
use crate::failure::Failure;
use crate::trace::{Effect, Event, Json};

/// A call of one import: its arguments.
pub trait ImportCall: Serialize + Sized {
    /// What it answers, as a trace has it.
    type Answer: Answer;

    /// Which import it is.
    const IMPORT: Import;

    /// Reads its recorded answer.
    fn answer(&self, recorded: &Json) -> Result<Self::Answer, serde_json::Error> {
        recorded.read()
    }

    /// The call with its answer, as a trace has it.
    fn event(&self, answer: &Self::Answer) -> Event {
        Event::call(Self::IMPORT.name(), Self::IMPORT.effect(), self, answer)
    }
}

/// What an import answers.
pub trait Answer: Serialize + DeserializeOwned {
    /// The answer where only this failure is known; none where a handle always knows the answer.
    fn failed(failure: Failure) -> Option<Self>;
}

impl<T: Serialize + DeserializeOwned> Answer for Result<T, Failure> {
    fn failed(failure: Failure) -> Option<Self> {
        Some(Err(failure))
    }
}

macro_rules! known_by_a_handle {
    ($($answer:ty),*) => {
        $(
            impl Answer for $answer {
                fn failed(_: Failure) -> Option<Self> {
                    None
                }
            }
        )*
    };
}

known_by_a_handle!((), bool, u32, u64, String, Api);

/// A row: `Name { arguments } -> answer = "name in a trace", effect;`. Arguments are in the order of their names; handles are
/// their numbers.
macro_rules! imports {
    ($($import:ident { $($(#[$attribute:meta])* $argument:ident: $type:ty),* } -> $answer:ty = $name:literal, $effect:ident;)*) => {
        /// An import of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the contract documents them")]
        pub enum Import {
            $($import,)*
        }

        impl Import {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$import,)*];

            /// Its name in traces, e.g. `queue.job.image`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$import => $name,)*
                }
            }

            /// What a call does to the world.
            pub fn effect(self) -> Effect {
                match self {
                    $(Self::$import => Effect::$effect,)*
                }
            }

            /// Its answer where only this failure is known; none where a handle always knows the answer.
            pub fn failed(self, failure: Failure) -> Option<Json> {
                match self {
                    $(Self::$import => <$answer>::failed(failure).map(|answer| Json::of(&answer)),)*
                }
            }
        }

        $(
            #[doc = concat!("A call of `", $name, "`.")]
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            #[allow(missing_docs, reason = "the contract documents them")]
            pub struct $import {
                $($(#[$attribute])* pub $argument: $type,)*
            }

            impl ImportCall for $import {
                type Answer = $answer;
                const IMPORT: Import = Import::$import;
            }
        )*

        /// A call of any import.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "it is looked at and let go")]
        #[allow(missing_docs, reason = "each is documented where it is defined")]
        pub enum AnyCall {
            $($import($import),)*
        }

        impl AnyCall {
            /// Reads the arguments of a recorded call.
            pub fn read(import: Import, arguments: &Json) -> Result<Self, serde_json::Error> {
                match import {
                    $(Import::$import => arguments.read().map(Self::$import),)*
                }
            }
        }
    };
}

imports! {
    Claim { limit: u32 } -> Result<Vec<JobInfo>, Failure> = "queue.claim", Write;
    JobId { job: u32 } -> u64 = "queue.job.id", None;
    JobReceiptId { job: u32 } -> String = "queue.job.receipt-id", None;
    JobAttempt { job: u32 } -> u32 = "queue.job.attempt", None;
    JobMaxAttempts { job: u32 } -> u32 = "queue.job.max-attempts", None;
    JobSeed { job: u32 } -> u64 = "queue.job.seed", None;
    JobHasArtifact { job: u32 } -> bool = "queue.job.has-artifact", None;
    FetchImage { job: u32 } -> Result<ImageInfo, Failure> = "queue.job.image", Read;
    FindArtifact { image: u32, job: u32 } -> Result<Option<ArtifactInfo>, Failure> = "queue.job.stored-artifact", Read;
    Complete {
        job: u32,
        #[serde(deserialize_with = "with_numbers")] receipt: wit::Receipt,
        artifact: u32
    } -> Result<(), Failure> = "queue.job.complete", Write;
    RetryAfter {
        charge: bool,
        #[serde(serialize_with = "in_order_of_names")] failure: Failure,
        job: u32,
        milliseconds: u64
    } -> Result<(), Failure> = "queue.job.retry-after", Write;
    DeadLetter {
        #[serde(serialize_with = "in_order_of_names")] failure: Failure,
        job: u32
    } -> Result<(), Failure> = "queue.job.dead-letter", Write;
    DropJob { job: u32 } -> () = "queue.job.drop", Write;

    ImageSize { image: u32 } -> u64 = "objects.image.size", None;
    ImageContentType { image: u32 } -> String = "objects.image.content-type", None;
    ImageDigest { image: u32 } -> String = "objects.image.digest", None;
    DropImage { image: u32 } -> () = "objects.image.drop", None;
    ArtifactKey { artifact: u32 } -> String = "objects.artifact.key", None;
    ReadArtifact { artifact: u32 } -> Result<TextInfo, Failure> = "objects.artifact.json", Read;
    DropArtifact { artifact: u32 } -> () = "objects.artifact.drop", None;

    PreferredApi {} -> Api = "textract.preferred-api", None;
    DetectDocumentText { image: u32 } -> Result<u32, Failure> = "textract.detect-document-text", External;
    AnalyzeExpense { image: u32 } -> Result<u32, Failure> = "textract.analyze-expense", External;
    ReadResponse { response: u32 } -> Result<TextInfo, Failure> = "textract.response.json", None;
    StoreResponse { job: u32, response: u32 } -> Result<ArtifactInfo, Failure> = "textract.response.store", Write;
    DropResponse { response: u32 } -> () = "textract.response.drop", None;
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By name.
impl Ord for Import {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl PartialOrd for Import {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Import {
    /// The import of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|import| import.name() == name)
    }
}

/// Traces have a failure among the arguments in this order, and a replay compares them byte for byte.
fn in_order_of_names<S: Serializer>(failure: &Failure, serializer: S) -> Result<S::Ok, S::Error> {
    let Failure { kind, code, message } = failure;
    #[derive(Serialize)]
    struct InOrder<'a> {
        code: &'a str,
        kind: crate::failure::FailureKind,
        message: &'a str,
    }
    InOrder { code, kind: *kind, message }.serialize(serializer)
}

/// JSON has no NaN: a component's confidence that is none is null in a trace. It counts as 0, as in the database.
fn with_numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<wit::Receipt, D::Error> {
    let mut receipt = Value::deserialize(deserializer)?;
    fill_numbers(&mut receipt);
    serde_json::from_value(receipt).map_err(D::Error::custom)
}

fn fill_numbers(value: &mut Value) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        let is_number = matches!(&**name, "confidence" | "score" | "left" | "top" | "width" | "height");
        if is_number && member.is_null() {
            *member = Value::from(0);
        } else {
            fill_numbers(member);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::failure::FailureKind;

    /// The functions that a file of the contract declares, as traces name them, and each resource's `drop`.
    fn declared(wit: &str) -> BTreeSet<String> {
        let (mut names, mut interface, mut resource) = (BTreeSet::new(), "", None);
        for line in wit.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("interface ") {
                interface = name.trim_end_matches(" {");
            } else if let Some(name) = line.strip_prefix("resource ") {
                let name = name.trim_end_matches(" {");
                names.insert(format!("{interface}.{name}.drop"));
                resource = Some(name);
            } else if line == "}" {
                resource = None;
            } else if let Some((name, kind)) = line.split_once(": ")
                && (kind.starts_with("func(") || kind.starts_with("static func("))
            {
                let resource = resource.map(|name| format!("{name}.")).unwrap_or_default();
                names.insert(format!("{interface}.{resource}{name}"));
            }
        }
        names
    }

    #[test]
    fn the_table_has_what_the_contract_declares() {
        let wit = [
            include_str!("../../../wit/queue.wit"),
            include_str!("../../../wit/objects.wit"),
            include_str!("../../../wit/textract.wit"),
        ];
        let declared: BTreeSet<String> = wit.iter().flat_map(|wit| declared(wit)).collect();
        let table: BTreeSet<String> = Import::ALL.iter().map(|import| import.name().to_owned()).collect();
        assert_eq!(table, declared);
        assert_eq!(table.len(), Import::ALL.len(), "a name stands twice");
    }

    #[test]
    fn arguments_are_written_as_earlier_versions_wrote_them() {
        let failure = Failure::new(FailureKind::Throttled, "c", "m");
        let retry = RetryAfter { charge: true, failure, job: 1, milliseconds: 5 };
        let failure = r#"{"code":"c","kind":"throttled","message":"m"}"#;
        assert_eq!(
            Json::of(&retry).as_str(),
            format!(r#"{{"charge":true,"failure":{failure},"job":1,"milliseconds":5}}"#)
        );
        assert_eq!(Json::of(&PreferredApi {}).as_str(), "{}");
        assert_eq!(Json::of(&StoreResponse { job: 1, response: 2 }).as_str(), r#"{"job":1,"response":2}"#);
    }

    #[test]
    fn a_number_that_json_cannot_say_is_read_as_none() {
        let receipt = wit::Receipt {
            vendor: Some(wit::TextField { value: "A".to_owned(), confidence: f32::NAN, place: None, why: None }),
            total: None,
            date: None,
            subtotal: None,
            tax: None,
            confidence: f32::INFINITY,
            pages: 1,
        };
        let recorded = Json::of(&Complete { job: 1, receipt, artifact: 2 });
        let AnyCall::Complete(Complete { receipt, .. }) = AnyCall::read(Import::Complete, &recorded).unwrap() else {
            unreachable!()
        };
        assert_eq!((receipt.confidence, receipt.vendor.unwrap().confidence), (0.0, 0.0));
        let cut = Json::parse(recorded.as_str().replace("\"pages\":1,", "").replace("\"pages\":1", "\"x\":1"));
        assert!(AnyCall::read(Import::Complete, &cut.unwrap()).is_err(), "it is no receipt");
    }
}
