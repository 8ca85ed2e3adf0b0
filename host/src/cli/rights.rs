//! `host rights`: the SQL that gives a role what the host needs.

use std::process::ExitCode;

use clap::Args;

use super::args::SchemaArgs;
use super::output;
use crate::queue::Schema;
use crate::queue::role::{RoleName, script_in};

/// Prints the SQL that makes a role for the host with exactly the rights that its verbs need.
///
/// The owner of the tables runs it after `host migrate`: in psql, or pasted into the SQL editor of a platform. It holds no
/// secret, connects to nothing, and is safe to run again. Set a password afterwards, and give the host that role in
/// DATABASE_URL; `host doctor` then says whether anything is missing. `host migrate` and `host enqueue` are the owner's and
/// the app's, and go on under theirs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  host rights --role receipt_worker | psql \"$OWNER_URL\"
  host rights --role receipt_worker > role.sql")]
pub(crate) struct Rights {
    /// The role; made unless it is there.
    #[arg(long, env = "WORKER_ROLE", default_value = "receipt_worker", value_name = "NAME")]
    role: RoleName,
    /// One line of JSON: role, schema and sql.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    schema: SchemaArgs,
}

impl Rights {
    pub(super) fn execute(self) -> anyhow::Result<ExitCode> {
        let schema = self.schema.named()?.unwrap_or(Schema::PUBLIC);
        let sql = script_in(&self.role, &schema);
        if self.json {
            output::json(&serde_json::json!({ "role": self.role.name(), "schema": schema.name(), "sql": sql }))?;
        } else {
            output::line(sql.trim_end())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
