//! Text that others wrote, as the database stores it. A database may hold bytes that are no text in UTF-8 (SQL_ASCII takes
//! anything, WIN1252 some bytes that mean nothing), and the server refuses a whole answer for one of them. So statements fetch
//! such text as bytes, `convert_to(x, getdatabaseencoding())`, and it is decoded here, each for itself.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::session::{Parameter, Session};
use super::{Connection, QueueError};

const DECODE: &str = "SELECT convert_from(t.bytes, $2::text::name)
    FROM unnest($1::bytea[]) WITH ORDINALITY AS t (bytes, place)
    ORDER BY t.place";

const WHAT: &str = "to decode a text";

/// A column of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    Readable(String),
    /// Its bytes, written in ASCII: that can be shown, and stored, everywhere.
    Unreadable(String),
}

impl Text {
    /// For people.
    pub(super) fn shown(self) -> String {
        match self {
            Self::Readable(text) | Self::Unreadable(text) => text,
        }
    }

    fn of_utf8(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Readable(text.to_owned()),
            Err(_) => Self::unreadable(bytes),
        }
    }

    fn unreadable(bytes: &[u8]) -> Self {
        Self::Unreadable(bytes.escape_ascii().to_string())
    }
}

/// The bytes of what [`Text::shown`] showed of an unreadable text; none where this is readable.
pub(super) fn bytes_of(shown: &str) -> Option<Vec<u8>> {
    if !shown.contains("\\x") {
        return None;
    }
    let mut bytes = Vec::with_capacity(shown.len());
    let mut rest = shown.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                b't' => b'\t',
                b'n' => b'\n',
                b'r' => b'\r',
                other => other,
            },
            byte => byte,
        });
    }
    Some(bytes)
}

/// What queries can be sent on.
pub(super) enum Queryable<'a, C> {
    Session(&'a Session),
    Client(&'a C),
}

impl<C: Connection> Queryable<'_, C> {
    /// The texts in these columns, row by row; the rows have the database's encoding in a column of that name.
    pub(super) async fn columns<const N: usize>(
        &self,
        rows: &[Row],
        columns: [&'static str; N],
    ) -> Result<Vec<[Option<Text>; N]>, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query(WHAT, &error);
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let encoding: String = first.try_get("encoding").map_err(problem)?;
        let mut raw = Vec::with_capacity(rows.len() * N);
        for row in rows {
            for column in columns {
                raw.push(row.try_get::<_, Option<&[u8]>>(column).map_err(problem)?);
            }
        }
        let present: Vec<&[u8]> = raw.iter().copied().flatten().collect();
        let mut texts = self.decode(&encoding, &present).await?.into_iter();
        let mut all = raw.iter().map(|raw| raw.and_then(|_| texts.next()));
        Ok(rows.iter().map(|_| std::array::from_fn(|_| all.next().flatten())).collect())
    }

    /// Only what is not ASCII, and in neither UTF-8 nor SQL_ASCII, is sent back to the server.
    async fn decode(&self, encoding: &str, raw: &[&[u8]]) -> Result<Vec<Text>, QueueError> {
        if matches!(encoding, "UTF8" | "SQL_ASCII") || raw.iter().all(|bytes| bytes.is_ascii()) {
            return Ok(raw.iter().map(|bytes| Text::of_utf8(bytes)).collect());
        }
        match self.query_texts(encoding, raw).await {
            Ok(texts) => return Ok(texts.into_iter().map(Text::Readable).collect()),
            Err(error) if error.is_about_the_data() => {}
            Err(error) => return Err(error),
        }
        // One of them is at fault; alone it spoils only itself.
        let mut texts = Vec::with_capacity(raw.len());
        for bytes in raw {
            let text = match self.query_texts(encoding, &[bytes]).await {
                Ok(text) => text.into_iter().next(),
                Err(error) if error.is_about_the_data() => None,
                Err(error) => return Err(error),
            };
            texts.push(text.map_or_else(|| Text::unreadable(bytes), Text::Readable));
        }
        Ok(texts)
    }

    async fn query_texts(&self, encoding: &str, bytes: &[&[u8]]) -> Result<Vec<String>, QueueError> {
        let problem = |error: tokio_postgres::Error| QueueError::query(WHAT, &error);
        let parameters: [Parameter<'_>; 2] = [(&bytes, Type::BYTEA_ARRAY), (&encoding, Type::TEXT)];
        let rows = match self {
            Self::Session(session) => session.query(WHAT, DECODE, &parameters).await?,
            Self::Client(client) => client.query_typed(DECODE, &parameters).await.map_err(problem)?,
        };
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf8_is_shown_and_not_taken_for_text() {
        assert_eq!(Text::of_utf8("é.jpg".as_bytes()), Text::Readable("é.jpg".to_owned()));
        assert_eq!(Text::of_utf8(b"caf\xe9.jpg"), Text::Unreadable("caf\\xe9.jpg".to_owned()));
    }

    #[test]
    fn what_is_shown_of_bytes_leads_back_to_them() {
        let every_byte: Vec<u8> = (0..=255).collect();
        for bytes in [&every_byte[..], b"caf\xe9.jpg", b"\\x\xff", b"\xe9'\"\t"] {
            assert_eq!(bytes_of(&Text::of_utf8(bytes).shown()), Some(bytes.to_vec()));
        }
        for readable in ["6f1c", "caf\u{e9}", "\\", "", "\\x", "\\xe", "\\xzz", "\\xe9\\"] {
            assert_eq!(bytes_of(readable), None, "{readable}");
        }
    }
}
