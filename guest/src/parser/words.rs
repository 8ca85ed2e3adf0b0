//! Comparing printed words whatever their case, accents and punctuation, and in spite of a misread letter.

use super::lists::{List, hash, hash_of};

/// The words of a text: upper case, without accents, split at everything that is no letter or digit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words(Vec<Word>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    text: String,
    hash: u16,
}

impl Word {
    fn new(text: String) -> Self {
        Self { hash: hash(&text), text }
    }
}

impl Words {
    pub(super) fn new(text: &str) -> Self {
        let mut words = Vec::new();
        let mut word = String::new();
        for c in text.chars() {
            if c.is_alphanumeric() {
                fold(c, &mut word);
            } else if !is_within_word(c) && !word.is_empty() {
                words.push(Word::new(std::mem::take(&mut word)));
            }
        }
        if !word.is_empty() {
            words.push(Word::new(word));
        }
        Self(words)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|word| word.text.as_str())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(|word| word.text.as_str())
    }

    /// Whether the phrase (upper case, single spaces) stands in the text, word by word.
    pub(super) fn has(&self, phrase: &str) -> bool {
        (0..self.0.len()).any(|at| self.stands_at(at, phrase))
    }

    /// Whether one of the list's phrases stands in the text.
    pub(super) fn has_any(&self, list: &List) -> bool {
        (0..self.0.len()).any(|at| self.one_stands_at(at, list))
    }

    /// Whether the text begins with one of the list's phrases.
    pub(super) fn starts_with_any(&self, list: &List) -> bool {
        self.one_stands_at(0, list)
    }

    /// How many of the list's phrases stand in the text.
    pub(super) fn count(&self, list: &List) -> usize {
        if !self.0.iter().any(|word| list.may_begin(word.hash)) {
            return 0;
        }
        list.phrases().filter(|phrase| self.has(phrase)).count()
    }

    fn one_stands_at(&self, at: usize, list: &List) -> bool {
        let Some(word) = self.0.get(at).filter(|word| list.may_begin(word.hash)) else { return false };
        list.beginning(&word.text).any(|phrase| self.stands_at(at, phrase))
    }

    /// Whether the text begins with the phrase.
    pub(super) fn starts_with(&self, phrase: &str) -> bool {
        self.stands_at(0, phrase)
    }

    /// Whether the last word is a single letter.
    pub(super) fn ends_in_letter(&self) -> bool {
        self.0.last().is_some_and(|word| word.text.len() == 1)
    }

    /// Whether the text ends with the phrase, and has a word before it.
    pub(super) fn ends_with(&self, phrase: &str) -> bool {
        let length = phrase.split(' ').count();
        self.0.len() > length && self.stands_at(self.0.len() - length, phrase)
    }

    fn stands_at(&self, at: usize, phrase: &str) -> bool {
        let mut words = self.iter().skip(at);
        phrase.split(' ').all(|word| words.next() == Some(word))
    }

    /// Puts words together that OCR tore (T O T A L, TO TAL), and takes merged ones apart (GRANDTOTAL). `known`: what torn
    /// words may make; `pieces`: what merged ones may be made of.
    pub(super) fn pieced(self, known: &List, pieces: &List) -> Self {
        let whole = |at: usize| self.0.get(at..).and_then(|rest| whole(rest, known, pieces));
        // Most texts are as they should be.
        if (0..self.0.len()).all(|at| whole(at).is_none()) {
            return self;
        }
        let mut words: Vec<Word> = Vec::with_capacity(self.0.len());
        let mut at = 0;
        while let Some(word) = self.0.get(at) {
            match whole(at) {
                Some((made, count)) => {
                    words.extend(made);
                    at += count;
                }
                None => {
                    words.push(word.clone());
                    at += 1;
                }
            }
        }
        Self(words)
    }

    /// Replaces each word that is one misread letter away from one of `known` by it.
    pub(super) fn corrected(mut self, known: &List, not: &List) -> Self {
        for word in &mut self.0 {
            if word.text.len() < SHORTEST || not.has(&word.text) {
                continue;
            }
            let is_meant = |known: &&str| is_near(&word.text, known) || looks_like(&word.text, known);
            if let Some(meant) = known.phrases().find(is_meant) {
                *word = Word::new(meant.to_owned());
            }
        }
        self
    }
}

/// An apostrophe does not end a word: WATSON'S is one.
fn is_within_word(c: char) -> bool {
    matches!(c, '\'' | '’' | '`')
}

fn fold(c: char, out: &mut String) {
    let plain = match c {
        'a'..='z' => c.to_ascii_uppercase(),
        'A'..='Z' | '0'..='9' => c,
        'à'..='å' | 'À'..='Å' => 'A',
        'ç' | 'Ç' | 'č' | 'Č' | 'ć' | 'Ć' => 'C',
        'è'..='ë' | 'È'..='Ë' | 'ę' | 'Ę' | 'ě' | 'Ě' => 'E',
        'ì'..='ï' | 'Ì'..='Ï' => 'I',
        'ā' | 'Ā' | 'ă' | 'Ă' | 'ą' | 'Ą' | 'ạ'..='ặ' => 'A',
        'ď' | 'Ď' | 'đ' | 'Đ' => 'D',
        'ē' | 'Ē' | 'ė' | 'Ė' | 'ẹ'..='ệ' => 'E',
        'ğ' | 'Ğ' | 'ģ' | 'Ģ' => 'G',
        'ī' | 'Ī' | 'į' | 'Į' | 'ı' | 'İ' | 'ỉ'..='ị' => 'I',
        'ő' | 'Ő' | 'ō' | 'Ō' | 'ơ' | 'Ơ' | 'ọ'..='ợ' => 'O',
        'ř' | 'Ř' => 'R',
        'ş' | 'Ş' | 'ș' | 'Ș' => 'S',
        'ť' | 'Ť' | 'ţ' | 'Ţ' | 'ț' | 'Ț' => 'T',
        'ű' | 'Ű' | 'ů' | 'Ů' | 'ū' | 'Ū' | 'ư' | 'Ư' | 'ụ'..='ự' => 'U',
        'ý' | 'Ý' | 'ỳ'..='ỹ' => 'Y',
        'ñ' | 'Ñ' | 'ń' | 'Ń' | 'ň' | 'Ň' => 'N',
        'ò'..='ö' | 'Ò'..='Ö' | 'ø' | 'Ø' => 'O',
        'ù'..='ü' | 'Ù'..='Ü' => 'U',
        'ł' | 'Ł' => 'L',
        'ś' | 'Ś' | 'š' | 'Š' => 'S',
        'ż' | 'Ż' | 'ź' | 'Ź' | 'ž' | 'Ž' => 'Z',
        'ß' => return out.push_str("SS"),
        other => return out.extend(other.to_uppercase()),
    };
    out.push(plain);
}

/// Whether the two differ by at most one letter changed, added or left out.
fn is_near(word: &str, known: &str) -> bool {
    let (a, b) = (word.as_bytes(), known.as_bytes());
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same_start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    same_start + same_end + 1 >= a.len().max(b.len())
}

/// What the first words should be, if they are torn or the first is merged, and how many of them that is.
fn whole(words: &[Word], known: &List, pieces: &List) -> Option<(Vec<Word>, usize)> {
    /// Letters of the longest torn word.
    const LONGEST: usize = 12;
    let first = words.first()?;
    let spread = words.iter().take(LONGEST).take_while(|word| word.text.chars().count() == 1).count();
    let torn = [spread, 2].into_iter().find_map(|count| {
        let parts = words.get(..count).filter(|_| count > 1)?;
        if !known.may_begin(hash_of(parts.iter().map(|word| word.text.as_str()))) {
            return None;
        }
        let joined: String = parts.iter().map(|word| word.text.as_str()).collect();
        known.has(&joined).then(|| (vec![Word::new(joined)], count))
    });
    let merged = || apart(&first.text, pieces);
    torn.or_else(|| Some((merged()?.into_iter().map(|part| Word::new(part.to_owned())).collect(), 1)))
}

/// The listed words that a word is made of, if it is more than one.
fn apart(word: &str, pieces: &List) -> Option<Vec<&'static str>> {
    if word.len() < SHORTEST {
        return None;
    }
    let mut found = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let piece = pieces.beginning(rest).filter(|piece| rest.starts_with(piece)).max_by_key(|piece| piece.len())?;
        found.push(piece);
        rest = rest.get(piece.len()..)?;
    }
    (found.len() > 1).then_some(found)
}

/// Letters that a word must have to be told in spite of a misread one, or taken apart.
const SHORTEST: usize = 4;

/// Whether the two are the same to an eye that takes T for I and O for U, as OCR does with faint print: IUIAL.
fn looks_like(word: &str, known: &str) -> bool {
    let shape = |c: u8| match c {
        b'T' | b'I' | b'J' | b'L' | b'F' | b'1' => b'I',
        b'O' | b'U' | b'D' | b'Q' | b'C' | b'G' | b'0' => b'O',
        b'S' | b'5' => b'S',
        b'B' | b'8' => b'B',
        other => other,
    };
    word.len() == known.len() && word.bytes().map(shape).eq(known.bytes().map(shape))
}

#[cfg(test)]
mod tests {
    use super::super::lists::list;
    use super::*;

    #[test]
    fn words_are_folded() {
        let words = Words::new("Sub-Total (inkl. MwSt): WATSON'S Größe é");
        let all: Vec<&str> = words.iter().collect();
        assert_eq!(all, ["SUB", "TOTAL", "INKL", "MWST", "WATSONS", "GROSSE", "E"]);
    }

    #[test]
    fn phrases_match_whole_words() {
        let words = Words::new("Total Amount Due");
        assert!(words.has("TOTAL AMOUNT") && words.has("AMOUNT DUE") && words.starts_with("TOTAL"));
        assert!(!words.has("TOTAL DUE") && !words.has("AMOUNT DU") && !words.has("TOTAL AMOUNT DUE NOW"));
    }

    #[test]
    fn one_misread_letter_is_forgiven() {
        for near in ["TOTAL", "T0TAL", "TOTA", "TOTALS", "OTAL"] {
            assert!(is_near(near, "TOTAL"), "{near}");
        }
        for far in ["TOT", "PORTAL", "TAXES", ""] {
            assert!(!is_near(far, "TOTAL"), "{far}");
        }
        assert!(Words::new("CHARGE").corrected(&list("CHANGE"), &list("CHARGE")).has("CHARGE"));
    }

    #[test]
    fn torn_and_merged_words_are_set_right() {
        let pieced = |text: &str| -> Vec<String> {
            let words = Words::new(text).pieced(&list("TOTAL, CHANGE"), &list("TOTAL, GRAND, RM, NET, NETT"));
            words.iter().map(str::to_owned).collect()
        };
        assert_eq!(pieced("T O T A L (RM)"), ["TOTAL", "RM"]);
        assert_eq!(pieced("TO TAL"), ["TOTAL"]);
        assert_eq!(pieced("GrandTotal"), ["GRAND", "TOTAL"]);
        assert_eq!(pieced("NETTTOTALRM"), ["NETT", "TOTAL", "RM"]);
        assert_eq!(pieced("A B TOTALITY"), ["A", "B", "TOTALITY"]);
    }

    #[test]
    fn faint_print_is_read() {
        assert!(looks_like("IUIAL", "TOTAL") && looks_like("T0TA1", "TOTAL"));
        assert!(!looks_like("LOCAL", "TOTAL") && !looks_like("TOTALS", "TOTAL"));
    }
}
