//! From what a secret holds to a connection string. No message repeats a value.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// What needs no encoding anywhere in a URL.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What apps call a connection string in a JSON of theirs.
const USUAL: [&str; 2] = ["DATABASE_URL", "database_url"];
const RDS: &str = "postgres://{username}:{password}@{host}:{port}/{dbname}";

/// Whether there is a place for a secret in it.
pub fn is_template(text: &str) -> bool {
    next_place(text).is_some()
}

/// The connection string that `text` comes to: its JSON's `key`, or its values put into `template`, or itself.
pub(super) fn connection_string(text: &str, key: Option<&str>, template: Option<&str>) -> Result<String, String> {
    let text = text.trim();
    let json = serde_json::from_str::<Value>(text).ok();
    let object = json.as_ref().and_then(Value::as_object);
    let chosen = match (key, object) {
        (None, _) => None,
        (Some(key), Some(object)) => Some(member(object, key)?),
        (Some(key), None) => return Err(format!("it is no JSON object, and the key {key} is asked for")),
    };
    match (template, chosen, object) {
        // A value of its own is the password.
        (Some(template), Some(password), _) => fill(template, |name| only_password(name, &password)),
        (Some(template), None, Some(object)) => fill(template, |name| member(object, name)),
        (Some(template), None, None) => fill(template, |name| only_password(name, text)),
        (None, Some(url), _) => Ok(url),
        (None, None, Some(object)) => of_object(object),
        (None, None, None) if text.is_empty() => Err("it is empty".to_owned()),
        (None, None, None) => Ok(text.to_owned()),
    }
}

/// The JSON that RDS keeps, or an app's own.
fn of_object(object: &Map<String, Value>) -> Result<String, String> {
    if let Some(url) = USUAL.iter().find(|name| object.contains_key(**name)) {
        return member(object, url);
    }
    if !object.contains_key("host") {
        return Err(format!(
            "it is JSON without a host: name a key of it (NAME#KEY), or put its values into DATABASE_URL \
             (postgres://{{username}}:{{password}}@host:5432/db); {}",
            has(object)
        ));
    }
    if let Some(engine) = object.get("engine").and_then(Value::as_str)
        && !engine.contains("postgres")
    {
        return Err("its engine is not postgres".to_owned());
    }
    fill(RDS, |name| match (name, object.contains_key(name)) {
        ("port", false) => Ok("5432".to_owned()),
        ("dbname", false) => Ok("postgres".to_owned()),
        _ => member(object, name),
    })
}

fn only_password(name: &str, password: &str) -> Result<String, String> {
    match name {
        "password" => Ok(password.to_owned()),
        _ => Err(format!("it is one value, which stands for {{password}}; there is nothing for {{{name}}}")),
    }
}

fn member(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    match object.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("its {name} is no text")),
        None => Err(format!("there is no {name} in its JSON; {}", has(object))),
    }
}

/// The names in it. One that looks like no name is not repeated.
fn has(object: &Map<String, Value>) -> String {
    let is_name = |name: &&str| name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphabetic() || "_-".contains(c));
    let names: Vec<&str> = object.keys().map(String::as_str).filter(is_name).collect();
    format!("it has: {}", names.join(", "))
}

/// Puts values into the {names} of a template, so that none can be more than a value: percent-encoded in a URL, quoted in
/// libpq's other form. Brackets are for IPv6.
fn fill(template: &str, value: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let is_url = template.contains("://");
    let (mut filled, mut rest) = (String::new(), template);
    while let Some((before, name, after)) = next_place(rest) {
        filled.push_str(before);
        let value = value(name)?;
        match (is_url, name) {
            (true, "host") if value.contains(':') => filled.push_str(&format!("[{value}]")),
            (true, _) => filled.extend(utf8_percent_encode(&value, KEPT)),
            (false, _) => filled.push_str(&format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What is before the next {name}, the name, and what is after it.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text.get(from..)?.find('{')?;
        let close = open + text.get(open..)?.find('}')?;
        let name = text.get(open + 1..close)?;
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            return Some((text.get(..open)?, name, text.get(close + 1..)?));
        }
        from = open + 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RDS_JSON: &str = r#"{"engine":"postgres","host":"db.example","port":5433,"username":"me","password":"a/b:c@d?é%'\\ {x}",
        "dbname":"app","dbInstanceIdentifier":"db-1"}"#;

    #[test]
    fn a_plain_text_is_the_connection_string() {
        assert_eq!(connection_string("postgres://h/d\n", None, None).unwrap(), "postgres://h/d");
        assert!(connection_string(" \n", None, None).unwrap_err().contains("empty"));
    }

    #[test]
    fn of_json_one_value_is_meant() {
        let json = r#"{"url":"postgres://h/d","DATABASE_URL":"postgres://h/usual"}"#;
        assert_eq!(connection_string(json, Some("url"), None).unwrap(), "postgres://h/d");
        assert_eq!(connection_string(json, None, None).unwrap(), "postgres://h/usual");
        let error = connection_string(json, Some("uri"), None).unwrap_err();
        assert_eq!(error, "there is no uri in its JSON; it has: DATABASE_URL, url");
        assert!(connection_string("postgres://h/d", Some("url"), None).unwrap_err().contains("no JSON object"));
    }

    #[test]
    fn what_rds_keeps_is_enough() {
        let url = connection_string(RDS_JSON, None, None).unwrap();
        assert_eq!(url, "postgres://me:a%2Fb%3Ac%40d%3F%C3%A9%25%27%5C%20%7Bx%7D@db.example:5433/app");
        let least = r#"{"host":"::1","username":"me","password":"pw"}"#;
        assert_eq!(connection_string(least, None, None).unwrap(), "postgres://me:pw@[::1]:5432/postgres");
        let other = connection_string(r#"{"engine":"mysql","host":"h","password":"pw"}"#, None, None).unwrap_err();
        assert!(other.contains("engine") && !other.contains("pw"), "{other}");
        let managed = connection_string(r#"{"username":"me","password":"pw"}"#, None, None).unwrap_err();
        assert!(managed.contains("{password}") && !managed.contains("pw"), "{managed}");
    }

    #[test]
    fn values_go_into_a_template_and_stay_values() {
        let template = "postgres://{username}:{password}@proxy:6432/app?sslmode=verify-full";
        let url = connection_string(RDS_JSON, None, Some(template)).unwrap();
        let password = "a%2Fb%3Ac%40d%3F%C3%A9%25%27%5C%20%7Bx%7D";
        assert_eq!(url, format!("postgres://me:{password}@proxy:6432/app?sslmode=verify-full"));
        let words = connection_string(RDS_JSON, None, Some("host=h user={username} password={password}")).unwrap();
        assert_eq!(words, r"host=h user='me' password='a/b:c@d?é%\'\\ {x}'");
        let one = |key, template| connection_string("a@b", key, Some(template));
        assert_eq!(one(None, "postgres://me:{password}@h/d").unwrap(), "postgres://me:a%40b@h/d");
        assert!(one(None, "postgres://{username}:{password}@h/d").unwrap_err().contains("{username}"));
        let chosen = connection_string(RDS_JSON, Some("username"), Some("postgres://me:{password}@h/d"));
        assert_eq!(chosen.unwrap(), "postgres://me:me@h/d");
    }

    #[test]
    fn braces_without_a_name_are_none() {
        assert!(!is_template("postgres://me:{}@h/d") && !is_template("postgres://me:{ a}@h/d"));
        assert!(is_template("postgres://{{username}:x@h/d"));
    }
}
