//! A role for the host: its name, safely, in the SQL that makes it.

use std::str::FromStr;

use super::Schema;

const SCRIPT: &str = include_str!("sql/role.sql");

/// Postgres cuts off what is longer than 63 bytes, and the rights would be another role's; the policies' names are longer by
/// the prefix.
const LONGEST: usize = 63 - POLICY.len();
const POLICY: &str = "receipt queue: ";

/// The name of a role that the host may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleName(String);

impl RoleName {
    /// As Postgres has it: without quotes.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control) {
            return Err(format!("a role's name has 1 to {LONGEST} bytes and no control characters"));
        }
        if name.starts_with("pg_") || ["public", "none"].contains(&name) {
            return Err("Postgres keeps this name for itself".to_owned());
        }
        // The queue would be open to whoever has the app's public key.
        if ["anon", "authenticated"].contains(&name) {
            return Err(
                "this is an app's role, which must not touch the queue; choose one for the host alone".to_owned()
            );
        }
        Ok(Self(name.to_owned()))
    }
}

/// The SQL that makes the role and gives it what the host needs.
pub fn script(role: &RoleName) -> String {
    script_in(role, &Schema::PUBLIC)
}

/// As [`script`], where the receipts are in this schema.
pub fn script_in(role: &RoleName, schema: &Schema) -> String {
    let identifier = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let literal = format!("E'{}'", role.0.replace('\\', "\\\\").replace('\'', "''"));
    // The policies have a name that goes with the role: two roles may share the tables.
    let policy = identifier(&format!("{POLICY}{}", role.0));
    // In one pass: nothing in the name is taken for a place to fill in.
    let mut script = String::new();
    let mut rest = SCRIPT;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((place, after)) = after.split_once('}') else { break };
        script.push_str(&schema.qualify(before));
        match place {
            "LITERAL" => script.push_str(&literal),
            "POLICY" => script.push_str(&policy),
            _ => script.push_str(&identifier(&role.0)),
        }
        rest = after;
    }
    script.push_str(&schema.qualify(rest));
    script
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in ["", "public", "none", "pg_monitor", "anon", "authenticated", "a\nb", "a\0b", &"x".repeat(49)] {
            assert!(name.parse::<RoleName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn every_place_is_filled_in() {
        let script = script(&"{ROLE}\"'\\".parse().unwrap());
        assert!(!script.contains("{LITERAL}") && !script.contains("{POLICY}"));
        assert!(script.contains(r#"GRANT USAGE ON SCHEMA public TO "{ROLE}""'\";"#), "{script}");
        assert!(script.contains(r#"set_config('receipt_worker.role', E'{ROLE}"''\\', true)"#), "{script}");
    }
}
