//! What is read from a document: the contract's `receipt`, in plain Rust.

use std::fmt;

/// What was read from one document. A field that was not found is none: never a guess, never an empty string.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receipt {
    /// Who was paid.
    pub vendor: Option<Field<String>>,
    /// What was paid, after tax and rounding.
    pub total: Option<Field<Money>>,
    /// The day on the receipt.
    pub date: Option<Field<Date>>,
    /// The sum before tax and rounding, where it is printed and agrees with the total.
    pub subtotal: Option<Field<Money>>,
    /// The tax in the total, where it is printed and agrees with it.
    pub tax: Option<Field<Money>>,
    /// How sure the whole reading is, 0 to 100. 0 where neither vendor nor total was found.
    pub confidence: f32,
    /// Pages in the response; 0 for a response without any.
    pub pages: u32,
}

/// A value that was read, how sure that is, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Field<T> {
    /// The value.
    pub value: T,
    /// How sure the reading is, 0 to 100.
    pub confidence: f32,
    /// Where it was read, where that is known.
    pub place: Option<Place>,
    /// Why it was taken.
    pub why: Why,
}

/// Why a value was taken, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// Which of the response's lines of text it begins on, from 0; none where it is a field of AnalyzeExpense's own.
    pub line: Option<u32>,
    /// What spoke for it, in a few words.
    pub rule: String,
    /// Its share of what speaks for all candidates, 0 to 1.
    pub score: f32,
}

/// An exact amount: `units` × 10^-`scale`. Its `Display` is the decimal string: `6.35`, `-0.02`, `12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The digits, signed.
    pub units: i64,
    /// How many of the digits stand after the decimal mark, 0 to 18.
    pub scale: u8,
    /// ISO 4217 code, where the receipt shows one.
    pub currency: Option<&'static str>,
}

/// A calendar day, without a time zone. Its `Display` is ISO 8601: `2018-03-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31, a day that exists in that month.
    pub day: u8,
}

/// Where on the document a value was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Page number, from 1.
    pub page: u32,
    /// The box around it on that page.
    pub bounds: BoundingBox,
}

/// An axis-parallel box on a page, as fractions of the page's width and height. All four are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// Distance of the left edge from the page's left edge.
    pub left: f32,
    /// Distance of the top edge from the page's top edge.
    pub top: f32,
    /// Width of the box.
    pub width: f32,
    /// Height of the box.
    pub height: f32,
}

impl Receipt {
    /// The same with other places: `to` gets the line that a field begins on, and where it was read.
    pub(crate) fn replaced(mut self, to: impl Fn(Option<u32>, Place) -> Place) -> Self {
        let place = |why: &Why, place: Option<Place>| place.map(|place| to(why.line, place));
        for field in [&mut self.total, &mut self.subtotal, &mut self.tax].into_iter().flatten() {
            field.place = place(&field.why, field.place);
        }
        if let Some(vendor) = &mut self.vendor {
            vendor.place = place(&vendor.why, vendor.place);
        }
        if let Some(date) = &mut self.date {
            date.place = place(&date.why, date.place);
        }
        self
    }
}

impl Money {
    /// Whether both are the same amount, however many zeros they were written with.
    pub fn same_amount(&self, other: &Self) -> bool {
        self.micros() == other.micros()
    }

    /// The amount in millionths, for comparing and adding; enough for every scale that a receipt uses.
    pub(crate) fn micros(&self) -> i128 {
        let units = i128::from(self.units);
        match self.scale {
            scale @ 0..=6 => units * 10_i128.pow(6 - u32::from(scale)),
            scale => units / 10_i128.pow(u32::from(scale.min(18)) - 6),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = self.units.unsigned_abs();
        let scale = usize::from(self.scale.min(18));
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let unit = 10_u64.pow(scale as u32);
        write!(f, "{sign}{}.{:0scale$}", digits / unit, digits % unit)
    }
}

impl Date {
    /// The day, if it exists.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        ((1..=9999).contains(&year) && (1..=days).contains(&day)).then_some(Self { year, month, day })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl BoundingBox {
    /// The box, if its numbers are ones that a page can have; what sticks out of the page is cut off.
    pub fn new(left: f32, top: f32, width: f32, height: f32) -> Option<Self> {
        let all = [left, top, width, height];
        if all.iter().any(|x| !x.is_finite()) || width < 0.0 || height < 0.0 {
            return None;
        }
        let (right, bottom) = ((left + width).clamp(0.0, 1.0), (top + height).clamp(0.0, 1.0));
        let (left, top) = (left.clamp(0.0, 1.0), top.clamp(0.0, 1.0));
        Some(Self { left, top, width: right - left, height: bottom - top })
    }

    /// The smallest box around both.
    pub(crate) fn union(self, other: Self) -> Self {
        let left = self.left.min(other.left);
        let top = self.top.min(other.top);
        Self {
            left,
            top,
            width: self.right().max(other.right()) - left,
            height: self.bottom().max(other.bottom()) - top,
        }
    }

    pub(crate) fn right(&self) -> f32 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f32 {
        self.top + self.height
    }

    pub(crate) fn middle(&self) -> f32 {
        self.top + self.height / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(units: i64, scale: u8) -> Money {
        Money { units, scale, currency: None }
    }

    #[test]
    fn money_is_written_as_a_decimal() {
        for (units, scale, text) in [
            (635, 2, "6.35"),
            (-2, 2, "-0.02"),
            (12, 0, "12"),
            (0, 2, "0.00"),
            (1, 18, "0.000000000000000001"),
            (i64::MIN, 2, "-92233720368547758.08"),
        ] {
            assert_eq!(money(units, scale).to_string(), text);
        }
    }

    #[test]
    fn zeros_do_not_change_an_amount() {
        assert!(money(65, 1).same_amount(&money(650, 2)));
        assert!(!money(65, 1).same_amount(&money(65, 2)));
        assert!(money(i64::MAX, 0).micros() > 0 && money(i64::MAX, 255).micros() > 0);
    }

    #[test]
    fn only_days_that_exist_are_dates() {
        assert_eq!(Date::new(2018, 3, 12).unwrap().to_string(), "2018-03-12");
        assert!(Date::new(2016, 2, 29).is_some() && Date::new(1900, 2, 29).is_none());
        assert!(Date::new(2018, 13, 1).is_none() && Date::new(2018, 4, 31).is_none());
        assert!(Date::new(0, 1, 1).is_none() && Date::new(2018, 1, 0).is_none());
    }

    #[test]
    fn a_box_is_finite_and_on_the_page() {
        assert!(BoundingBox::new(f32::NAN, 0.0, 0.1, 0.1).is_none());
        assert!(BoundingBox::new(0.0, 0.0, -0.1, 0.1).is_none());
        let cut = BoundingBox::new(-0.5, 0.9, 1.0, 0.5).unwrap();
        assert_eq!((cut.left, cut.right()), (0.0, 0.5));
        assert!(cut.bottom() <= 1.0);
    }
}
