use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Vec<String> {
    scan(text).iter().map(|a| a.money.to_string()).collect()
}

#[test]
fn notations() {
    for (text, amount) in [
        ("1,234.50", "1234.50"),
        ("1.234,50", "1234.50"),
        ("1 234,50", "1234.50"),
        ("12 345 678,90", "12345678.90"),
        ("1\u{202f}234.50", "1234.50"),
        ("1'234.50", "1234.50"),
        ("RM6.35", "6.35"),
        ("RM 6.35", "6.35"),
        ("RM:6.35", "6.35"),
        ("$6.35", "6.35"),
        ("12,50 €", "12.50"),
        ("EUR 12,50", "12.50"),
        ("6.35-", "-6.35"),
        ("-6.35", "-6.35"),
        ("(6.35)", "-6.35"),
        ("-RM 0.02", "-0.02"),
        ("-$6.35", "-6.35"),
        ("$-6.35", "-6.35"),
        ("TOTAL-5.00", "5.00"),
        ("*6.35*", "6.35"),
        ("899.99S", "899.99"),
        ("4.90 SR", "4.90"),
        ("29. 70", "29.70"),
        ("RM 33, 92", "33.92"),
        ("$6,231", "6231"),
        ("45", "45"),
        ("10311.2", "10311.2"),
        ("1234.50", "1234.50"),
        ("RM_34.80", "34.80"),
        ("RM 6.35%", "6.35"),
        ("TOTAL 63.35%", "63.35"),
    ] {
        assert_eq!(read(text), [amount], "{text}");
    }
}

#[test]
fn other_numbers_are_no_amounts() {
    for text in [
        "12:11:29",
        "31/03/2017",
        "12-01-19",
        "03-2164",
        "5.6KG",
        "1.5L",
        "35.5x25",
        "6%",
        "6.00 %",
        "12.50%",
        "EUR 19%",
        "100.00 %",
        "A4",
        "9555221301081",
        "2.590",
        "#12",
        "T1.50",
        "1.25MM",
        "07-3558160",
        "192.168.1.1",
        "0077341544.30",
        "007",
    ] {
        let found = scan(text);
        assert!(found.iter().all(|a| a.each), "{text}: {found:?}");
    }
}

#[test]
fn amounts_stand_beside_each_other() {
    assert_eq!(read("2 X 4.50 9.00"), ["2", "4.50", "9.00"]);
    assert_eq!(read("1 200.00"), ["1", "200.00"]);
    assert_eq!(read("NO.17, 18 & 41"), ["17", "18", "41"]);
    assert_eq!(read("S@6% 35.00 2.10"), ["35.00", "2.10"]);
    assert_eq!(read("17.25CR"), ["-17.25"]);
    assert_eq!(read("17.25 CR"), ["-17.25"]);
    assert_eq!(read("\u{2212}4.50 and \u{2013}4.50"), ["-4.50", "-4.50"]);
    assert!(scan("P21.50/Unit").iter().all(|amount| amount.each));
    assert!(scan("$21.50/Unit")[0].each && scan("@4.50")[0].each && scan("2 X 4.50")[1].each);
}

#[test]
fn the_mark_is_the_amounts_own() {
    let amounts = scan("5.00 RM 6.00 12,50 €");
    let marks: Vec<Option<Mark>> = amounts.iter().map(|a| a.mark).collect();
    assert_eq!(marks, [None, Some(Mark::Code("MYR")), Some(Mark::Code("EUR"))]);
}

proptest! {
    #[test]
    fn amounts_round_trip(units in 0_i64..1_000_000_000, dressed in 0_usize..5) {
        let money = Money { units, scale: 2, currency: None };
        let plain = money.to_string();
        let text = match dressed {
            0 => plain,
            1 => format!("TOTAL RM{plain}"),
            2 => plain.replace('.', ","),
            3 => format!("{plain}-"),
            _ => format!("$ {plain} S"),
        };
        let found = scan(&text);
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].money.units.abs(), units);
        prop_assert_eq!(found[0].money.scale, 2);
    }

    #[test]
    fn places_are_within_the_text(text in ".*") {
        for amount in scan(&text) {
            prop_assert!(text.get(amount.start..amount.end).is_some());
        }
    }
}
