//! A connection, and the schema that its statements are for. Every statement of this host goes through [`Connection`], which
//! puts the schema in; the driver's own client, whose statements go as they are written, stays inside.
#![allow(clippy::disallowed_types)]

use std::borrow::Cow;
use std::future::Future;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Error, Row};

use super::schema::{AS_WRITTEN, Schema};

/// A parameter with its type: nobody asks the server for it.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// What characters the database can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// All (UTF8), or whatever it is sent (SQL_ASCII).
    Any,
    /// The first 256 of Unicode.
    Latin1,
    /// Those of ASCII at least.
    Other,
}

impl Encoding {
    fn named(name: Option<&str>) -> Self {
        match name {
            None | Some("UTF8" | "SQL_ASCII") => Self::Any,
            Some("LATIN1") => Self::Latin1,
            Some(_) => Self::Other,
        }
    }

    /// The text with a `?` for each character that may not be held: for what we write ourselves. A reading is not touched.
    pub fn fit(self, text: &str) -> Cow<'_, str> {
        let holds = |c: char| match self {
            Self::Any => true,
            Self::Latin1 => u32::from(c) < 256,
            Self::Other => c.is_ascii(),
        };
        match text.chars().all(holds) {
            true => Cow::Borrowed(text),
            false => Cow::Owned(text.chars().map(|c| if holds(c) { c } else { '?' }).collect()),
        }
    }
}

/// What can be asked, of whichever schema. Statements have no names (docs/decisions/0014).
pub trait Connection: Sync + Send {
    #[doc(hidden)]
    fn parts(&self) -> (&tokio_postgres::Client, &Schema);
    #[doc(hidden)]
    fn parts_mut(&mut self) -> (&mut tokio_postgres::Client, Schema);

    /// The schema that `public` stands for.
    fn schema(&self) -> &Schema {
        self.parts().1
    }

    /// What the database can hold.
    fn encoding(&self) -> Encoding {
        Encoding::Any
    }

    fn query_typed(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> impl Future<Output = Result<Vec<Row>, Error>> + Send {
        let (client, schema) = self.parts();
        async move { client.query_typed(&schema.qualify(sql), parameters).await }
    }

    fn query_typed_one(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> impl Future<Output = Result<Row, Error>> + Send {
        let (client, schema) = self.parts();
        async move { client.query_typed_one(&schema.qualify(sql), parameters).await }
    }

    fn query_typed_opt(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send {
        let (client, schema) = self.parts();
        async move { client.query_typed_opt(&schema.qualify(sql), parameters).await }
    }

    fn execute_typed(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> impl Future<Output = Result<u64, Error>> + Send {
        let (client, schema) = self.parts();
        async move { client.execute_typed(&schema.qualify(sql), parameters).await }
    }

    fn batch_execute(&self, sql: &str) -> impl Future<Output = Result<(), Error>> + Send {
        let (client, schema) = self.parts();
        async move { client.batch_execute(&schema.qualify(sql)).await }
    }

    fn cancel_token(&self) -> CancelToken {
        self.parts().0.cancel_token()
    }

    fn transaction(&mut self) -> impl Future<Output = Result<Transaction<'_>, Error>> + Send {
        let (client, schema) = self.parts_mut();
        async move { Ok(Transaction { inner: client.transaction().await?, schema }) }
    }
}

/// A connection of [`super::Database`]'s.
pub struct Client {
    inner: tokio_postgres::Client,
    schema: Schema,
    encoding: Encoding,
}

impl Client {
    /// `encoding` is the server's name for it.
    pub(super) fn new(inner: tokio_postgres::Client, schema: Schema, encoding: Option<&str>) -> Self {
        Self { inner, schema, encoding: Encoding::named(encoding) }
    }

    /// Whether the server has ended it.
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// The driver's client, which knows of no schema: for tools and tests that write statements of their own.
    pub fn into_driver(self) -> tokio_postgres::Client {
        self.inner
    }
}

impl Connection for Client {
    fn parts(&self) -> (&tokio_postgres::Client, &Schema) {
        (&self.inner, &self.schema)
    }

    fn parts_mut(&mut self) -> (&mut tokio_postgres::Client, Schema) {
        (&mut self.inner, self.schema.clone())
    }

    fn encoding(&self) -> Encoding {
        self.encoding
    }
}

/// The driver's client is one for the schema that the statements name.
impl Connection for tokio_postgres::Client {
    fn parts(&self) -> (&Self, &Schema) {
        (self, &AS_WRITTEN)
    }

    fn parts_mut(&mut self) -> (&mut Self, Schema) {
        (self, AS_WRITTEN.clone())
    }
}

/// Rolled back unless it is committed.
pub struct Transaction<'a> {
    inner: tokio_postgres::Transaction<'a>,
    schema: Schema,
}

impl Transaction<'_> {
    pub async fn query_typed(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        self.inner.query_typed(&self.schema.qualify(sql), parameters).await
    }

    pub async fn query_typed_one(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row, Error> {
        self.inner.query_typed_one(&self.schema.qualify(sql), parameters).await
    }

    pub async fn query_typed_opt(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>, Error> {
        self.inner.query_typed_opt(&self.schema.qualify(sql), parameters).await
    }

    pub async fn execute_typed(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, Error> {
        self.inner.execute_typed(&self.schema.qualify(sql), parameters).await
    }

    pub async fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.inner.batch_execute(&self.schema.qualify(sql)).await
    }

    pub async fn commit(self) -> Result<(), Error> {
        self.inner.commit().await
    }

    pub async fn rollback(self) -> Result<(), Error> {
        self.inner.rollback().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_held_is_replaced() {
        let fit = |encoding: Option<&str>| Encoding::named(encoding).fit("Caf\u{e9} \u{2026} \u{416}").into_owned();
        assert_eq!(fit(None), "Caf\u{e9} \u{2026} \u{416}");
        assert_eq!(fit(Some("SQL_ASCII")), fit(Some("UTF8")));
        assert_eq!(fit(Some("LATIN1")), "Caf\u{e9} ? ?");
        assert_eq!(fit(Some("WIN1252")), "Caf? ? ?");
    }
}
