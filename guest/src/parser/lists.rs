//! Lists of words and phrases, and whether something is one of them. Reading a receipt is mostly looking for its words in such lists, so
//! each knows by which words its phrases may begin.

/// Phrases, upper case, with a comma and a space between. None has a comma in it.
#[derive(Clone, Copy)]
pub(super) struct List {
    text: &'static str,
    /// A bit for each hash of a phrase's first word (a Bloom filter with one hash): most words begin no phrase.
    firsts: [u64; 16],
}

/// A list, at compile time.
#[expect(clippy::indexing_slicing, reason = "`get` is not for compile time; what is out of bounds does not compile")]
pub(super) const fn list(text: &'static str) -> List {
    let bytes = text.as_bytes();
    let mut firsts = [0; 16];
    let (mut at, mut hash, mut is_first) = (0, START, true);
    while at <= bytes.len() {
        let byte = if at < bytes.len() { bytes[at] } else { b',' };
        match byte {
            b',' | b' ' if is_first => {
                let hash = end(hash);
                firsts[(hash / 64) as usize] |= 1 << (hash % 64);
                is_first = false;
            }
            b',' | b' ' => {}
            _ => hash = step(hash, byte),
        }
        if byte == b',' {
            // A blank follows.
            at += 1;
            (hash, is_first) = (START, true);
        }
        at += 1;
    }
    List { text, firsts }
}

impl List {
    /// Whether one of the phrases may begin with a word of this hash.
    pub(super) fn may_begin(&self, hash: u16) -> bool {
        self.firsts.get(usize::from(hash / 64)).is_some_and(|bits| bits & 1 << (hash % 64) != 0)
    }

    /// Whether the phrase is one of them.
    pub(super) fn has(&self, phrase: &str) -> bool {
        let first = phrase.split(' ').next().unwrap_or_default();
        self.may_begin(hash(first)) && self.beginning(phrase).any(|listed| listed == phrase)
    }

    /// All of them.
    pub(super) fn phrases(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        starting(self.text, |_| true)
    }

    /// Those that begin with the same letter as the text, and some others perhaps.
    pub(super) fn beginning(&self, text: &str) -> impl Iterator<Item = &'static str> + Clone + use<> {
        let first = text.as_bytes().first().copied();
        starting(self.text, move |byte| Some(byte) == first)
    }
}

/// The phrases whose first byte is a wanted one. The others are stepped over, which is several times as fast as splitting the list.
fn starting(list: &'static str, wanted: impl Fn(u8) -> bool + Clone) -> impl Iterator<Item = &'static str> + Clone {
    let mut rest = list;
    std::iter::from_fn(move || {
        while let Some(&first) = rest.as_bytes().first() {
            let end = rest.bytes().position(|byte| byte == b',').unwrap_or(rest.len());
            let phrase = rest.get(..end).unwrap_or_default();
            rest = rest.get(end + 2..).unwrap_or_default();
            if wanted(first) {
                return Some(phrase);
            }
        }
        None
    })
}

/// A word's hash: the upper ten bits of FNV-1a.
pub(super) fn hash(word: &str) -> u16 {
    hash_of([word].into_iter())
}

/// The hash of the word that these parts make together.
pub(super) fn hash_of<'a>(parts: impl Iterator<Item = &'a str>) -> u16 {
    end(parts.flat_map(str::bytes).fold(START, step))
}

const START: u32 = 0x811c_9dc5;

const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

const fn end(hash: u32) -> u16 {
    (hash >> 22) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_found() {
        const FORMS: List = list("SDN BHD, SDN, PTE LTD, GMBH");
        let all: Vec<&str> = FORMS.phrases().collect();
        assert_eq!(all, ["SDN BHD", "SDN", "PTE LTD", "GMBH"]);
        for phrase in all {
            assert!(FORMS.has(phrase), "{phrase}");
            assert!(FORMS.may_begin(hash(phrase.split(' ').next().unwrap())));
        }
        for other in ["", "BHD", "SDN BHD GMBH", "PTE", "GMB", "AG"] {
            assert!(!FORMS.has(other), "{other}");
        }
        assert!(!list("").has(""));
    }

    #[test]
    fn most_words_begin_nothing() {
        let words = ["NOODLE", "DUCK", "TEA", "RICE", "SOAP", "SHIRT", "PLUG", "PAINT", "BREAD", "MILK"];
        let few = list("TOTAL, GRAND TOTAL, AMOUNT DUE");
        assert!(words.iter().filter(|word| few.may_begin(hash(word))).count() < 3);
    }
}
