use super::*;
use proptest::prelude::*;

fn read(text: &str, us: bool) -> Option<String> {
    parse(text, us).map(|date| date.to_string())
}

#[test]
fn formats() {
    for text in [
        "12/03/2018",
        "12-03-2018",
        "12.03.2018",
        "12/3/18",
        "12-03-18",
        "2018-03-12",
        "2018/3/12",
        "12 Mar 2018",
        "12-MAR-18",
        "12MAR2018",
        "12 March, 2018",
        "MAR 12, 2018",
        "March 12th 2018",
        "12 Mac 2018",
        "12. März 2018",
        "Date:12/03/2018 11:28",
        "Monday, March 12, 2018",
        "12 de marzo de 2018",
        "Roma, 12 marzo 2018",
        "l2/O3/2018",
        "Date: 12-Q3-18",
        "Dater12/03/18 21:30",
        "DATE 12/03/2018",
        "12. 03-18 14:37",
        "Mar 12'18 05:12PM",
        "MAR12'18",
        "2018-Mar-12",
        "12 mrt 2018",
        "12/03-2018",
        "20180312",
        "12032018",
        "12 Mar´18",
        "-12-03-2018",
    ] {
        assert_eq!(read(text, false).as_deref(), Some("2018-03-12"), "{text}");
    }
}

#[test]
fn a_label_that_is_glued_to_a_date_takes_no_digit_of_it() {
    assert_ne!(read("DATE12/03/2018", false).as_deref(), Some("2018-03-02"));
}

#[test]
fn months_come_first_in_america_or_where_it_cannot_be_else() {
    assert_eq!(read("12/07/2019", true).as_deref(), Some("2019-12-07"));
    assert_eq!(read("12/07/2019", false).as_deref(), Some("2019-07-12"));
    assert_eq!(read("12/25/2018", false).as_deref(), Some("2018-12-25"));
    assert_eq!(read("25/12/2018", true).as_deref(), Some("2018-12-25"));
}

#[test]
fn other_numbers_are_no_dates() {
    for text in [
        "03-2164 1400",
        "31/02/2018",
        "1-1&2",
        "12:11:29",
        "U13/2/1850",
        "10.0.0.12.18",
        "5.50",
        "1234567-12-03-2018",
        "XE11-22 - 30",
        "20/04/2078",
        "NO: IO/SS-2018",
        "B-12-03",
        "NO. D1-05-12, BLOCK D",
        "1B-05-12",
        "2 SET 15.00",
        "Mar 12, 11:30",
        "26412018",
    ] {
        assert_eq!(read(text, false), None, "{text}");
    }
}

proptest! {
    #[test]
    fn iso_dates_round_trip(year in YEARS, month in 1_u8..=12, day in 1_u8..=28, us: bool) {
        let date = Date::new(year, month, day).unwrap();
        prop_assert_eq!(parse(&date.to_string(), us), Some(date));
    }

    #[test]
    fn any_text_is_survived(text in ".*", us: bool) {
        let _ = parse(&text, us);
    }
}
