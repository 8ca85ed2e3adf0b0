//! Amounts that OCR damaged, as they were printed: `1O.5O`, `RM l2.30`, `§.30`, `RH6.35`, `17 ,76`, `6·35`, `RM28 05`.
//!
//! Only what has the shape of an amount is touched: a few digits, a mark, two more, and nothing else around them; more true
//! digits than letters. A damaged amount is worth less than a clean one, so it is told which they are.

/// A text with its damaged amounts mended.
pub(in crate::parser) struct Repaired {
    pub(in crate::parser) text: String,
    /// Where something was mended, in bytes of the new text.
    places: Vec<(usize, usize)>,
}

impl Repaired {
    pub(in crate::parser) fn new(text: &str) -> Self {
        let mut repaired = Self { text: String::with_capacity(text.len()), places: Vec::new() };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first.is_whitespace() {
                repaired.text.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
                continue;
            }
            let token = rest.split(char::is_whitespace).next().unwrap_or(rest);
            let after = rest.get(token.len()..).unwrap_or_default();
            // Torn in two, or damaged in itself.
            let torn = torn(token, after).and_then(|(joined, len)| {
                let clean = is_clean(&joined) && !token.ends_with(['.', ',']);
                let mended = mend(&joined).or_else(|| clean.then_some(joined))?;
                Some((mended, token.len() + len))
            });
            let start = repaired.text.len();
            let whole = || Some((mend(token).or_else(|| lone_sign(token, after))?, token.len()));
            let len = match torn.or_else(whole) {
                Some((mended, len)) => {
                    repaired.text.push_str(&mended);
                    repaired.places.push((start, repaired.text.len()));
                    len
                }
                None => {
                    repaired.text.push_str(token);
                    token.len()
                }
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        repaired
    }

    /// Whether it ends in digits, a space and two more, as an amount does that lost its mark.
    pub(in crate::parser) fn ends_without_mark(&self) -> bool {
        self.lost_mark().is_some()
    }

    /// Puts the mark where it was lost.
    pub(in crate::parser) fn set_lost_mark(&mut self) {
        if let Some((start, mended)) = self.lost_mark() {
            self.text.truncate(start);
            self.text.push_str(&mended);
            self.places.push((start, self.text.len()));
        }
    }

    fn lost_mark(&self) -> Option<(usize, String)> {
        let (before, tail) = self.text.rsplit_once(' ')?;
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let head = before.get(start..)?;
        let is_amount = (1..=4).contains(&head.chars().count()) && tail.chars().count() == 2;
        is_amount.then(|| mend(&format!("{head}·{tail}"))).flatten().map(|mended| (start, mended))
    }

    /// Whether something was mended there.
    pub(in crate::parser) fn is_mended(&self, start: usize, end: usize) -> bool {
        // In order: those that end before it are passed over.
        let first = self.places.partition_point(|&(_, to)| to <= start);
        self.places.get(first).is_some_and(|&(from, _)| from < end)
    }
}

/// A token and the next one that are one amount, torn at its mark; with how much of what follows belongs to it.
fn torn(token: &str, after: &str) -> Option<(String, usize)> {
    let next = after.strip_prefix(' ')?.split(char::is_whitespace).next()?;
    let len = 1 + next.len();
    let ends_in_digit = token.ends_with(|c| digit(c).is_some());
    // Two letters are as well a word.
    let is_pair =
        next.contains(|c: char| c.is_ascii_digit()) && next.chars().take_while(|c| digit(*c).is_some()).count() == 2;
    let is_last = after.len() == len;
    let torn_before = ends_in_digit && next.starts_with(['.', ',']);
    let torn_behind = token.ends_with(['.', ',']) && is_pair;
    if torn_before || torn_behind {
        return Some((format!("{token}{next}"), len));
    }
    // `RM28 05`: the sign says that it is an amount, and nothing follows.
    let signed = sign(token).is_some_and(|(_, body)| (1..=4).contains(&body.len()));
    let lost = signed && ends_in_digit && is_pair && is_last && next.len() == 2;
    lost.then(|| (format!("{token}.{next}"), len))
}

/// Digits, a mark and two digits, perhaps behind a sign: nothing but the blank was wrong.
fn is_clean(token: &str) -> bool {
    let body = sign(token).map_or(token, |(_, body)| body);
    let parts = body.split_once(['.', ',']);
    parts.is_some_and(|(head, tail)| {
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        (1..=4).contains(&head.len()) && tail.len() == 2 && is_digits(head) && is_digits(tail)
    })
}

/// The token as it was printed; none where it is no damaged amount.
fn mend(token: &str) -> Option<String> {
    let body = token.trim_start_matches(['-', '*', '(', '<', '«', '_', ':', '=', '~', '"', '“', '$', '€', '£']);
    let lead = token.get(..token.len() - body.len())?;
    let is_ringgit = body.get(..2).is_some_and(|first| first.eq_ignore_ascii_case("RM"));
    let signed = sign(body).is_some();
    let (sign, body) = sign(body).unwrap_or(("", body));
    let head: String = body.chars().take_while(|c| digit(*c).is_some()).collect();
    let behind = body.get(head.len()..)?;
    let marks: String = behind.chars().take_while(|c| is_mark(*c, is_ringgit)).collect();
    let behind = behind.get(marks.len()..)?;
    let tail: String = behind.chars().take_while(|c| digit(*c).is_some()).take(2).collect();
    let rest = behind.get(tail.len()..)?;
    let sure_marks = marks.chars().filter(|c| !matches!(c, '.' | ',')).count();
    let shaped = (1..=6).contains(&head.chars().count())
        && (1..=2).contains(&marks.chars().count())
        && sure_marks <= 1
        && tail.chars().count() == 2
        && may_follow(rest, &tail)
        && may_begin(&head, signed);
    let true_digits = head.chars().chain(tail.chars()).filter(char::is_ascii_digit).count();
    let letters = head.chars().count() + 2 - true_digits;
    if !shaped || true_digits < 2 || letters > true_digits {
        return None;
    }
    let digits = |text: &str| -> String { text.chars().filter_map(digit).collect() };
    let mended = format!("{lead}{sign}{}.{}{rest}", digits(&head), digits(&tail));
    // A comma for the point is a notation, not damage.
    (mended != token && mended.replace('.', ",") != token.replace('.', ",")).then_some(mended)
}

/// The currency sign in front, as it was printed, where that is sure. M is OCR's hardest letter; what begins with another letter may
/// as well be another sign (KM) or a word (PH), and says no currency.
fn sign(body: &str) -> Option<(&'static str, &str)> {
    const MISREAD: [&str; 13] = ["RM", "RH", "RN", "RK", "RW", "RA", "PM", "PH", "KM", "FM", "HM", "BM", "BH"];
    let (first, rest) = (body.get(..2)?, body.get(2..)?);
    let amount = rest.starts_with(|c| digit(c).is_some());
    let is_sign = amount && MISREAD.iter().any(|sign| first.eq_ignore_ascii_case(sign));
    is_sign.then_some((if first.starts_with(['R', 'r']) { "RM" } else { "" }, rest))
}

/// `RN 41.95`: ringgit, a blank away from its amount.
fn lone_sign(token: &str, after: &str) -> Option<String> {
    const MISREAD: [&str; 4] = ["RN", "RH", "RK", "RW"];
    let next = after.strip_prefix(' ')?.split(char::is_whitespace).next()?;
    let (whole, cents) = next.split_once(['.', ','])?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let amount = is_number(whole) && cents.get(..2).is_some_and(is_number);
    (amount && MISREAD.contains(&token)).then(|| "RM".to_owned())
}

/// Marks that are read for a point; those of times and ranges only behind a sign that is read without doubt.
fn is_mark(c: char, is_ringgit: bool) -> bool {
    matches!(c, '.' | ',' | '·' | '•' | '‚') || is_ringgit && matches!(c, ';' | ':' | '-' | '\'' | '’')
}

/// Whether the amount may end there: at the token's end, at punctuation, or at a tax code.
fn may_follow(rest: &str, tail: &str) -> bool {
    let mut chars = rest.chars();
    match chars.next() {
        None => true,
        Some('%' | '/' | '.' | ',' | ':') => {
            chars.next().is_none_or(|c| !c.is_alphanumeric()) && !rest.starts_with('%')
        }
        Some(c) if !c.is_alphanumeric() => !rest.contains(|c: char| c.is_ascii_digit()),
        Some(_) => matches!(rest, "SR" | "S" | "ZR" | "ZRL" | "T" | "Z") && tail.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// A letter before digits is as often a code (B12.50, S1.00 for $1.00): only signs and letters that are no codes may begin.
///
/// A rule of a table or a bracket in front of an amount is no digit of it.
fn may_begin(head: &str, signed: bool) -> bool {
    let alone = head.chars().count() == 1;
    let is_whole_without = head.chars().skip(1).filter(char::is_ascii_digit).count() >= 2;
    if head.starts_with(['|', '[', ']', '!', '?']) || (head.starts_with(['{', '§']) && is_whole_without) {
        return false;
    }
    signed || alone || !head.starts_with(['S', 's', 'B', 'Z', 'z', 'G', 'D', 'Q', 'U', 'g', 'q'])
}

/// The digit, or the one that it was read for.
fn digit(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        'O' | 'o' | 'D' | 'Q' | 'U' => Some('0'),
        'l' | 'I' | 'i' | '|' | '!' | '{' | '[' | ']' => Some('1'),
        'Z' | 'z' => Some('2'),
        'S' | 's' | '§' => Some('5'),
        'G' => Some('6'),
        '?' => Some('7'),
        'B' => Some('8'),
        'g' | 'q' => Some('9'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn damaged_amounts_are_mended() {
        for (text, mended) in [
            ("1O.5O", "10.50"),
            ("RM l2.30", "RM 12.30"),
            ("TOTAL §.30", "TOTAL 5.30"),
            ("{2.00", "12.00"),
            ("RM1S.90 s", "RM15.90 s"),
            ("RN12.95", "RM12.95"),
            ("PH108.S0", "108.50"),
            ("17 ,76", "17,76"),
            ("12 .50", "12.50"),
            ("RM12. 5O", "RM12.50"),
            ("RM28 05", "RM28.05"),
            ("£6·35", "£6.35"),
            ("6·35", "6.35"),
            ("RM12:50", "RM12.50"),
            ("RM7..0O", "RM7.00"),
            ("5.S0SR", "5.S0SR"),
            ("RMB.20", "RM8.20"),
            ("RN 41.95", "RM 41.95"),
        ] {
            assert_eq!(Repaired::new(text).text, mended, "{text}");
        }
    }

    #[test]
    fn a_lost_mark_is_set_where_it_is_asked_for() {
        let set = |text: &str| {
            let mut repaired = Repaired::new(text);
            repaired.set_lost_mark();
            repaired.text
        };
        assert_eq!(set("TOTAL 98 35"), "TOTAL 98.35");
        assert_eq!(set("4B 54"), "48.54");
        assert_eq!(set("TOTAL 12345 67"), "TOTAL 12345 67");
        assert_eq!(set("TOTAL QTY 3"), "TOTAL QTY 3");
    }

    #[test]
    fn only_what_begins_as_the_sign_says_a_currency() {
        let mended = |text: &str| Repaired::new(text).text;
        assert_eq!((mended("RH7.40").as_str(), mended("KM12.50").as_str()), ("RM7.40", "12.50"));
    }

    #[test]
    fn the_rest_is_left_alone() {
        for text in [
            "12.50",
            "12,50",
            "RM 12.50",
            "12:50",
            "17;30 Uhr",
            "2O.03.2018",
            "S1.00",
            "B12.50",
            "IS 10. is",
            "NO. 12",
            "03-2164",
            "1 2.50",
            "A1.50",
            "0123456789",
            "SI.ZO",
            "5.50%",
            "9.30am",
            "GST 6. 00 %",
            "TOTAL 3 15",
            "1.25S7",
            "|12.50",
            "[12.50]",
            "?12.50",
            "§12.50",
            "PM12:30",
            "BM20-15",
            "RN NURSE",
            "RW 12",
        ] {
            assert_eq!(Repaired::new(text).text, text);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_the_places_are_in_the_text(text in "[RM0-9OlS., :§·]{0,20}") {
            let repaired = Repaired::new(&text);
            for (start, end) in &repaired.places {
                prop_assert!(repaired.text.get(*start..*end).is_some());
            }
        }
    }
}
