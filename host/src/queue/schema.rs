//! The schema in which the app's `receipts` are, and our objects beside them. The statements of this host and the migrations
//! say `public`, so that other tools take the files as they are; [`Schema::qualify`] puts another name there, and
//! [`super::Connection`] sees to it that no statement goes without.
//!
//! Not by `search_path`: that is state of a session, and a pooler in transaction mode gives each statement another one.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

const PUBLIC: &str = "public";
/// Postgres cuts off what is longer.
const LONGEST: usize = 63;

/// A schema's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema(Cow<'static, str>);

/// What the statements say.
pub(super) static AS_WRITTEN: Schema = Schema::PUBLIC;

impl Schema {
    pub const PUBLIC: Self = Self(Cow::Borrowed(PUBLIC));

    /// As Postgres has it: without quotes.
    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn is_public(&self) -> bool {
        self.0 == PUBLIC
    }

    /// As it stands in a statement.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// A statement that says `public`, for this schema: names (`public.receipts`, `SCHEMA public`), names in literals
    /// (`'public.receipts'`, `'public'::regnamespace`), and both in the bodies of functions. Comments stay as they are, and
    /// so does `'public'` by itself, which is the role that everybody has.
    pub fn qualify<'a>(&self, sql: &'a str) -> Cow<'a, str> {
        if self.is_public() {
            return Cow::Borrowed(sql);
        }
        let name = self.quoted();
        let mut out = String::with_capacity(sql.len() + sql.len() / 8);
        let mut rest = sql;
        while let Some(first) = rest.chars().next() {
            let (token, after) = rest.split_at(token_length(rest, first));
            match first {
                '\'' if is_namespace(token, after) => {
                    out.push_str(&format!("'{}'", name.replace('\'', "''")));
                }
                '\'' => in_literal(token, &name.replace('\'', "''"), &mut out),
                _ if is_schema(&out, token, after) => out.push_str(&name),
                _ => out.push_str(token),
            }
            rest = after;
        }
        Cow::Owned(out)
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Schema {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name.is_empty() || name.len() > LONGEST {
            return Err(format!("a schema's name has 1 to {LONGEST} bytes"));
        }
        // What would mean something in a function's body: $body$, format's %, a backslash in a literal.
        if let Some(odd) = name.chars().find(|c| c.is_control() || ['%', '$', '\\'].contains(c)) {
            return Err(format!("a schema whose name has {odd:?} in it is not supported; rename it"));
        }
        if name.starts_with("pg_") || name == "information_schema" {
            return Err(format!("{name} is Postgres's own; name the schema that the receipts table is in"));
        }
        Ok(Self(Cow::Owned(name.to_owned())))
    }
}

/// How long the token is that `text` begins with: a comment, a literal, a quoted name, a word, or one character. The quotes of
/// a function's body ($body$) are words like others, so that what is between them is read as the statement that it is.
fn token_length(text: &str, first: char) -> usize {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let end = |at: Option<usize>| at.unwrap_or(text.len());
    match first {
        '\'' | '"' => quoted_length(text, first),
        '-' if text.starts_with("--") => end(text.find('\n')),
        '/' if text.starts_with("/*") => end(text.find("*/").map(|at| at + 2)),
        _ if word(first) => end(text.find(|c| !word(c))),
        _ => first.len_utf8(),
    }
}

/// Up to the quote that ends it; a doubled one does not.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut quotes = text.match_indices(quote).map(|(at, _)| at).skip(1).peekable();
    while let Some(at) = quotes.next() {
        if quotes.next_if_eq(&(at + 1)).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// Whether a word or a quoted name is the schema: before a dot, or behind the word SCHEMA.
fn is_schema(before: &str, token: &str, after: &str) -> bool {
    let last_word = || before.trim_end().rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    (token == PUBLIC || token == "\"public\"")
        && !before.ends_with('.')
        && (after.starts_with('.') || last_word().eq_ignore_ascii_case("schema"))
}

/// Whether a literal is the schema's name as a value.
fn is_namespace(literal: &str, after: &str) -> bool {
    literal == "'public'" && after.trim_start().starts_with("::regnamespace")
}

/// Names in a literal: 'public.receipts', or a sentence about it.
fn in_literal(literal: &str, name: &str, out: &mut String) {
    let mut rest = literal;
    while let Some(at) = rest.find("public.") {
        let (before, found) = rest.split_at(at);
        let after = found.split_at(PUBLIC.len()).1;
        let begins = !before.ends_with(|c: char| c.is_alphanumeric() || ['_', '.', '$'].contains(&c));
        let names =
            after.strip_prefix('.').is_some_and(|object| object.starts_with(|c: char| c.is_alphabetic() || c == '"'));
        out.push_str(before);
        out.push_str(if begins && names { name } else { PUBLIC });
        rest = after;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn schema(name: &str) -> Schema {
        name.parse().unwrap()
    }

    #[test]
    fn names_are_replaced_wherever_they_stand() {
        let cases = [
            ("SELECT FROM public.receipts r", r#"SELECT FROM "a b".receipts r"#),
            ("nextval('public.receipt_queue_token')", r#"nextval('"a b".receipt_queue_token')"#),
            ("'public'::regnamespace", r#"'"a b"'::regnamespace"#),
            ("ON SCHEMA public TO x", r#"ON SCHEMA "a b" TO x"#),
            ("\"public\".receipts", r#""a b".receipts"#),
            ("$body$ DELETE FROM public.q; $body$", r#"$body$ DELETE FROM "a b".q; $body$"#),
            ("-- an id's\nSELECT public.x", "-- an id's\nSELECT \"a b\".x"),
            ("'it''s public.receipts'", r#"'it''s "a b".receipts'"#),
            ("format('public.%I', x)", "format('public.%I', x)"),
        ];
        for (sql, expected) in cases {
            assert_eq!(schema("a b").qualify(sql), expected);
            assert_eq!(Schema::PUBLIC.qualify(sql), sql);
        }
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for sql in [
            "coalesce(r.rolname, 'public')",
            "REVOKE ALL ON x FROM PUBLIC",
            "SELECT x.public.y, republic.z, public_key FROM t",
            "'in public. Then', 'not.public.x', 'republic.x'",
            "-- public.receipts\n/* public.receipts */",
            "\"a public.name\"",
        ] {
            assert_eq!(schema("app").qualify(sql), sql);
        }
    }

    #[test]
    fn quotes_in_the_name_are_doubled_as_often_as_needed() {
        let weird = schema("it's \"mine\"");
        assert_eq!(weird.qualify("public.x"), "\"it's \"\"mine\"\"\".x");
        assert_eq!(weird.qualify("'public.x'::regclass"), "'\"it''s \"\"mine\"\"\".x'::regclass");
        assert_eq!(weird.qualify("'public'::regnamespace"), "'\"it''s \"\"mine\"\"\"'::regnamespace");
    }

    #[test]
    fn names_that_no_schema_of_an_app_has_are_refused() {
        for name in
            ["", "pg_catalog", "pg_toast", "information_schema", "$user", "a%b", "a\nb", "a\\b", &"x".repeat(64)]
        {
            assert!(name.parse::<Schema>().is_err(), "{name:?}");
        }
    }

    /// What [`Schema::qualify`] would leave behind: a schema's name in a place that it does not know.
    #[test]
    fn no_statement_keeps_public_behind() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = ["src/queue/sql", "../migrations"]
            .iter()
            .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
            .collect();
        assert!(files.len() > 20, "{files:?}");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let qualified = schema("elsewhere").qualify(&text).into_owned();
            for (number, line) in qualified.lines().enumerate() {
                let code = line.split("--").next().unwrap();
                // The role that everybody has, as the migrations write it.
                let code = code.replace("rolname, 'public'", "").replace("grantee = 'public'", "");
                let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(words.into_iter().all(|word| word != PUBLIC), "{}:{}: {line}", file.display(), number + 1);
            }
        }
    }
}
