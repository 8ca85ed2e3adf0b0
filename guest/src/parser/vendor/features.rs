//! What speaks for each name at the top, in numbers that a trained scorer weighs.

use super::super::asides;
use super::super::header::{self, LineKind};
use super::super::rows::Row;
use super::super::words::Words;
use super::header_lines::HeaderLine;
use super::name::tidy;
use crate::receipt::BoundingBox;

/// How many there are of each.
pub(super) const COUNT: usize = 44;
/// Lines that a name may go over.
const LONGEST: usize = 4;

/// A name that may be the vendor's.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) confidence: f32,
    pub(super) page: u32,
    /// The number of the first line.
    pub(super) line: u32,
    pub(super) bounds: Option<BoundingBox>,
    /// How good it is by the rules alone; nothing speaks for what is not above 0.
    pub(super) rules: f32,
    pub(super) features: [f32; COUNT],
}

impl Candidate {
    /// What speaks for it, in words.
    pub(super) fn say(&self) -> String {
        const WORDS: [(usize, &str); 4] =
            [(2, "has a legal form"), (1, "says what it sells"), (4, "stands first"), (6, "goes over lines")];
        let holds = |(at, _): &&(usize, &str)| self.features.get(*at).is_some_and(|feature| *feature > 0.0);
        let said: Vec<&str> = WORDS.iter().filter(holds).map(|(_, words)| *words).collect();
        if said.is_empty() { "a name at the top".to_owned() } else { said.join("; ") }
    }
}

/// Every line at the top that may be a name, alone and with the next ones.
pub(super) fn of(top: &[HeaderLine], rows: &[Row]) -> Vec<Candidate> {
    let typical = typical_height(rows);
    let body: Vec<String> = rows.iter().skip(top.len()).map(|row| plain(&row.text())).collect();
    let spans = (0..top.len()).flat_map(|at| (at..(at + LONGEST).min(top.len())).map(move |last| (at, last)));
    let mut candidates: Vec<Candidate> = spans
        .filter_map(|(at, last)| Span::new(top, at, last, typical))
        .filter_map(|span| span.candidate(&body))
        .collect();
    let legal_elsewhere: Vec<bool> = candidates.iter().map(|candidate| candidate.features[2] > 0.0).collect();
    let any_legal = legal_elsewhere.contains(&true);
    for (candidate, legal) in candidates.iter_mut().zip(legal_elsewhere) {
        candidate.features[COUNT - 1] = flag(any_legal && !legal);
    }
    candidates
}

/// Neighbouring lines at the top.
struct Span<'a> {
    top: &'a [HeaderLine<'a>],
    at: usize,
    last: usize,
    typical: f32,
    /// As printed.
    text: String,
    name: String,
    words: Words,
}

impl<'a> Span<'a> {
    fn new(top: &'a [HeaderLine<'a>], at: usize, last: usize, typical: f32) -> Option<Self> {
        let lines = top.get(at..=last)?;
        if lines.iter().any(|entry| entry.kind != LineKind::Name) {
            return None;
        }
        let texts: Vec<&str> = lines.iter().map(|entry| entry.text.as_str()).collect();
        let text = texts.join(" ");
        let name = tidy(&text);
        let words = Words::new(&name);
        Some(Self { top, at, last, typical, text, name, words })
    }

    fn above(&self) -> &[HeaderLine<'a>] {
        self.top.get(..self.at).unwrap_or_default()
    }

    fn lines(&self) -> &[HeaderLine<'a>] {
        self.top.get(self.at..=self.last).unwrap_or_default()
    }

    fn letters(&self) -> usize {
        self.name.chars().filter(|c| c.is_alphabetic()).count()
    }

    fn candidate(&self, body: &[String]) -> Option<Candidate> {
        let rules = self.rules()?;
        let first = self.lines().first()?.line;
        let bounds = self.lines().iter().map(|entry| entry.line.bounds).reduce(|a, b| Some(a?.union(b?))).flatten();
        let confidence = self.lines().iter().map(|entry| entry.line.confidence).fold(100.0, f32::min);
        let features = self.features(rules, confidence, bounds, body);
        Some(Candidate {
            name: self.name.clone(),
            confidence,
            page: first.page,
            line: first.number,
            bounds,
            rules,
            features,
        })
    }

    fn features(&self, rules: f32, confidence: f32, bounds: Option<BoundingBox>, body: &[String]) -> [f32; COUNT] {
        let above = self.above();
        let stands_above = |kind: LineKind| flag(above.iter().any(|entry| entry.kind == kind));
        let next = self.top.get(self.last + 1);
        let follows = |kind: LineKind| flag(next.is_some_and(|next| next.kind == kind));
        let lines = self.last - self.at + 1;
        let none = Words::default();
        let begun = self.lines().first().map_or(&none, |entry| &entry.words);
        let ended = self.lines().last().map_or("", |entry| entry.text.as_str());
        let end = self.lines().last().map_or(&none, |entry| &entry.words);
        let names_above = above.iter().filter(|entry| entry.kind == LineKind::Name).count();
        let heights = || self.lines().iter().filter_map(|entry| entry.line.bounds).map(|bounds| bounds.height);
        let (low, high) = (heights().fold(f32::MAX, f32::min), heights().fold(0.0, f32::max));
        let large = if self.typical > 0.0 { (high / self.typical - 1.0).clamp(-0.5, 1.5) } else { 0.0 };
        let digits = self.name.chars().filter(char::is_ascii_digit).count();
        let joined = flag(lines > 1);
        let goes_on = lines == 1 && next.is_some_and(|next| next.kind == LineKind::Name);
        let next_words = next.map_or(&none, |next| &next.words);
        let sought = plain(&self.name);
        [
            rules / 20.0,
            flag(header::is_business(&self.words)),
            flag(header::is_legal(&self.words)),
            flag(header::is_legal(end)),
            flag(self.at == 0),
            (names_above.min(4) as f32) / 4.0,
            joined,
            flag(lines > 2),
            joined * flag(header::is_rest_of_name(end)),
            joined * flag(header::is_legal(begun)),
            joined * flag(header::is_legal(end)),
            joined * flag(ended.starts_with(['(', '['])),
            joined * if high > 0.0 { 1.0 - low / high } else { 0.0 },
            flag(self.text.starts_with(['(', '['])),
            flag(self.numbered()),
            follows(LineKind::Registration),
            follows(LineKind::TaxNumber),
            follows(LineKind::Address),
            follows(LineKind::Contact),
            follows(LineKind::Name),
            flag(goes_on && header::is_rest_of_name(next_words)),
            flag(goes_on && header::is_legal(next_words) && !header::is_legal(&self.words)),
            stands_above(LineKind::Address),
            stands_above(LineKind::Registration),
            stands_above(LineKind::Contact),
            stands_above(LineKind::Title),
            large,
            (self.words.len().min(8) as f32) / 8.0,
            flag(self.words.len() == 1),
            flag(self.letters() < 5),
            digits.min(6) as f32 / 6.0,
            flag(self.name.chars().any(char::is_lowercase)),
            (100.0 - confidence) / 100.0,
            bounds.map_or(0.0, |bounds| (bounds.left + bounds.width / 2.0 - 0.5).abs()),
            flag(header::own_words(&self.words) == 0),
            flag(
                lines == 1
                    && above.last().is_some_and(|above| above.kind == LineKind::Name)
                    && header::is_rest_of_name(&self.words),
            ),
            // The last line is a company by itself: what stands above it is its brand, or its branch.
            joined * flag(header::is_legal(end) && header::own_words(end) >= 2),
            joined * flag(header::own_words(end) == 0),
            flag(header::begins_in_the_middle(&self.text, &self.words)),
            joined * flag(header::begins_in_the_middle(ended, end)),
            flag(header::is_cut_off(&self.text)),
            joined * flag(self.lines().first().is_some_and(|entry| header::is_cut_off(&entry.text))),
            flag(sought.len() > 4 && body.iter().any(|row| row.contains(&sought))),
            0.0,
        ]
    }

    /// A registration number belongs to the company above it.
    fn numbered(&self) -> bool {
        self.name.len() < self.text.len() && self.text.chars().filter(char::is_ascii_digit).count() >= 4
    }

    /// How good it is by rules; none where it cannot be the vendor.
    fn rules(&self) -> Option<f32> {
        let above = self.above();
        if self.letters() < 2 {
            return None;
        }
        let mut score = 50.0;
        let names_above = above.iter().filter(|e| e.kind == LineKind::Name && !e.is_aside).count();
        score -= 4.0 * names_above as f32;
        // Where nothing above is a name, it may stand below the address.
        let is_first_name = names_above == 0 && above.iter().any(|e| e.is_aside);
        if header::is_legal(&self.words) {
            score += 40.0;
        }
        if header::is_business(&self.words) {
            score += 14.0;
        }
        match self.top.get(self.last + 1).map(|next| next.kind) {
            _ if self.numbered() => score += 20.0,
            Some(LineKind::Registration) => score += 20.0,
            // Of several lines above it, it says nothing of the last one alone.
            _ if tax_number_follows(self.top, self.last) => score += 8.0,
            _ if address_follows(self.top, self.last) => score += 10.0,
            _ => {}
        }
        // Below the address come branches, slogans and customers.
        if above.iter().any(|e| e.kind == LineKind::Address) {
            score -= if is_first_name { 8.0 } else { 22.0 };
        }
        if above.iter().any(|e| matches!(e.kind, LineKind::Registration | LineKind::TaxNumber | LineKind::Contact)) {
            score -= if is_first_name { 6.0 } else { 14.0 };
        }
        match above.iter().rev().map(|e| e.kind).find(|k| matches!(k, LineKind::SellerLabel | LineKind::BuyerLabel)) {
            Some(LineKind::SellerLabel) => score += 45.0,
            Some(LineKind::BuyerLabel) => return None,
            _ => {}
        }
        if self.text.starts_with(['(', '[']) {
            score -= 30.0;
        }
        // Nothing in it is a name of its own: `BISTRO & CAFE` goes with the line above.
        if header::own_words(&self.words) == 0 {
            score -= 25.0;
        }
        if self.letters() < 4 {
            score -= 20.0;
        }
        score += self.rules_of_asides();
        if self.words.len() > 8 {
            score -= 20.0;
        }
        let first = self.lines().first()?.line;
        if let Some(bounds) = first.bounds.filter(|_| self.typical > 0.0) {
            score += 10.0 * (bounds.height / self.typical - 1.0).clamp(0.0, 1.2);
        }
        score += self.rules_of_joining();
        let confidence = self.lines().iter().map(|entry| entry.line.confidence).fold(100.0, f32::min);
        score -= 0.4 * (75.0 - confidence).max(0.0);
        Some(score)
    }

    /// What it sells, a mall, a slogan stand below a name, or above it; alone they are one.
    fn rules_of_asides(&self) -> f32 {
        let lines = self.lines();
        if lines.first().is_some_and(|line| asides::is_branch_number(&line.text, &line.words)) {
            return -45.0;
        }
        let is_name = |line: &HeaderLine| line.kind == LineKind::Name && !line.is_aside;
        let outside = self.above().iter().chain(self.top.get(self.last + 1..).unwrap_or_default());
        let has_name_elsewhere = || outside.clone().any(is_name);
        let beside = self.above().last().into_iter().chain(self.top.get(self.last + 1));
        let has_name_beside = || beside.clone().any(|line| is_name(line) && !asides::is_descriptor(&line.words));
        let asides = lines.iter().filter(|line| line.is_aside).count();
        let is_descriptor = asides::is_descriptor(&self.words);
        match asides {
            _ if is_descriptor && !has_name_beside() => 0.0,
            _ if is_descriptor => -40.0,
            _ if asides == lines.len() && has_name_elsewhere() => -42.0,
            0 => 0.0,
            _ if asides < lines.len() => -20.0,
            _ => 0.0,
        }
    }

    /// Whether its lines belong together, and all of the name is in them.
    fn rules_of_joining(&self) -> f32 {
        let mut score = 0.0;
        if self.above().last().is_some_and(|above| above.kind == LineKind::Name)
            && header::begins_in_the_middle(&self.text, &self.words)
        {
            score -= 40.0;
        }
        if header::is_cut_off(&self.text) {
            score -= 15.0;
        }
        for pair in self.lines().windows(2) {
            let [first, next] = pair else { continue };
            let words = &next.words;
            let begun = is_torn(first, next)
                || header::is_cut_off(&first.text)
                || header::begins_in_the_middle(&next.text, words);
            score -= match () {
                () if header::is_legal(&first.words) => 30.0,
                () if begun || header::is_rest_of_name(words) => 0.0,
                // A company by itself: what stands above it is its brand, or its branch.
                () if header::is_legal(words) && header::own_words(words) >= 2 => 30.0,
                () => 15.0,
            };
        }
        score
    }
}

/// Whether a name goes over two lines of large print, a word each: `WILLOW` / `CREEK`.
fn is_torn(first: &HeaderLine, next: &HeaderLine) -> bool {
    let (Some(a), Some(b)) = (first.line.bounds, next.line.bounds) else { return false };
    let is_word = |line: &HeaderLine| {
        line.words.len() == 1
            && line.text.chars().all(char::is_alphabetic)
            && line.text.starts_with(char::is_uppercase)
            && !header::is_legal(&line.words)
    };
    let (low, high) = (a.height.min(b.height), a.height.max(b.height));
    let is_near = b.top - a.top < 2.2 * high && (a.left + a.width / 2.0 - b.left - b.width / 2.0).abs() < 0.15;
    let in_capitals = |line: &HeaderLine| line.text.chars().all(char::is_uppercase);
    is_word(first) && is_word(next) && in_capitals(first) == in_capitals(next) && low > 0.75 * high && is_near
}

/// Whether the next thing that is no name (a slogan, a branch) is an address.
fn address_follows(top: &[HeaderLine], last: usize) -> bool {
    let mut below = top.iter().skip(last + 1).take(3);
    below.find(|e| e.kind != LineKind::Name).is_some_and(|e| e.kind == LineKind::Address)
}

/// Whether the next thing that is no name is a tax number.
fn tax_number_follows(top: &[HeaderLine], last: usize) -> bool {
    let mut below = top.iter().skip(last + 1).take(3);
    below.find(|e| e.kind != LineKind::Name).is_some_and(|e| e.kind == LineKind::TaxNumber)
}

/// The height of most lines: a name is often printed larger.
fn typical_height(rows: &[Row]) -> f32 {
    let mut heights: Vec<f32> =
        rows.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.bounds.map(|bounds| bounds.height)).collect();
    heights.sort_by(f32::total_cmp);
    heights.get(heights.len() / 2).copied().unwrap_or(0.0)
}

/// Letters and digits alone, in lower case.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn flag(is: bool) -> f32 {
    f32::from(u8::from(is))
}
