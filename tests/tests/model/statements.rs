//! The statements as they are shipped. A mutation test changes one of them.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

/// The host's statements on the queue.
#[derive(Debug, Clone)]
pub struct Statements {
    pub claim: String,
    pub heartbeat: String,
    pub complete: String,
    pub retry: String,
    pub dead_letter: String,
    pub exhausted: String,
    pub settled_before: String,
}

impl Statements {
    pub fn shipped() -> Self {
        macro_rules! sql {
            ($name:literal) => {
                include_str!(concat!("../../../host/src/queue/sql/", $name, ".sql")).to_owned()
            };
        }
        Self {
            claim: sql!("claim"),
            heartbeat: sql!("heartbeat"),
            complete: sql!("complete"),
            retry: sql!("retry"),
            dead_letter: sql!("dead_letter"),
            exhausted: sql!("exhausted"),
            settled_before: sql!("settled_before"),
        }
    }

    /// With the types that the host gives them.
    pub async fn prepare(&self, client: &Client) -> Prepared {
        const IDS: [Type; 2] = [Type::INT8_ARRAY, Type::INT8_ARRAY];
        const TEXTS: Type = Type::TEXT_ARRAY;
        let prepare = async |sql: &str, types: &[Type]| client.prepare_typed(sql, types).await.unwrap();
        let with_ids = |more: &[Type]| [&IDS, more].concat();
        Prepared {
            claim: prepare(&self.claim, &[Type::INT8, Type::INT8, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ]).await,
            heartbeat: prepare(&self.heartbeat, &with_ids(&[Type::INT8])).await,
            complete: prepare(
                &self.complete,
                &with_ids(&[TEXTS, TEXTS, TEXTS, TEXTS, Type::FLOAT8_ARRAY, TEXTS, TEXTS]),
            )
            .await,
            retry: prepare(&self.retry, &with_ids(&[Type::INT8_ARRAY, Type::BOOL_ARRAY, TEXTS, TEXTS, TEXTS, TEXTS]))
                .await,
            dead_letter: prepare(&self.dead_letter, &with_ids(&[TEXTS, TEXTS, TEXTS, TEXTS, TEXTS])).await,
            exhausted: prepare(&self.exhausted, &[Type::INT4, Type::INT8]).await,
            settled_before: prepare(&self.settled_before, &IDS).await,
        }
    }
}

pub struct Prepared {
    pub claim: Statement,
    pub heartbeat: Statement,
    pub complete: Statement,
    pub retry: Statement,
    pub dead_letter: Statement,
    pub exhausted: Statement,
    pub settled_before: Statement,
}
