//! A connection string as names and values, in libpq's two forms: a URL, and words `key=value`. Nothing is known here of what
//! the names mean.

use percent_encoding::percent_decode_str;

use super::super::QueueError;
use super::super::complaint::{self, ENCODE};

/// One option. A password may be any bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: Vec<u8>,
}

impl Pair {
    fn new(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }
}

/// In the string's order.
pub(super) fn pairs(text: &str) -> Result<Vec<Pair>, QueueError> {
    let url = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match url {
        Some(rest) if complaint::has_a_stray_at(rest) => {
            Err(QueueError::Url("it has an @ too many; percent-encode the password (@ is %40, ? is %3F)".to_owned()))
        }
        Some(rest) => of_url(rest),
        None => match complaint::about_form(text) {
            Some(wrong) => Err(QueueError::Url(wrong)),
            None => of_words(text).ok_or_else(|| QueueError::Url(format!("it cannot be read{ENCODE}"))),
        },
    }
}

/// `user:password@host:port,host:port/database?name=value&…`; each part may be missing.
fn of_url(rest: &str) -> Result<Vec<Pair>, QueueError> {
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, place) = base.split_once('@').map_or((None, base), |(login, place)| (Some(login), place));
    let (servers, database) = place.split_once('/').unwrap_or((place, ""));
    let mut pairs = Vec::new();
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        pairs.push(Pair::new("user", decoded(user)));
        pairs.push(Pair::new("password", decoded(password)));
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for server in servers.split(',') {
        let (host, port) = server_of(server).ok_or_else(|| complaint::impossible("host"))?;
        hosts.push(decoded(host));
        ports.push(decoded(port));
    }
    for (name, list) in [("host", hosts), ("port", ports)] {
        if list.iter().any(|entry| !entry.is_empty()) {
            pairs.push(Pair::new(name, list.join(&b","[..])));
        }
    }
    pairs.push(Pair::new("dbname", decoded(database)));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(QueueError::Url(format!("it has an option without a value{ENCODE}")));
        };
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        pairs.push(Pair { name, value: decoded(value) });
    }
    Ok(pairs)
}

/// `host:port`; an IPv6 address stands in brackets.
fn server_of(server: &str) -> Option<(&str, &str)> {
    let Some(bracketed) = server.strip_prefix('[') else {
        return Some(server.split_once(':').unwrap_or((server, "")));
    };
    let (host, port) = bracketed.split_once(']')?;
    match port {
        "" => Some((host, "")),
        port => port.strip_prefix(':').map(|port| (host, port)),
    }
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// Words `key = value`. A value with blanks stands in single quotes; a backslash takes the next letter as it is.
fn of_words(text: &str) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return None;
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => value(quoted, |letter| letter == '\'').filter(|(_, after)| after.is_some())?,
            None => value(after, char::is_whitespace)?,
        };
        pairs.push(Pair::new(name, value));
        rest = after.unwrap_or_default().trim_start();
    }
    // An empty string is no connection string.
    (!pairs.is_empty()).then_some(pairs)
}

/// The text before the letter that ends it, and what follows that; nothing follows where the text itself ends.
fn value(text: &str, ends: impl Fn(char) -> bool) -> Option<(String, Option<&str>)> {
    let (mut value, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next()),
            letter if ends(letter) => return Some((value, Some(letters.as_str()))),
            letter => value.push(letter),
        }
    }
    Some((value, None))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As `name=value`; what is empty is left out.
    fn read(text: &str) -> Vec<String> {
        let shown = |pair: Pair| format!("{}={}", pair.name, String::from_utf8(pair.value).unwrap());
        pairs(text).unwrap().into_iter().filter(|pair| !pair.value.is_empty()).map(shown).collect()
    }

    #[test]
    fn a_url_is_read_as_libpq_reads_it() {
        assert_eq!(
            read("postgresql://me:p%40%20s@h:1/d?application_name=a%20b&x=y=z&&host=k"),
            ["user=me", "password=p@ s", "host=h", "port=1", "dbname=d", "application_name=a b", "x=y=z", "host=k"]
        );
        assert_eq!(read("postgres://a:1,b,[::1]:3/d"), ["host=a,b,::1", "port=1,,3", "dbname=d"]);
        assert_eq!(read("postgres://%2Fvar%2Frun:6432/d"), ["host=/var/run", "port=6432", "dbname=d"]);
        assert_eq!(read("postgres:///d?host=/run/x"), ["dbname=d", "host=/run/x"]);
        assert_eq!(read("postgres://me@/d"), ["user=me", "dbname=d"]);
        for wrong in ["postgres://[::1/d", "postgres://[::1]5/d", "postgres://h/d?word", "postgres://a@b@c/d"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_may_be_any_bytes() {
        let found = pairs("postgres://me:%ff%00@h/d").unwrap();
        assert!(found.contains(&Pair::new("password", &b"\xff\0"[..])));
    }

    #[test]
    fn words_are_quoted_as_libpq_has_it() {
        assert_eq!(read(" host = h  password='a b'"), ["host=h", "password=a b"]);
        assert_eq!(read(r"password='it\'s \\' user=a\ b"), [r"password=it's \", "user=a b"]);
        assert_eq!(read("password='' dbname=x"), ["dbname=x"]);
        assert_eq!(read("password='x://y@z@' dbname=x"), ["password=x://y@z@", "dbname=x"]);
        assert_eq!(read("host=h dbname='a'user=b password="), ["host=h", "dbname=a", "user=b"]);
        for broken in ["password='a b", "host=h word user=x", "word", "=x", "", "password=a b"] {
            assert!(pairs(broken).is_err(), "{broken}");
        }
    }
}
