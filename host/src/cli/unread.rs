//! Variables that look like configuration and are none.

/// Keys of Supabase's REST interface, which the worker does not speak (docs/decisions/0029).
const KEYS: [&str; 2] = ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEY"];

/// What is to be said of keys that are set; nothing where none is.
pub(super) fn unread_keys() -> Option<String> {
    let set =
        std::env::vars_os().filter(|(_, value)| !value.is_empty()).filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = set.filter(|name| KEYS.iter().any(|key| name.starts_with(key))).collect();
    names.sort();
    (!names.is_empty()).then(|| {
        format!(
            "{} not read: the worker speaks Postgres, and needs no key of Supabase's; unset it here (docs/secrets.md)",
            match names.as_slice() {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(" and ")),
            }
        )
    })
}
