//! What one has to know of a Postgres that Supabase hosts, where a connection fails for it.

/// Where a connection was tried, and how it failed.
pub(super) struct Attempt<'a> {
    pub(super) host: &'a str,
    pub(super) user: &'a str,
    /// What is known of the reason, for a person.
    pub(super) reason: &'a str,
    pub(super) refused: bool,
    /// Whether nobody answered at all.
    pub(super) unreachable: bool,
}

const POOLER: &str = ".pooler.supabase.com";

/// What to do about it; nothing where the reason says all.
pub(super) fn cure(attempt: &Attempt<'_>) -> Option<String> {
    let host = attempt.host.to_ascii_lowercase();
    let direct = host.strip_prefix("db.").and_then(|rest| {
        rest.strip_suffix(".supabase.co").or_else(|| rest.strip_suffix(".supabase.com")).filter(|name| !name.is_empty())
    });
    let pooled = host.ends_with(POOLER);
    if direct.is_none() && !pooled {
        return None;
    }
    if attempt.reason.contains("has signed the server's certificate") {
        return Some(
            "Supabase's CA is its own: download it (Database Settings, SSL Configuration) and name the file with sslrootcert".to_owned(),
        );
    }
    let dotted = attempt.user.contains('.');
    match direct {
        Some(project) if attempt.unreachable => Some(format!(
            "db.{project} has an IPv6 address alone, unless the project has the IPv4 add-on: from a network without IPv6 use the \
             session pooler, postgres://{user}.{project}:PASSWORD@aws-N-REGION{POOLER}:5432/postgres (the project's page, \
             Connect)",
            user = attempt.user.split('.').next().unwrap_or("postgres"),
        )),
        Some(project) if attempt.refused && dotted => {
            Some(format!("at db.{project} the role's name stands alone, without .{project}: that is for the pooler"))
        }
        None if (attempt.refused || attempt.reason.contains("Tenant or user not found")) && !dotted => Some(format!(
            "at the pooler the user is ROLE.PROJECT, such as {}.abcdefghijklmnopqrst",
            if attempt.user.is_empty() { "postgres" } else { attempt.user }
        )),
        None if attempt.reason.contains("Tenant or user not found") => Some(
            "the pooler of this region does not know that project or role: compare host and user with the project's page \
             (Connect)"
                .to_owned(),
        ),
        _ => None,
    }
}

/// What to do where notifications do not get through the pooler.
pub(super) fn cure_of_silence(at: &str) -> &'static str {
    match at.contains(POOLER) {
        true => "; Supabase's session pooler is the same host with port 5432",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DIRECT: &str = "db.abcdefghijklmnopqrst.supabase.co";
    const POOLED: &str = "aws-0-eu-west-1.pooler.supabase.com";

    fn of<'a>(host: &'a str, user: &'a str, reason: &'a str) -> Attempt<'a> {
        Attempt { host, user, reason, refused: false, unreachable: false }
    }

    #[test]
    fn each_mistake_has_its_cure() {
        let unreachable = Attempt { unreachable: true, ..of(DIRECT, "receipt_worker", "Network is unreachable") };
        let said = cure(&unreachable).unwrap();
        assert!(said.contains("IPv6") && said.contains("receipt_worker.abcdefghijklmnopqrst:PASSWORD@"), "{said}");
        let password = "password authentication failed";
        let dotted = Attempt { refused: true, ..of(DIRECT, "worker.abcdefghijklmnopqrst", password) };
        assert!(cure(&dotted).unwrap().contains("stands alone"));
        let tenant = "Tenant or user not found";
        assert!(cure(&of(POOLED, "worker", tenant)).unwrap().contains("worker.abcdefghijklmnopqrst"));
        assert!(cure(&of(POOLED, "worker.abcdefghijklmnopqrst", tenant)).unwrap().contains("region"));
        let unknown = "none of the CAs that this system knows has signed the server's certificate; name …";
        assert!(cure(&of(POOLED, "worker.x", unknown)).unwrap().contains("sslrootcert"));
    }

    #[test]
    fn nobody_else_hears_of_supabase() {
        let elsewhere =
            Attempt { refused: true, unreachable: true, ..of("db.example.com", "me", "Tenant or user not found") };
        assert_eq!(cure(&elsewhere), None);
        let wrong = Attempt { refused: true, ..of(DIRECT, "worker", "password authentication failed") };
        assert_eq!(cure(&wrong), None);
        assert_eq!(cure_of_silence("localhost:6543/app"), "");
    }
}
