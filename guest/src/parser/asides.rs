//! What stands above or below a name at the top and is none: the number of a branch, what is sold, a mall or a town, a slogan.

use super::header;
use super::lists::{List, list};
use super::words::Words;

/// Whether a line is such, if a name stands elsewhere.
pub(super) fn is_aside(text: &str, words: &Words) -> bool {
    is_branch_number(text, words)
        || words.has_any(&NEVADA)
        || !header::is_legal(words) && (is_descriptor(words) || is_place(words) || is_slogan(text, words))
}

/// Towns of a state whose code is also the form of Dutch companies.
const NEVADA: List =
    list("LAS VEGAS NV, RENO NV, HENDERSON NV, SPARKS NV, CARSON CITY NV, ELKO NV, MESQUITE NV, LAUGHLIN NV");

/// The number of a branch: `Store #2207`, `Cafe 1180`, `Restaurant No. 118`, `Str# 118 Reg 4`.
pub(super) fn is_branch_number(text: &str, words: &Words) -> bool {
    const BRANCHES: List = list(
        "\
        STORE, STR, SHOP, CAFE, RESTAURANT, UNIT, BRANCH, OUTLET, LOCATION, LOC, STATION, KIOSK, TIENDA, SUCURSAL, FILIALE, MAGASIN, \
        NEGOZIO, LOJA",
    );
    const NUMBERS: List = list("NO, NR, NUMBER, NUM, N, REG, ID");
    let has_digit = |word: &str| word.bytes().any(|b| b.is_ascii_digit());
    let mut rest = words.iter().skip(1);
    let has_number = words.iter().any(has_digit) || text.contains('#') && words.len() > 1;
    words.starts_with_any(&BRANCHES)
        && has_number
        && (words.len() <= 2
            || rest.all(|word| has_digit(word) || NUMBERS.has(word))
            || words.len() <= 3 && text.contains(['#', '-']))
}

/// Whether it says only what is sold there: `THAI STREET KITCHEN`, `MEXICAN GRILL`.
pub(super) fn is_descriptor(words: &Words) -> bool {
    const KINDS: List = list(
        "\
        KOREAN, MEXICAN, ITALIAN, CHINESE, THAI, INDIAN, JAPANESE, VIETNAMESE, GREEK, FRENCH, SPANISH, TURKISH, LEBANESE, AMERICAN, \
        ASIAN, MEDITERRANEAN, VEGETARIAN, VEGAN, SEAFOOD, FISH, STEAK, STEAKS, STEAKHOUSE, BURGER, BURGERS, STREET, GAS, FUEL, LIQUOR, \
        WINE, WINES, SPIRITS, FAMILY, FINE, DINING, TAKEAWAY, BBQ, BARBECUE, NOODLE, NOODLES, TEA, CUISINE, NEIGHBORHOOD, LOUNGE, \
        CANTINA, TAQUERIA, PIZZERIA, ESSEN, TRINKEN, CAFETERIA, AND, OF, THE, ORGANIC, FRESH, OFFICE, SUPPLIES, PERSIAN, ETHIOPIAN, \
        PERUVIAN, CARIBBEAN, CANTONESE, SZECHUAN, HALAL, BREAKFAST, LUNCH, DINNER, WINGS, CHICKEN, SANDWICHES, SUBS, TACOS, DESSERTS, \
        DONUTS, BAGELS, ICE, CREAM, SWEETS, JUICE, PIZZAS, CRAFT, BEER, COCKTAILS, NEIGHBOURHOOD, TRADITIONAL, AUTHENTIC, WOOD, FIRED, MENS, \
        WOMENS, KIDS, CLOTHING, APPAREL, FOOTWEAR",
    );
    let is_kind = |word: &str| KINDS.has(word) || header::is_business_word(word);
    words.len() >= 2 && !header::is_legal(words) && words.iter().all(is_kind)
}

/// Whether it is where the shop is: a mall, an airport, a part of a town.
fn is_place(words: &Words) -> bool {
    const PLACES: List = list(
        "\
        MALL, SHOPPING CENTRE, SHOPPING CENTER, SHOPPING PLAZA, AIRPORT, TERMINAL, PLAZA, SQUARE, TOWER, TOWERS, OUTLETS, GALLERIA, \
        DOWNTOWN, UPTOWN, TOWN CENTRE, TOWN CENTER, CITY CENTRE, CITY CENTER, CONCOURSE, PROMENADE, RETAIL PARK, ARCADE, DISTRICT, \
        CENTRAL STATION, TRAIN STATION, BUS STATION, RAILWAY STATION, EINKAUFSZENTRUM, BAHNHOF, HAUPTBAHNHOF, FLUGHAFEN, AEROPORT, \
        AEROPUERTO, AEROPORTO, CENTRE COMMERCIAL, CENTRO COMMERCIALE, CENTRO COMERCIAL, GARE, ESTACION, STAZIONE, ESTACAO, BUILDING",
    );
    /// Words of businesses that are words of places, too.
    const SHARED: List = list("CENTRE, CENTER, STATION, INTERNATIONAL, HOUSE");
    // Also as the end of a brand: SUNPETROL.
    let ends_as_shop =
        |word: &str| (2..word.len().saturating_sub(4)).any(|at| word.get(at..).is_some_and(header::is_business_word));
    let is_shop = |word: &str| (header::is_business_word(word) || ends_as_shop(word)) && !SHARED.has(word);
    let is_station = || {
        const FUEL: List = list("GAS, PETROL, SERVICE, FILLING, FUEL, POLICE, FIRE, RADIO, COFFEE, FOOD, PIZZA");
        words.len() == 2 && words.ends_with("STATION") && !words.has_any(&FUEL)
    };
    let is_gate = || {
        words.len() == 2
            && words.starts_with("GATE")
            && words.iter().any(|word| word.contains(|c: char| c.is_ascii_digit()))
    };
    let is_centre = words.starts_with("THE") && words.has_any(&const { list("CENTRE, CENTER") });
    (2..=7).contains(&words.len())
        && (words.has_any(&PLACES) || is_centre || is_station() || is_gate())
        && !words.iter().any(is_shop)
}

/// Whether it is a sentence, or begins as slogans do: `Where good food happens`, `Take our survey`.
fn is_slogan(text: &str, words: &Words) -> bool {
    const STARTS: List = list(
        "\
        WHERE, TELL, GIVE, TAKE, SEE, GET, SAVE, ALWAYS, WE, OUR, LET, EXPECT, HOW, DID, RATE, SHARE, WIN, ENJOY, ENTER, JOIN, EVERYDAY, \
        EVERY DAY, MORE THAN, SERVING, PROUDLY, HOME OF, FEED, BUY, NOW HIRING, ASK, FOLLOW, LIKE US, DOWNLOAD, EARN, REMEMBER, FREE, \
        GOOD FOOD, GREAT FOOD, FRESH FOOD, FRESH EVERY, QUALITY, BECAUSE, TASTE THE, EAT FRESH, SINCE, EST",
    );
    const SENTENCE: List = list("WE, OUR, YOUR, YOU, IS, ARE, THIS, IT, THAT, HAPPENS, BETTER, LESS");
    // The words of a name have capitals, but for short ones.
    let small = text.split_whitespace().filter(|word| word.len() > 3 && word.starts_with(char::is_lowercase)).count();
    let is_sentence = text.starts_with(char::is_uppercase) && words.len() >= 4 && small >= 2;
    words.len() >= 2 && words.starts_with_any(&STARTS) || words.len() >= 4 && words.has_any(&SENTENCE) || is_sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asides_are_told_from_names() {
        for text in [
            "Store #2207",
            "Restaurant No. 118",
            "STORE NUMBER 118",
            "Str# 118 Reg 4",
            "THAI STREET KITCHEN",
            "Riverside Mall",
            "Oakfield Shopping Centre",
            "Port Hale International Airport",
            "Where good food happens",
            "Tell us how we did",
            "Save money. Live better.",
            "Take our survey",
        ] {
            assert!(is_aside(text, &Words::new(text)), "{text}");
        }
        for text in [
            "Golden Ladle",
            "TAMARIND",
            "Bank of the West",
            "PLAZA HOTEL",
            "HILL GIFT & HOME",
            "TOYS FOR ALL",
            "MALL TRADING SDN BHD",
            "Corner Store",
        ] {
            assert!(!is_aside(text, &Words::new(text)), "{text}");
        }
    }
}
