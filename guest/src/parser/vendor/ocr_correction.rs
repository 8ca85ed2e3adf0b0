//! OCR's misreadings in a name: a sign in place of a letter, and a wrong letter in a word that many companies share. What makes a
//! name its own is left as it was read: nothing on the page tells what else it might be.

use super::super::lists::{List, list};

/// The text of a line as it was probably printed. `confidence`: OCR's in it, 0 to 100.
pub(super) fn correct(text: &str, confidence: f32) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(letters).collect();
    legal_forms(&mut words);
    if confidence < SURE {
        initials(&mut words);
        brackets(&mut words);
        for word in &mut words {
            if let Some(meant) = shared_word(word, confidence < UNSURE) {
                *word = meant;
            }
        }
    }
    words.join(" ")
}

/// What OCR is as sure of is taken by its word: TAYLOR is a name, and no tailor.
const SURE: f32 = 97.0;
/// Below, letters that do not look alike are taken for one another, too.
const UNSURE: f32 = 85.0;

/// Signs and digits among letters, as the letters that they look like: `D.1.¥.`, `JIAWE|`, `C0.`, `BHPetro]`.
fn letters(word: &str) -> String {
    let chars: Vec<char> = word.chars().collect();
    let letter_count = chars.iter().filter(|c| c.is_alphabetic()).count();
    let digits: String = chars.iter().filter(|c| c.is_ascii_digit()).collect();
    let at = |index: Option<usize>| index.and_then(|index| chars.get(index)).copied().unwrap_or(' ');
    let open = word.contains(['(', '[', '{']);
    let mend_one = |(index, &c): (usize, &char)| {
        let (before, after) = (at(index.checked_sub(1)), at(Some(index + 1)));
        let beside = before.is_alphabetic() || after.is_alphabetic();
        let between = before.is_alphabetic() && after.is_alphabetic();
        let dotted = (before == '.' || before.is_alphabetic()) && after == '.';
        match c {
            '¥' if !before.is_ascii_digit() && !after.is_ascii_digit() => 'Y',
            '$' | '§' if digits.is_empty() && beside => 'S',
            '|' if before.is_uppercase() && !after.is_alphanumeric() => 'I',
            '|' | ']' | '}' if before.is_lowercase() && !after.is_alphanumeric() && !open => 'l',
            '0' if beside && digits.bytes().all(|digit| digit == b'0') => 'O',
            '1' if (between || dotted) && digits.len() == 1 => 'I',
            other => other,
        }
    };
    if letter_count == 0 {
        return word.to_owned();
    }
    let mended: String = chars.iter().enumerate().map(mend_one).collect();
    // `Y¥` is one letter with a stroke too many.
    if word.contains("Y¥") || word.contains("¥Y") { mended.replacen("YY", "Y", 1) } else { mended }
}

/// `SON BHD`, `SDN BEED`, `$/B`, `(H) SDN BHD`: the ways in which Malaysia's forms of companies are misread.
fn legal_forms(words: &mut Vec<String>) {
    // Nothing else ever follows it: what is missing stands in the next line, or beside.
    if words.len() > 1 && words.last().is_some_and(|word| bare(word) == "SDN") {
        words.push("BHD".to_owned());
    }
    for at in 1..words.len() {
        let Some(mended) = two_word_form(words, at) else { continue };
        let upper = words.get(at).is_some_and(|word| !word.chars().any(char::is_lowercase));
        let form = if upper { mended.to_owned() } else { capitalized(mended) };
        let mut form = form.split(' ').map(str::to_owned);
        if let (Some(word), Some(first)) = (words.get_mut(at), form.next()) {
            *word = first;
        }
        if let (Some(word), Some(second)) = (words.get_mut(at + 1), form.next()) {
            // What is glued to it is the registration number: `BHD(12345-X)`.
            let glued = word.find(['(', '[', '<']).and_then(|open| word.get(open..)).unwrap_or_default();
            *word = format!("{second}{glued}");
        }
        if let Some(country) = words.get_mut(at - 1).filter(|word| const { list("(H), (MH), (M, (M}, (W)") }.has(word))
        {
            "(M)".clone_into(country);
        }
        return;
    }
}

/// `Cc W NORTH`: an initial that looks the same small, read as both, beside another one in a line of capitals.
fn initials(words: &mut [String]) {
    const ALIKE: [&str; 10] = ["Cc", "Kk", "Oo", "Pp", "Ss", "Uu", "Vv", "Ww", "Xx", "Zz"];
    let has_small = |word: &String| word.contains(char::is_lowercase);
    if words.iter().any(|word| has_small(word) && !ALIKE.contains(&word.as_str())) {
        return;
    }
    for at in 0..words.len() {
        let is_initial = |at: Option<usize>| {
            at.and_then(|at| words.get(at)).is_some_and(|word| word.len() == 1 && word.starts_with(char::is_alphabetic))
        };
        let beside_initial = is_initial(at.checked_sub(1)) || is_initial(Some(at + 1));
        if let Some(word) = words.get_mut(at).filter(|word| beside_initial && ALIKE.contains(&word.as_str())) {
            word.truncate(1);
        }
    }
}

/// `{NORTH MALL)`, `(NORTH MALL}`: one of the two brackets, where the other one is there.
fn brackets(words: &mut [String]) {
    let count = |words: &[String], signs: &[char]| words.iter().map(|word| word.matches(signs).count()).sum::<usize>();
    let (opened, closed) = (count(words, &['(']), count(words, &[')']));
    let opens_oddly = words.iter_mut().find(|word| word.starts_with(['{', '[']) && closed == opened + 1);
    if let Some(word) = opens_oddly {
        word.replace_range(..1, "(");
        return;
    }
    let closes_oddly = words.last_mut().filter(|word| opened == closed + 1 && word.ends_with(['}', ']']));
    if let Some(word) = closes_oddly {
        word.pop();
        word.push(')');
    }
}

/// What stands at this word, if it is a form of a company.
fn two_word_form(words: &[String], at: usize) -> Option<&'static str> {
    let word = bare(words.get(at)?);
    let next = words.get(at + 1).map(|word| bare(word)).unwrap_or_default();
    let ends = |last: usize| words.get(last + 1).is_none_or(|word| !word.starts_with(char::is_alphabetic));
    let next_letters = next.chars().all(char::is_alphabetic) && (1..=4).contains(&next.len());
    match word.as_str() {
        // Nothing else ever follows it.
        "SDN" if ends(at + 1) && (next_letters || distance(&next, "BHD") <= 1) => return Some("SDN BHD"),
        "BHD" => {
            return words.get(at - 1).is_some_and(|word| const { list("(H), (MH), (M") }.has(word)).then_some("BHD");
        }
        "SUN" => return None,
        _ => {}
    }
    if distance(&word, "SDN") <= 1 && distance(&next, "BHD") <= 1 && ends(at + 1) {
        return Some("SDN BHD");
    }
    let after_country = words.get(at - 1).is_some_and(|word| const { list("(M), (H), (MALAYSIA)") }.has(word));
    if after_country && word.len() == 3 && distance(&word, "BHD") == 1 && ends(at) {
        return Some("BHD");
    }
    let chars: Vec<char> = words.get(at)?.trim_end_matches(['.', ',']).chars().collect();
    let is_sb = matches!(
        chars.as_slice(),
        ['S' | 's' | '5' | '$' | '§', '/', 'B' | 'b' | '8'] | ['S' | '5' | '$' | '§', '/', 'B', '8']
    );
    // `UNIT 5/8` is a door.
    let is_door =
        words.get(at - 1).is_some_and(|word| const { list("UNIT, NO, LOT, BLOCK, SUITE, PIPE") }.has(&bare(word)));
    (is_sb && !is_door && ends(at)).then_some("S/B")
}

/// Letters and digits alone, in upper case, up to a bracket.
fn bare(word: &str) -> String {
    let head = word.split(['(', '[', '<']).next().unwrap_or_default();
    head.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

fn capitalized(form: &str) -> String {
    let word =
        |word: &str| word.get(..1).unwrap_or_default().to_owned() + &word.get(1..).unwrap_or_default().to_lowercase();
    let words: Vec<String> = form.split(' ').map(word).collect();
    words.join(" ")
}

/// Words that many companies have in their names, and that are long enough not to be taken for one another.
const SHARED: List = list(
    "\
    ACCESSORIES, ADVERTISING, AGENCIES, AGENCY, AUTOMOBILE, BAKERIES, BAKERY, BAKERS, BALLOON, BEAUTY, BEVERAGE, \
    BEVERAGES, BOOKCENTRE, BOOKS, BOOKSHOP, BOOKSTORE, BOOKSTORES, BOUTIQUE, BROTHERS, BUILDING, BUTCHER, CAFETERIA, \
    CAFETIERE, CENTER, CENTRAL, CENTRE, CHICKEN, CLINIC, CLOTHING, COFFEE, COLLECTION, COMPANY, COMPUTER, COMPUTERS, \
    CONCEPT, CONFECTIONERY, CONSTRUCTION, CONSULTANT, CONSULTANTS, CONTAINER, CONTINENTAL, CONVENIENCE, CORNER, \
    CORPORATION, COSMETICS, DECORATION, DELIGHTS, DELIVERY, DENTAL, DEPARTMENT, DESIGN, DESSERT, DEVELOPMENT, \
    DISTRIBUTION, DISTRIBUTOR, DISTRIBUTORS, ELECTRICAL, ELECTRONIC, ELECTRONICS, EMPORIUM, ENGINEERING, ENTERPRISE, \
    ENTERPRISES, ENTERTAINMENT, EQUIPMENT, EXPRESS, FACTORY, FAMILY, FARMASI, FASHION, FASHIONS, FITNESS, FLORIST, \
    FURNISHING, FURNITURE, GALLERY, GARDEN, GARMENT, GENERAL, GLOBAL, GOLDEN, GROCER, GROCERS, GROCERY, HANDICRAFT, \
    HARDWARE, HEALTH, HEALTHCARE, HOLDINGS, HOLIDAYS, HOSPITAL, HYPERMARKET, INDUSTRIAL, INDUSTRIES, INDUSTRY, \
    INTERIOR, INTERNATIONAL, JEWELLERS, JEWELLERY, KITCHEN, KLINIK, KOPITIAM, LAUNDRY, LEISURE, LIBRARY, LIGHTING, \
    LIMITED, LOGISTICS, MACHINERY, MALAYSIA, MANAGEMENT, MANUFACTURING, MARINE, MARKET, MARKETING, MATERIALS, \
    MEDICAL, MERCHANDISE, MINIMARKET, MOBILE, MODERN, MOTORS, MOTORSPORTS, NATIONAL, NETWORK, OPTICAL, OPTICIAN, \
    ORGANIC, PARKING, PASARAYA, PERNIAGAAN, PETROL, PETROLEUM, PHARMACY, PHOTOCOPY, PLASTIC, PLUMBING, PREMIUM, \
    PRINTING, PRODUCTS, PROPERTIES, PROPERTY, RESOURCES, RESTAURANT, RESTAURANTS, RESTORAN, RETAIL, SEAFOOD, \
    SECURITY, SELECTION, SERVICE, SERVICES, SOLUTION, SOLUTIONS, STATION, STATIONER, STATIONERS, STATIONERY, STEAMBOAT, \
    STORES, STUDIO, SUPERMARKET, SUPERSTORE, SUPPLIES, SUPPLY, SYSTEMS, TAILOR, TAILORING, TECHNOLOGIES, TECHNOLOGY, \
    TELECOMMUNICATION, TELECOMMUNICATIONS, TEXTILE, TEXTILES, TIMBER, TRADING, TRADITIONAL, TRANSPORT, TRAVEL, \
    UNIVERSAL, VEGETARIAN, VENTURE, VENTURES, WAREHOUSE, WHOLESALE, WORKSHOP",
);

/// The word that many companies share and that this one is a misreading of, if one is nearer than all others.
fn shared_word(word: &str, unsure: bool) -> Option<String> {
    let start = word.find(char::is_alphabetic)?;
    let end = word.rfind(char::is_alphabetic).map(|at| at + 1)?;
    let (head, core, tail) = (word.get(..start)?, word.get(start..end)?, word.get(end..)?);
    let upper = core.to_uppercase();
    if upper.len() < 6 || !upper.bytes().all(|b| b.is_ascii_alphanumeric()) || SHARED.has(&upper) {
        return None;
    }
    let near: Vec<(usize, &str)> = SHARED
        .phrases()
        .filter(|shared| is_misread(&upper, shared, unsure))
        .map(|shared| (distance(&upper, shared), shared))
        .collect();
    let (least, meant) = near.iter().copied().min()?;
    if near.iter().filter(|(distance, _)| *distance == least).count() > 1 {
        return None;
    }
    let meant = if core.chars().any(char::is_lowercase) { capitalized(meant) } else { meant.to_owned() };
    Some(format!("{head}{meant}{tail}"))
}

/// Whether it is the shared word with one letter misread for one that looks like it, or two of a long word. A word with another ending
/// is a word of its own.
fn is_misread(word: &str, shared: &str, unsure: bool) -> bool {
    let allowed = if shared.len() >= 8 { 2 } else { 1 };
    let ends_alike =
        word.bytes().next() == shared.bytes().next() || word.bytes().next_back() == shared.bytes().next_back();
    if !ends_alike || word.len().abs_diff(shared.len()) > 1 || shared.starts_with(word) || word.starts_with(shared) {
        return false;
    }
    if word.len() == shared.len() {
        let wrong = || word.bytes().zip(shared.bytes()).filter(|(read, printed)| read != printed);
        let alike = wrong().all(|(read, printed)| shape(read) == shape(printed));
        return wrong().count() <= allowed && (alike || (unsure && shared.len() >= 8));
    }
    unsure && shared.len() >= 8 && distance(word, shared) <= allowed
}

/// What letters look like to OCR: those of one shape are taken for one another.
fn shape(letter: u8) -> u8 {
    match letter {
        b'I' | b'L' | b'J' | b'T' | b'1' => b'I',
        b'O' | b'Q' | b'D' | b'C' | b'G' | b'U' | b'0' => b'O',
        b'H' | b'M' | b'N' | b'W' | b'R' => b'H',
        b'E' | b'F' | b'B' | b'8' | b'P' => b'E',
        b'S' | b'5' => b'S',
        b'Z' | b'2' => b'Z',
        b'V' | b'Y' => b'V',
        other => other,
    }
}

/// Letters changed, added and left out between the two (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            *cell = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            (diagonal, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misreadings_are_mended() {
        for (text, meant) in [
            ("MR. X.1.¥. (M) SDN BHD", "MR. X.I.Y. (M) SDN BHD"),
            ("NOODLE PALACE SON BHD", "NOODLE PALACE SDN BHD"),
            ("NOODLE PALACE SDN. BEED", "NOODLE PALACE SDN BHD"),
            ("Noodle Palace Sdn Brad.", "Noodle Palace Sdn Bhd"),
            ("NOODLE PALACE (H) SDN BHO (12345-X)", "NOODLE PALACE (M) SDN BHD (12345-X)"),
            ("NOODLE PALACE SON BHD(12345-X)", "NOODLE PALACE SDN BHD(12345-X)"),
            ("NOODLE CO. (M) BRD (12345-X)", "NOODLE CO. (M) BHD (12345-X)"),
            ("NOODLE PALACE $/B", "NOODLE PALACE S/B"),
            ("NOODLE PALACE 5/8 273500-U", "NOODLE PALACE S/B 273500-U"),
            ("NOODLE PALACE SDN", "NOODLE PALACE SDN BHD"),
            ("NORTH C0. LTD", "NORTH CO. LTD"),
            ("NORTHPetro]", "NORTHPetrol"),
            ("NIAWE| HOUSE", "NIAWEI HOUSE"),
            ("NORTH BAKERLES", "NORTH BAKERIES"),
            ("NORTH (HALAYSTA) INTERNATIGNAL", "NORTH (MALAYSIA) INTERNATIONAL"),
            ("North Hardwate", "North Hardware"),
            ("NORTH ENTYERPRISE", "NORTH ENTERPRISE"),
            ("Cc W NORTH HARDWARE", "C W NORTH HARDWARE"),
            ("NOODLES {NORTH MALL)", "NOODLES (NORTH MALL)"),
            ("NOODLES (NORTH MALL}", "NOODLES (NORTH MALL)"),
        ] {
            assert_eq!(correct(text, 80.0), meant, "{text}");
        }
    }

    #[test]
    fn what_is_no_misreading_stays() {
        for text in [
            "RISING SUN BHD",
            "LUCKY 88 MART",
            "OLIVE9 PHARMACY",
            "NORTH STATIONER",
            "THE BAKERS",
            "MARKER PEN HOUSE",
            "PIPE 5/8 INCH",
            "UNIT 5/8",
            "99 SHOP",
            "GR8T SK8TE",
            "CAFE|BAR",
            "JOHN & SON BAKERY",
            "SON BROTHERS",
            "7-ELEVEN",
            "TAYLOR",
            "BROOKS",
            "HOLDEN",
            "RENTAL",
            "STOKES",
            "DETAIL",
            "EMPRESS",
            "DESERT",
            "GARTEN",
            "Ss Noodles",
            "NOODLES (NORTH) LTD",
            "NOODLES (HOLLAND",
            "KEDAI KOPI Oo",
        ] {
            assert_eq!(correct(text, 80.0), text);
        }
        for text in
            ["CONSULTING", "PHARMACIE", "SUPERMARKT", "PAINTING", "ELEKTRONIK", "INTERNACIONAL", "SERVICIOS", "STORIES"]
        {
            assert_eq!(correct(text, 90.0), text);
            assert_eq!(correct(text, 99.0), text);
        }
        assert_eq!(correct("NORTH BAKERLES", 98.0), "NORTH BAKERLES");
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("BHD", "BHD", 0), ("BHO", "BHD", 1), ("BILD", "BHD", 2), ("", "BHD", 3)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
