//! A name without what is printed around it.

use super::super::header;
use super::super::words::Words;

/// A name as it should be shown: without the registration number behind it and the ornaments around it.
pub(in crate::parser) fn tidy(text: &str) -> String {
    let mut name = text.trim();
    // `OWN BY: X SDN BHD`: what stands before the colon is no part of the name.
    if let Some((_, owner)) = name.split_once(": ") {
        name = owner;
    }
    loop {
        let before = name;
        name = name.trim_matches(|c: char| c.is_whitespace() || ORNAMENTS.contains(&c));
        name = name.trim_start_matches(['.', ')', ']']);
        name = without_first_number(name);
        name = without_number_after_form(name);
        name = without_bracketed_number(name);
        name = without_words_after_form(name);
        name = without_torn_bracket(name);
        name = without_last_number(name);
        if name == before {
            break;
        }
    }
    name.to_owned()
}

const ORNAMENTS: [char; 22] =
    ['*', '#', '=', '-', '_', '~', ',', ';', ':', '|', '"', '\'', '“', '”', '‘', '’', '`', '<', '>', '«', '»', '—'];

/// `000002 X SDN BHD`: a till's number in front is no part of the name.
fn without_first_number(name: &str) -> &str {
    let Some((first, rest)) = name.split_once(char::is_whitespace) else { return name };
    let is_number = first.len() >= 5 && first.bytes().all(|b| b.is_ascii_digit());
    if is_number && rest.chars().any(char::is_alphabetic) { rest } else { name }
}

/// `X S/B 273500-U (NORTH)`: what follows the number behind a legal form is a branch.
fn without_number_after_form(name: &str) -> &str {
    let mut at = 0;
    for word in name.split(' ') {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let letters = word.chars().filter(|c| c.is_alphabetic()).count();
        let head = name.get(..at).unwrap_or_default();
        if digits >= 5
            && letters <= 2
            && word.starts_with(|c: char| c.is_ascii_digit())
            && header::is_legal(&Words::new(head))
        {
            return head;
        }
        at += word.len() + 1;
    }
    name
}

/// `X SDN BHD (126926-H)`, `X <484297-M>`: without what is in the last brackets, where that is a number.
fn without_bracketed_number(name: &str) -> &str {
    let Some(open) = name.rfind(['(', '[', '<', '{']) else { return name };
    let (head, tail) = name.split_at(open);
    let digits = tail.chars().filter(char::is_ascii_digit).count();
    let after = tail.find([')', ']', '>', '}']).map_or("", |close| tail.get(close + 1..).unwrap_or_default());
    let letters_after = after.chars().filter(|c| c.is_alphabetic()).count();
    if digits >= 4 && letters_after <= 2 && !head.trim().is_empty() { head } else { name }
}

/// `X SDN BHD ba`: nothing but a bracket may follow a form that always ends the name.
fn without_words_after_form(name: &str) -> &str {
    const ENDS: [&str; 5] = ["SDN BHD", "SDN. BHD.", "SDN. BHD", "SDN BHD.", " S/B"];
    for end in ENDS {
        let at = name.as_bytes().windows(end.len()).position(|w| w.eq_ignore_ascii_case(end.as_bytes()));
        let Some((head, tail)) = at.and_then(|at| name.split_at_checked(at + end.len())) else { continue };
        if tail.starts_with(char::is_whitespace) && !tail.trim_start().starts_with(['(', '[', '.']) {
            return head;
        }
    }
    name
}

/// `X SDN BHD (862`, `X BHD. (p J`: what is left of a number in brackets.
fn without_torn_bracket(name: &str) -> &str {
    let Some((head, tail)) = name.rfind(['(', '[', '<', '{']).and_then(|open| name.split_at_checked(open)) else {
        return name;
    };
    let closed = tail.contains([')', ']', '>', '}']);
    if !closed && header::is_legal(&Words::new(head)) { head } else { name }
}

/// `X SDN BHD 862725-U`, `X SDN BHD CO. NO. 862725-U`: without the number and the words that announce it.
fn without_last_number(name: &str) -> &str {
    let Some((head, last)) = name.rsplit_once(char::is_whitespace) else { return name };
    let digits = last.chars().filter(char::is_ascii_digit).count();
    let letters = last.chars().filter(|c| c.is_alphabetic()).count();
    if digits < 5 || letters > 3 {
        return name;
    }
    let mut head = head;
    while let Some((rest, word)) = head.rsplit_once(char::is_whitespace) {
        let words = Words::new(word);
        let announces =
            words.is_empty() || words.iter().all(|w| matches!(w, "NO" | "REG" | "ROC" | "COMPANY" | "CO" | "BRN"));
        if !announces {
            break;
        }
        head = rest;
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tidied() {
        for (text, name) in [
            ("AEON CO. (M) BHD (126926-H)", "AEON CO. (M) BHD"),
            ("X SDN BHD (CO. NO:20154-T)", "X SDN BHD"),
            ("X SDN BHD 862725-U", "X SDN BHD"),
            ("X SDN BHD CO. NO. 862725-U", "X SDN BHD"),
            ("** X **", "X"),
            ("META -", "META"),
            ("SUNFISH <484297-M>", "SUNFISH"),
            ("Print Sdn Bhd ba", "Print Sdn Bhd"),
            ("PRINT SDN BHD (NORTH)", "PRINT SDN BHD (NORTH)"),
            ("99 SPEED (2000)", "99 SPEED"),
            ("TRIPLE SIX 666", "TRIPLE SIX 666"),
            ("000002 X (M) SDN BHD", "X (M) SDN BHD"),
            ("X S/B 273500-U (NORTH)", "X S/B"),
            ("X S/B eae", "X S/B"),
            (". X SDN. BHD. (p J", "X SDN. BHD."),
            ("X BHD (126", "X BHD"),
            ("X BHD (NORTH)", "X BHD (NORTH)"),
            ("(X)", "(X)"),
        ] {
            assert_eq!(tidy(text), name, "{text}");
        }
    }
}
