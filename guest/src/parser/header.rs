//! What the lines at the top of a receipt are: a name, or one of the things that stand around it.

use super::amounts;
use super::date_notation;
use super::lists::{List, list};
use super::places;
use super::words::Words;

/// What a line at the top is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// Perhaps a name.
    Name,
    /// `TAX INVOICE`, `RECEIPT`, `COPY`.
    Title,
    /// A registration number of the company.
    Registration,
    /// A tax number.
    TaxNumber,
    /// A street, a town.
    Address,
    /// Telephone, fax, mail, web.
    Contact,
    /// `FROM:`, what follows is who sells.
    SellerLabel,
    /// `BILL TO:`, what follows is who buys.
    BuyerLabel,
    /// Dates, numbers, greetings, names with a colon: nothing that names anyone.
    Other,
    /// The head of the table of items: the top of the receipt ends here.
    Items,
}

/// Forms of a company's name in law. Generic words of many languages; no company's own name.
const LEGAL: List = list(
    "\
    SDN BHD, SDN, BHD, S B, SB, PLT, PTE LTD, PTE, PTY LTD, LTD, LIMITED, LLC, LLP, INC, CORP, CORPORATION, GMBH, \
    AG, KG, OHG, EK, UG, SARL, SAS, EURL, SRL, SPA, SNC, BV, NV, LDA, LTDA, PLC, OY, AB, APS, SP Z O O, KFT, SN BHD, SDN BND, SDN BHO",
);

/// Words that businesses call themselves by, in the languages whose receipts are common.
const BUSINESS: List = list(
    "\
    ENTERPRISE, ENTERPRISES, TRADING, COMPANY, CO, HOLDINGS, GROUP, VENTURE, VENTURES, RESOURCES, INDUSTRIES, \
    SERVICES, SERVICE, STATION, MARKETING, DISTRIBUTION, DISTRIBUTOR, RETAIL, INTERNATIONAL, NIAGA, PERNIAGAAN, \
    RESTAURANT, RESTORAN, RESTAURANTE, RISTORANTE, CAFE, COFFEE, KOPITIAM, BISTRO, BAR, PUB, GRILL, KITCHEN, BAKERY, \
    BAKERIES, CONFECTIONERY, CAKE, FOOD, FOODS, BEVERAGE, PIZZA, SUSHI, DELI, DINER, TAVERN, BREWERY, HOTEL, MOTEL, \
    RESORT, SPA, SALON, CLINIC, KLINIK, DENTAL, PHARMACY, FARMASI, APOTHEKE, HOSPITAL, OPTICAL, MART, MINIMARKET, \
    MARKET, SUPERMARKET, SUPERMARCHE, SUPERMERCADO, HYPERMARKET, STORE, STORES, SHOP, KEDAI, PASARAYA, GROCER, \
    GROCERY, EMPORIUM, BOUTIQUE, FASHION, SHOES, JEWELLERS, FLORIST, HANDICRAFT, GIFT, GIFTS, HARDWARE, MACHINERY, \
    ELECTRICAL, ELECTRONICS, MOTOR, MOTORS, TYRE, PETROL, PETRO, AUTO, STATIONERY, BOOK, BOOKS, BOOKSTORE, \
    BOOKSTORES, PAPER, PRINT, PRINTING, FURNITURE, FURNISHING, DECO, HOUSE, HOME, CENTRE, CENTER, BANK, PARKING, \
    TRANSPORT, LOGISTICS, TELECOMMUNICATIONS, BAECKEREI, CASH CARRY, MAKER, BORONG",
);

const TITLE: List = list(
    "\
    INVOICE, TAX INVOICE, SIMPLIFIED TAX INVOICE, RECEIPT, TAX RECEIPT, OFFICIAL RECEIPT, CASH RECEIPT, CASH BILL, \
    CASH SALES, CASH SALE, CASH, BILL, GUEST CHECK, CHECK, SALES RECEIPT, SALES INVOICE, COPY, CUSTOMER COPY, \
    MERCHANT COPY, DUPLICATE, REPRINT, ORIGINAL, STATEMENT, QUOTATION, DELIVERY ORDER, RECHNUNG, QUITTUNG, BELEG, \
    FACTURE, TICKET, FACTURA, RICEVUTA, YOUR STATEMENT, RESIT, SALE, PURCHASE, REFUND, RETURN, DELIVERY, ONLINE ORDER, WEB ORDER, \
    PHONE ORDER, MERCHANT ID, CREDIT SALE, DEBIT SALE, CREDIT CARD SALE, TRANSACTION RECORD, BON, KASSENBON, KASSABON, SCONTRINO, FACTURA SIMPLIFICADA, \
    RECIBO, KVITTERING, KVITTO, NOTA, DELIVERY RECEIPT",
);
const OTHER_STARTS: List = list(
    "\
    WELCOME, THANK, THANKS, TQ, TERIMA KASIH, DANKE, VIELEN DANK, MERCI, GRACIAS, GRAZIE, OBRIGADO, BEDANKT, PLEASE, PLS, YOUR, GOODS, VISIT, FOR, TABLE, ORDER, CASHIER, COUNTER, SHIFT, \
    TERMINAL, SERVER, STAFF, WAITER, OPERATOR, PAX, GUEST, GUESTS, MEMBER, CUSTOMER, INVOICE, RECEIPT, BILL NO, REF, \
    REG, POS, TRANS, TRANSACTION, DATE, TIME, PAYMENT, TAKE AWAY, DINE IN, EAT IN, SHOPPING HOURS, OPENING HOURS, \
    BUSINESS HOURS, SALES PERSON, SALESPERSON, OWNED BY, OPERATED BY, PAGE, EXCHANGE, REDEEM, DUE, TERM ID, TAB NO, CARRY OUT, \
    TO GO, TAKE OUT, TAKEOUT, PICK UP, PICKUP, DRIVE THRU, FOR HERE, APPROVED, DECLINED, APPROVAL, AUTH, TICKET, CLERK, REGISTER, HOST, EMPLOYEE, SERVED BY, ADDITION, SURVEY, COUPON, CHK, TBL, SEAT",
);
const STREET: List = list(
    "\
    JALAN, JLN, JL, LORONG, LRG, PERSIARAN, LEBUH, LEBUHRAYA, TAMAN, TMN, KAMPUNG, KAWASAN, BANDAR, SEKSYEN, \
    KOMPLEKS, PLAZA, STREET, STR, ROAD, RD, AVENUE, AVE, BOULEVARD, BLVD, LANE, LN, DRIVE, HIGHWAY, HWY, SQUARE, \
    PKWY, PARKWAY, ROUTE, SUITE, STE, FLOOR, FLR, GROUND, LEVEL, BLOCK, BLK, UNIT, STRASSE, PLATZ, RUE, CALLE, \
    AVENIDA, AVDA, CL, CTRA, PZA, PIAZZA, ST, MALL, VIA, VIALE, CORSO, LARGO, RUA, PRACA, PASEO, CARRER, QUAI, CHEMIN, \
    IMPASSE, ZONE, PLACE",
);
/// How streets end in German and Dutch: `Hauptstrasse 12`, `Kerkstraat 8`.
const STREET_ENDS: [&str; 9] = ["STRASSE", "STR", "STRAAT", "WEG", "GASSE", "PLATZ", "ALLEE", "LAAN", "PLEIN"];
const ADDRESS_STARTS: List = list(
    "\
    NO, LOT, BLK, BLOCK, LEVEL, UNIT, JALAN, JLN, LORONG, SUITE, PO BOX, P O BOX, GROUND FLOOR, NO LOT, BATU, KG, \
    OFF",
);
const CONTACT: List = list(
    "\
    TEL, TELEPHONE, TELEFON, PHONE, FAX, FAKS, EMAIL, E MAIL, MOBILE, HP, H P, HOTLINE, CARELINE, WHATSAPP, \
    WHATSAPPS, WWW, HTTP, HTTPS, CONTACT, FON",
);

/// Whether the words hold a legal form of a company.
pub(super) fn is_legal(words: &Words) -> bool {
    words.has_any(&LEGAL) || words.ends_in_letter() && DOTTED.phrases().any(|form| words.ends_with(form))
}

/// Forms that are written with points, letter by letter, as words at the end of a name: `S.R.L.`, `B.V.`
const DOTTED: List = list("S R L, S L, S A, S P A, S N C, B V, N V, L L C, L L P, G M B H, P L C, S A S, S A R L");

/// Whether the words say that this is a business.
pub(super) fn is_business(words: &Words) -> bool {
    words.has_any(&BUSINESS)
}

/// Whether the word is one that businesses call themselves by.
pub(super) fn is_business_word(word: &str) -> bool {
    BUSINESS.has(word)
}

/// Whether the text is the rest of a name that began above: every word is one that any company may have, and one of them
/// is the kind that ends a name.
pub(super) fn is_rest_of_name(words: &Words) -> bool {
    const ENDS: List = list("ENTERPRISE, ENTERPRISES, TRADING, COMPANY, CO");
    (is_legal(words) || words.has_any(&ENDS)) && words.len() <= 4 && own_words(words) == 0
}

/// Whether it begins as only the rest of a name can: `ENTERPRISE (NORTH) SDN BHD`, `(M) SDN BHD`, `& SONS`.
pub(super) fn begins_in_the_middle(text: &str, words: &Words) -> bool {
    const MIDDLE: List = list("ENTERPRISE, ENTERPRISES, TRADING, COMPANY, CO, M, SDN, BHD, HOLDINGS, MARKETING, AND");
    text.starts_with(['&', '+']) || words.starts_with_any(&MIDDLE)
}

/// Whether more has to follow: `HARDWARE &`.
pub(super) fn is_cut_off(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with(['&', '+', '-', ',']) || text.ends_with(" AND") || text.ends_with(" OF")
}

/// How many of the words are not ones that any company may have.
pub(super) fn own_words(words: &Words) -> usize {
    let generic =
        |word: &&str| LEGAL.has(word) || BUSINESS.has(word) || matches!(*word, "M" | "CO" | "KL" | "S" | "B" | "AND");
    words.len() - words.iter().filter(generic).count()
}

/// Says what a line at the top is.
pub(super) fn classify(text: &str, words: &Words) -> LineKind {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let joined: Vec<&str> = words.iter().collect();
    let joined = joined.join(" ");
    if let Some(kind) = party_label(&joined) {
        return kind;
    }
    if TITLE.has(&joined)
        || (words.len() <= 5 && words.has_any(&const { list("TAX INVOICE, OFFICIAL RECEIPT, TAX RECEIPT") }))
    {
        return LineKind::Title;
    }
    if is_items_head(words) {
        return LineKind::Items;
    }
    if is_tax_number(words, digits) {
        return LineKind::TaxNumber;
    }
    // NV is a state before it is a Dutch company.
    if places::town(text).is_some_and(|town| town.is_us || town.is_sure) || places::begins_in_dutch_postcode(text) {
        return LineKind::Address;
    }
    let legal = is_legal(words);
    if !legal && is_registration(text, words, letters, digits) {
        return LineKind::Registration;
    }
    if !legal && (words.has_any(&CONTACT) || is_net_address(text)) || (digits >= 7 && letters == 0) {
        return LineKind::Contact;
    }
    if letters < 2 || digits > letters || date_notation::parse(text, false).is_some() {
        return if is_address(text, words, digits) { LineKind::Address } else { LineKind::Other };
    }
    if amounts::scan(text).iter().any(amounts::Amount::has_cents) {
        return LineKind::Other;
    }
    if words.starts_with_any(&OTHER_STARTS) && !legal {
        return LineKind::Other;
    }
    if !legal && is_address(text, words, digits) {
        return LineKind::Address;
    }
    // `TABLE : 7`, `OUTLET: J18`; but `OWN BY: CHEF LEE SDN BHD` names the owner.
    if text.contains(':') && !legal && !names_itself(text) {
        return LineKind::Other;
    }
    LineKind::Name
}

fn party_label(words: &str) -> Option<LineKind> {
    const SELLERS: List =
        list("FROM, SELLER, VENDOR, SUPPLIER, MERCHANT, SOLD BY, ISSUED BY, VERKAUFER, VENDEUR, VENDEDOR, VENDITORE");
    const BUYERS: List = list(
        "\
        TO, NAME, CUSTOMER NAME, BILL TO, BILLED TO, SHIP TO, SOLD TO, INVOICE TO, DELIVER TO, CUSTOMER, CLIENT, ATTN, ATTENTION, \
        RECEIVED FROM, GUEST NAME, PATIENT, KUNDE, RECHNUNG AN, LIEFERADRESSE, EMPFANGER, FACTURE A, DESTINATAIRE, CLIENTE, \
        FACTURAR A, DESTINATARIO, FATTURATO A, FATURAR A, KLANT, FACTUUR AAN",
    );
    let of = |list: &List, kind| list.has(words).then_some(kind);
    of(&SELLERS, LineKind::SellerLabel).or_else(|| of(&BUYERS, LineKind::BuyerLabel))
}

/// Whether it is the head of the table of items.
pub(super) fn is_items_head(words: &Words) -> bool {
    const HEADS: List = list(
        "\
        QTY, QUANTITY, DESCRIPTION, DESC, ITEM, ITEMS, PRICE, AMOUNT, AMT, UNIT PRICE, U PRICE, TOTAL, RATE, CODE, \
        DISC, U P",
    );
    let heads = words.count(&HEADS);
    heads >= 2 || (heads == 1 && words.len() == 1)
}

/// `Restaurant: Golden Ladle`.
fn names_itself(text: &str) -> bool {
    const KINDS: List = list("RESTAURANT, MERCHANT, SHOP, VENDOR, SELLER, HOTEL, CAFE, PHARMACY");
    text.split_once(": ").is_some_and(|(kind, name)| {
        KINDS.has(&kind.to_uppercase()) && name.chars().all(|c| !c.is_ascii_digit()) && own_words(&Words::new(name)) > 0
    })
}

fn is_tax_number(words: &Words, digits: usize) -> bool {
    let tax = words.has_any(&const { list("GST, VAT, TIN, SST, ABN, USTID, UST IDNR, TVA, BTW, NIF, CIF, EIN") });
    tax && (digits >= 6 || words.has_any(&const { list("ID, NO, REG, NUMBER, NR") }))
}

/// `(933109-X)`, `CO. REG. NO. : 795225-A`, `1202152-P`.
fn is_registration(text: &str, words: &Words, letters: usize, digits: usize) -> bool {
    let named = words.has_any(&const { list("CO REG, COREG, CO NO, COMPANY NO, COMPANY REG, REG NO, BR NO, ROC, ROC NO, BRN, REGISTRATION NO, BUSINESS REG, REGISTRATION") });
    let bare = text.trim_matches(|c: char| !c.is_alphanumeric());
    let is_number = (5..=10).contains(&digits) && letters <= 4 && bare.len() <= 14 && letters > 0 && words.len() <= 4;
    let without_no = words.starts_with("NO") && words.len() <= 3 && letters <= 3 && digits >= 5;
    (named && digits >= 4) || is_number || without_no || (named && words.len() <= 4)
}

fn is_net_address(text: &str) -> bool {
    let lower = text.to_lowercase();
    lower.contains('@') && lower.contains('.')
        || ["www.", "http", ".com", ".net", ".org"].iter().any(|part| lower.contains(part))
}

fn is_address(text: &str, words: &Words, digits: usize) -> bool {
    let postcode = words.iter().any(|w| w.len() == 5 && w.bytes().all(|b| b.is_ascii_digit()));
    let starts = words.starts_with_any(&ADDRESS_STARTS);
    let ends_as_street = |word: &str| STREET_ENDS.iter().any(|end| word.len() > end.len() && word.ends_with(end));
    let street = words.has_any(&STREET) || (digits > 0 && words.iter().any(ends_as_street));
    let commas = text.matches(',').count();
    // `SINGAPORE 049213`, `Recife/PE`.
    let is_country = || {
        words.iter().all(|word| COUNTRIES.has(word) || word.bytes().all(|b| b.is_ascii_digit())) && !words.is_empty()
    };
    let has_slash =
        || text.split_once('/').is_some_and(|(town, code)| town.len() > 2 && code.len() == 2 && places::is_state(code));
    let house_number = text.starts_with(|c: char| c.is_ascii_digit());
    postcode && words.len() >= 2
        || starts && (digits > 0 || commas > 0)
        || street && (digits > 0 || commas > 0 || words.starts_with_any(&STREET))
        || house_number && commas > 0
        || commas >= 2
        || text.ends_with(',')
        || commas == 1 && is_state(text)
        || places::ends_in_postcode(text)
        || is_country()
        || has_slash()
}

const COUNTRIES: List = list(
    "U A E, UAE, U K, UK, USA, U S A, SINGAPORE, MALAYSIA, INDIA, INDONESIA, THAILAND, AUSTRALIA, CANADA, ENGLAND, SCOTLAND, IRELAND, \
        FRANCE, GERMANY, SPAIN, ITALY, PORTUGAL, NETHERLANDS, BELGIUM, SWITZERLAND, AUSTRIA, PHILIPPINES, VIETNAM, MEXICO, BRASIL, BRAZIL",
);

/// `CHICAGO, IL`, `Dubai, U.A.E`.
fn is_state(text: &str) -> bool {
    let end = text.rsplit(',').next().unwrap_or_default().trim();
    let words = Words::new(end);
    let all: Vec<&str> = words.iter().collect();
    // `Kelowna, BC VIY 6N4`: the postcode may be misread.
    let has_code = end.split(' ').next().is_some_and(places::is_state)
        && words.len() <= 3
        && end.contains(|c: char| c.is_ascii_digit());
    COUNTRIES.has(&all.join(" ")) || has_code || end.len() == 2 && end.bytes().all(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        for (text, kind) in [
            ("SOME TRADING SDN BHD", LineKind::Name),
            ("ANY CO. (TAMAN DAYA) SDN BHD", LineKind::Name),
            ("INDIGO GIFT & HOME", LineKind::Name),
            ("TAX INVOICE", LineKind::Title),
            ("** TAX INVOICE **", LineKind::Title),
            ("(933109-X)", LineKind::Registration),
            ("CO. REG. NO. : 795225-A", LineKind::Registration),
            ("(NO. 193573-M)", LineKind::Registration),
            ("GST ID NO : 001147416576", LineKind::TaxNumber),
            ("LOT 1851-A & 1851-B, JALAN KPB 6,", LineKind::Address),
            ("43300 SERI KEMBANGAN, SELANGOR", LineKind::Address),
            ("CHICAGO, IL", LineKind::Address),
            ("Via Roma 10", LineKind::Address),
            ("Hauptstr. 12", LineKind::Address),
            ("TRATTORIA UNICA S.R.L.", LineKind::Name),
            ("TERIMA KASIH", LineKind::Other),
            ("TEL: 03-2164 1400", LineKind::Contact),
            ("800-532-2918", LineKind::Contact),
            ("www.example.org", LineKind::Contact),
            ("12/07/2019 12:22 PM", LineKind::Other),
            ("THANK YOU, COME AGAIN", LineKind::Other),
            ("TABLE : 7", LineKind::Other),
            ("LG FLATSCREEN $899.99", LineKind::Other),
            ("QTY  DESCRIPTION", LineKind::Items),
            ("From:", LineKind::SellerLabel),
            ("Bill To", LineKind::BuyerLabel),
        ] {
            assert_eq!(classify(text, &Words::new(text)), kind, "{text}");
        }
    }
}
