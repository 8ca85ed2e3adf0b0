//! Towns with their states, as addresses write them: `Portland, OR 97201`, `Ottawa ON K1P 5G4`, `SANTA ROSA CA`.

/// The states and provinces of countries that name them by letters, in addresses.
const US: &str = "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI \
SC SD TN TX UT VT VA WA WV WI WY DC PR";
const CANADA: &str = "AB BC MB NB NL NS NT NU ON PE QC SK YT";
const AUSTRALIA: &str = "NSW VIC QLD WA SA TAS ACT NT";
const INDIA: &str = "AP AR AS BR CG DL GA GJ HP HR JH JK KA KL MH ML MN MP MZ NL OD PB PY RJ SK TG TN TR UK UP WB";
const BRAZIL: &str = "AC AL AM AP BA CE DF ES GO MA MG MS MT PA PB PE PI PR RJ RN RO RR RS SC SE SP TO";

/// Codes that end other lines, too, so that they need a comma or a postcode: words, and forms of companies.
const ALSO_WORDS: &str = "CO IN ME HI OK OR ON NO PA LA DE SA SC SP AS AM AC TO GO RO SE ES PE CE KA AL ID AR NT NV AB UP UK ACT BR ML RS MA";

/// A town with its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Town {
    /// Whether it is one of the United States.
    pub(super) is_us: bool,
    /// Whether a postcode, a comma or a dash says that it is one.
    pub(super) is_sure: bool,
}

/// Whether the text is a town with its state: a name, a code in capitals, and perhaps a postcode.
pub(super) fn town(text: &str) -> Option<Town> {
    let mut words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let has_country = words.last().is_some_and(|word| matches!(bare(word), "USA" | "US" | "Canada" | "CANADA"));
    words.truncate(words.len() - usize::from(has_country));
    // The postcode: digits, or the two halves of a Canadian one; perhaps glued to the state.
    let mut has_postcode = false;
    let mut is_zip = false;
    while let Some(word) = words.last().filter(|word| is_postcode(bare(word)) && words.len() > 1) {
        let digits = bare(word).split('-').next().unwrap_or_default();
        is_zip |= digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
        has_postcode = true;
        words.pop();
    }
    let last = *words.last()?;
    // `CHICAGO,IL` is one word.
    let glued_town = last.trim_end_matches(['.', ',']).rsplit_once(',').filter(|(town, _)| !town.is_empty());
    let code = bare(glued_town.map_or(last, |(_, state)| state));
    let letters = code.bytes().take_while(u8::is_ascii_uppercase).count();
    let (code, glued) = code.split_at_checked(letters)?;
    is_zip |= glued.len() == 5 && glued.bytes().all(|b| b.is_ascii_digit());
    has_postcode |= is_zip;
    if !glued.is_empty() && !is_zip {
        return None;
    }
    let is_us = is_in(US, code);
    let is_code = is_state(code);
    words.pop();
    let before = glued_town.map(|(town, _)| town).or(words.last().copied())?;
    let has_comma = before.ends_with([',', '.']) || glued_town.is_some() || before == "-";
    // `Campinas - SP`.
    let before = if before == "-" { words.iter().rev().nth(1).copied()? } else { before };
    let is_name =
        before.chars().filter(|c| c.is_alphabetic()).count() > 2 && before.chars().all(|c| !c.is_ascii_digit());
    let stands = is_code
        && is_name
        && words.len() <= 6
        && (has_comma || has_postcode || words.len() >= 2 && !is_in(ALSO_WORDS, code));
    let is_sure = has_comma || has_postcode || has_country;
    stands.then_some(Town { is_us: is_us && (is_zip || has_comma || has_country), is_sure })
}

/// Whether it is the code of a state.
pub(super) fn is_state(code: &str) -> bool {
    [US, CANADA, AUSTRALIA, INDIA, BRAZIL].iter().any(|list| is_in(list, code))
}

fn is_in(list: &str, code: &str) -> bool {
    !code.is_empty() && list.split(' ').any(|listed| listed == code)
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| c.is_ascii_punctuation())
}

/// `97201`, `97201-1234`, `2000`, `K1P`, `5G4`, `560001`.
fn is_postcode(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_number = word.bytes().all(|b| b.is_ascii_digit() || b == b'-') && (4..=9).contains(&digits);
    is_number || is_half_postcode(word)
}

/// Half of a Canadian or British postcode: `K1P`, `5G4`, `SW1A`, `2AA`.
fn is_half_postcode(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    (2..=4).contains(&word.len())
        && (1..=2).contains(&digits)
        && word.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether the text begins in a Dutch postcode: `1012 AB Amsterdam`. AB is also the form of Swedish companies.
pub(super) fn begins_in_dutch_postcode(text: &str) -> bool {
    let mut parts = text.split(' ');
    let (digits, letters) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    digits.len() == 4
        && digits.bytes().all(|b| b.is_ascii_digit())
        && letters.len() == 2
        && letters.bytes().all(|b| b.is_ascii_uppercase())
        && parts.next().is_some()
}

/// Whether the text ends in a British or Canadian postcode: `Leeds LS1 4AP`, `Kelowna V1Y 6N4`.
pub(super) fn ends_in_postcode(text: &str) -> bool {
    let mut words = text.split_whitespace().rev().map(bare);
    let (Some(inner), Some(outer)) = (words.next(), words.next()) else { return false };
    let is_inner = inner.len() == 3 && inner.starts_with(|c: char| c.is_ascii_digit()) && is_half_postcode(inner);
    let is_outer = outer.starts_with(|c: char| c.is_ascii_uppercase()) && is_half_postcode(outer);
    is_inner && is_outer && words.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn towns_are_known_by_their_states() {
        for (text, is_us) in [
            ("Portland, OR 97201", true),
            ("Sparks, NV 89431", true),
            ("CHICAGO, IL", true),
            ("CHICAGO,IL", true),
            ("Dallas, TX75225", true),
            ("SANTA ROSA CA", false),
            ("Salem OR 97301", true),
            ("Ottawa ON K1P 5G4", false),
            ("Surry Hills NSW 2010", false),
            ("Pune, MH 411001", false),
            ("Campinas - SP", false),
            ("Boise, ID 83702 USA", true),
        ] {
            assert_eq!(town(text).map(|town| town.is_us), Some(is_us), "{text}");
        }
        for text in [
            "JOES BAR AND CO",
            "VAN DIJK NV",
            "POLO SA",
            "PLEASE COME IN",
            "CA",
            "NO 5, JALAN 12/4, PA",
            "TEA 4.50 CA",
            "",
        ] {
            assert_eq!(town(text), None, "{text}");
        }
        assert!(ends_in_postcode("Leeds LS1 4AP") && ends_in_postcode("Kelowna V1Y 6N4"));
        assert!(begins_in_dutch_postcode("1012 AB Amsterdam") && !begins_in_dutch_postcode("2012 AB"));
        assert!(!ends_in_postcode("CAFE 22 4AP") && !ends_in_postcode("LS1 4AP"));
    }
}
