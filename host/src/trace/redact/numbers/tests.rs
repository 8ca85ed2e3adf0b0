#![allow(clippy::indexing_slicing)]
use super::*;

fn masked(text: &str, known: &[&str]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    let known = known.iter().map(|&digits| digits.to_owned()).collect();
    for number in find(&text, false, &known) {
        for c in &mut text[number.place] {
            *c = if c.is_ascii_digit() { '*' } else { *c };
        }
    }
    text.into_iter().collect()
}

#[test]
fn cards_are_found_in_any_grouping() {
    for (text, expected) in [
        ("4111 1111 1111 1111", "**** **** **** ****"),
        ("VISA 4111-1111-1111-1111 12/25", "VISA ****-****-****-**** 12/25"),
        ("CARD:4111111111111111", "CARD:****************"),
        ("AMEX 3782 822463 10005 RM 12.00", "AMEX **** ****** ***** RM 12.00"),
        ("30569309025904", "**************"),
        ("6304000000000000000 A", "******************* A"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("XXXX XXXX XXXX 1111", "XXXX XXXX XXXX 1111"),
        ("08801045009209", "08801045009209"),
        ("id 0a4111111111111111", "id 0a4111111111111111"),
    ] {
        assert_eq!(masked(text, &[]), expected);
    }
}

#[test]
fn phones_are_found_by_their_label_or_country() {
    for (text, expected) in [
        ("TEL: 03-9201 6281/6920", "TEL: **-**** ****/****"),
        ("Tel: 03-7805 7889, 016-3020 669", "Tel: **-**** ****, ***-**** ***"),
        ("TEL: 03-89433143 FAX: 03-89433143", "TEL: **-******** FAX: **-********"),
        ("TEL: +603-3362 4137", "TEL: +***-**** ****"),
        ("FAX:03- 55423213", "FAX:**- ********"),
        ("H/P 0122648835", "H/P **********"),
        ("HP:012 2648835", "HP:*** *******"),
        ("Phone#(1) 555-123-1234 Email", "Phone#(*) ***-***-**** Email"),
        ("Call us now 555.123.1234", "Call us now ***.***.****"),
        ("Téléphone: 01.23.45.67.89", "Téléphone: **.**.**.**.**"),
        ("Tél. 01.23.45.67.89", "Tél. **.**.**.**.**"),
        ("+44 20 7946 0958", "+** ** **** ****"),
        ("T: 555 123 1234", "T: *** *** ****"),
        ("TEL 1-300-80-AEON (2366)", "TEL 1-300-80-AEON (2366)"),
        ("INVOICE 12345678", "INVOICE 12345678"),
        ("HOTEL 12345678", "HOTEL 12345678"),
    ] {
        assert_eq!(masked(text, &[]), expected);
    }
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    assert!(announces_phone(&chars("FAX NO. :")) && !announces_phone(&chars("TEL. RECEIPT")));
}

#[test]
fn dates_times_amounts_and_ids_stay() {
    for text in [
        "TEL 2018-03-11 12:30:45",
        "TEL 11/03/2018 1,234,567.50 12345.60",
        "12345678 2018-03-11 12:30",
        "20180311123045",
        "TOTAL 4,111,111,111,111,111.11",
        "41111111-1111-1111-1111-411111111111",
        "TEL 1.50 2.50 3.50 4.50",
    ] {
        assert_eq!(masked(text, &[]), text);
    }
    // Every day of a year in every usual form, beside what makes a number of it.
    for (month, day) in (1..=12).flat_map(|month| (1..=28).map(move |day| (month, day))) {
        for text in [
            format!("8 2018-{month:02}-{day:02} 12:34 99"),
            format!("88888 {day:02}/{month:02}/2018 777777"),
            format!("TEL: {day:02}-{month:02}-2018"),
            format!("+{day}.{month}.18"),
            format!("2018{month:02}{day:02} 12345"),
        ] {
            assert_eq!(masked(&text, &[]), text);
        }
    }
}

#[test]
fn what_was_found_elsewhere_needs_no_label() {
    assert_eq!(masked("(03) 1234-5678 12", &["0312345678"]), "(**) ****-**** 12");
    assert_eq!(masked("0312345678", &["0312345678"]), "**********");
    assert_eq!(masked("0312345679", &["0312345678"]), "0312345679");
}
