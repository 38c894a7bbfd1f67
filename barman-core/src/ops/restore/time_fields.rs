//! Reads the words of a time stamp into fields: numbers of a date, clock, half of the day, zone, offset.

use jiff::civil::{Date, Weekday};

use super::time_tokens::{Token, tokenize};

/// Reads `text`.
pub(super) fn read(text: &str) -> Result<Fields, String> {
    Parser {
        tokens: tokenize(text),
        fields: Fields::default(),
    }
    .run()
}

/// Year, month and day as far as they were given, and whether day and month could as well be swapped.
pub(super) struct Resolved {
    pub(super) year: Option<u32>,
    pub(super) month: Option<u32>,
    pub(super) day: Option<u32>,
    pub(super) ambiguous: bool,
}

/// What the words of a time stamp said.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) ymd: Ymd,
    pub(super) hour: Option<u32>,
    pub(super) minute: Option<u32>,
    pub(super) second: Option<u32>,
    pub(super) micros: Option<u32>,
    pub(super) weekday: Option<Weekday>,
    pub(super) half: Option<Half>,
    pub(super) zone: Option<String>,
    pub(super) offset: Option<i32>,
}

/// Morning or afternoon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Am,
    Pm,
}

/// The part of a date that a number was said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Month,
}

/// Up to three numbers of a date, in the order they came, and what is known about them.
#[derive(Debug, Default)]
pub(super) struct Ymd {
    numbers: Vec<u32>,
    year_at: Option<usize>,
    month_at: Option<usize>,
    pub(super) century: bool,
}

const JUMP: &[&str] = &[
    " ", ".", ",", ";", "-", "/", "'", "at", "on", "and", "ad", "m", "t", "of", "st", "nd", "rd", "th",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

fn is_jump(word: &str) -> bool {
    let lower = word.to_lowercase();
    JUMP.contains(&lower.as_str()) || word.chars().all(char::is_whitespace)
}

fn month_of(word: &str) -> Option<u32> {
    let lower = word.to_lowercase();
    if lower == "sept" {
        return Some(9);
    }
    (1..)
        .zip(MONTHS)
        .find(|(_, name)| *name == lower || name.get(..3) == Some(lower.as_str()))
        .map(|(n, _)| n)
}

fn weekday_of(word: &str) -> Option<Weekday> {
    let lower = word.to_lowercase();
    WEEKDAYS
        .iter()
        .find(|(name, _)| *name == lower || name.get(..3) == Some(lower.as_str()))
        .map(|(_, day)| *day)
}

fn half_of(word: &str) -> Option<Half> {
    match word.to_lowercase().as_str() {
        "am" | "a" => Some(Half::Am),
        "pm" | "p" => Some(Half::Pm),
        _ => None,
    }
}

/// 0 for hours, 1 for minutes, 2 for seconds.
fn unit_of(word: &str) -> Option<u8> {
    match word.to_lowercase().as_str() {
        "h" | "hour" | "hours" => Some(0),
        "m" | "minute" | "minutes" => Some(1),
        "s" | "second" | "seconds" => Some(2),
        _ => None,
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "GMT" | "Z" | "z")
}

fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a number of a date or time"))
}

/// Whole seconds and microseconds; further digits are cut off, not rounded.
fn seconds(text: &str) -> Result<(u32, u32), String> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return Ok((number(text)?, 0));
    };
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Ok((
        if whole.is_empty() { 0 } else { number(whole)? },
        number(&digits)?,
    ))
}

fn whole(text: &str) -> Result<u32, String> {
    number(text.split('.').next().unwrap_or(text))
}

pub(super) fn days_in(year: i32, month: u32) -> u32 {
    let Ok(month) = i8::try_from(month) else { return 31 };
    let Ok(year) = i16::try_from(year) else { return 31 };
    Date::new(year, month, 1).map_or(31, |date| u32::try_from(date.days_in_month()).unwrap_or(31))
}

impl Ymd {
    fn push(&mut self, text: &str) -> Result<(), String> {
        let value = whole(text)?;
        if text.len() > 2 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.push_part(value, Part::Year, true);
        }
        self.push_value(value)
    }

    fn push_value(&mut self, value: u32) -> Result<(), String> {
        if value > 100 {
            return self.push_part(value, Part::Year, true);
        }
        self.numbers.push(value);
        Ok(())
    }

    fn push_part(&mut self, value: u32, part: Part, century: bool) -> Result<(), String> {
        let slot = match part {
            Part::Year => &mut self.year_at,
            Part::Month => &mut self.month_at,
        };
        if slot.is_some() {
            return Err(match part {
                Part::Year => "more than one year".to_owned(),
                Part::Month => "more than one month".to_owned(),
            });
        }
        *slot = Some(self.numbers.len());
        self.century |= century;
        self.numbers.push(value);
        Ok(())
    }

    /// Whether one more number could be the day of this date.
    fn could_be_day(&self, value: u32) -> bool {
        let limit = match (self.month_at, self.year_at) {
            (None, _) => 31,
            (Some(month), None) => self.numbers.get(month).map_or(31, |month| days_in(2000, *month)),
            (Some(month), Some(year)) => match (self.numbers.get(month), self.numbers.get(year)) {
                (Some(month), Some(year)) => days_in(i32::try_from(*year).unwrap_or(2000), *month),
                _ => 31,
            },
        };
        (1..=limit).contains(&value)
    }

    /// Year, month and day, as far as they are there, and whether day and month could as well be swapped.
    pub(super) fn resolve(&self) -> Result<Resolved, String> {
        let n = &self.numbers;
        let (year, month, day, ambiguous) = match (n.as_slice(), self.month_at, self.year_at) {
            ([], _, _) => (None, None, None, false),
            ([_, _, _, _, ..], _, _) => return Err("more than three numbers in the date".to_owned()),
            ([month], Some(_), _) => (None, Some(*month), None, false),
            ([year], None, Some(_)) => (Some(*year), None, None, false),
            ([one], None, None) if *one > 31 => (Some(*one), None, None, false),
            ([one], None, None) => (None, None, Some(*one), false),
            ([month, other], Some(0), year) | ([other, month], Some(1), year) => {
                if *other > 31 || year.is_some() {
                    (Some(*other), Some(*month), None, false)
                } else {
                    (None, Some(*month), Some(*other), false)
                }
            }
            ([a, b], _, year) => {
                if *a > 31 || year == Some(0) {
                    (Some(*a), Some(*b), None, false)
                } else if *b > 31 || year == Some(1) {
                    (Some(*b), Some(*a), None, false)
                } else {
                    (None, Some(*a), Some(*b), *a != *b && *b <= 12)
                }
            }
            ([a, b, c], Some(month), Some(year)) if month != year => {
                let day = [a, b, c]
                    .into_iter()
                    .enumerate()
                    .find(|(i, _)| *i != month && *i != year);
                (
                    n.get(year).copied(),
                    n.get(month).copied(),
                    day.map(|(_, day)| *day),
                    false,
                )
            }
            ([month, b, c], Some(0), _) => {
                if *b > 31 {
                    (Some(*b), Some(*month), Some(*c), false)
                } else {
                    (Some(*c), Some(*month), Some(*b), false)
                }
            }
            ([a, month, c], Some(1), _) => {
                if *a > 31 {
                    (Some(*a), Some(*month), Some(*c), false)
                } else {
                    (Some(*c), Some(*month), Some(*a), false)
                }
            }
            ([a, b, month], Some(_), _) => {
                if *b > 31 {
                    (Some(*b), Some(*month), Some(*a), false)
                } else {
                    (Some(*a), Some(*month), Some(*b), false)
                }
            }
            ([a, b, c], None, year) => {
                if *a > 31 || year == Some(0) {
                    (Some(*a), Some(*b), Some(*c), false)
                } else if *a > 12 {
                    (Some(*c), Some(*b), Some(*a), false)
                } else {
                    (Some(*c), Some(*a), Some(*b), *a != *b && *b <= 12)
                }
            }
        };
        Ok(Resolved {
            year,
            month,
            day,
            ambiguous,
        })
    }
}

struct Parser {
    tokens: Vec<Token>,
    fields: Fields,
}

impl Parser {
    fn at(&self, index: usize) -> Option<&str> {
        self.tokens.get(index).map(|token| token.0.as_str())
    }

    fn owned(&self, index: usize) -> String {
        self.at(index).unwrap_or_default().to_owned()
    }

    fn run(mut self) -> Result<Fields, String> {
        let mut index = 0;
        while let Some(token) = self.tokens.get(index) {
            let word = token.0.clone();
            index = if token.is_number() {
                self.number_token(index, &word)?
            } else {
                self.word_token(index, &word)?
            };
            index += 1;
        }
        Ok(self.fields)
    }

    /// Takes a word; returns the index of the last token used.
    fn word_token(&mut self, index: usize, word: &str) -> Result<usize, String> {
        if let Some(day) = weekday_of(word) {
            self.fields.weekday = Some(day);
        } else if let Some(month) = month_of(word) {
            return self.month_token(index, month);
        } else if half_of(word).is_some() && !self.zone_possible(word) {
            self.set_half(word)?;
        } else if let Some(half) = half_of(word)
            && self.fields.hour.is_some_and(|hour| hour <= 12)
            && self.fields.half.is_none()
        {
            self.apply_half(half);
        } else if self.zone_possible(word) {
            return Ok(self.zone_token(index, word));
        } else if self.fields.hour.is_some() && matches!(word, "+" | "-") {
            return self.offset_token(index, word);
        } else if !is_jump(word) {
            return Err(format!("'{word}' is not understood"));
        }
        Ok(index)
    }

    fn month_token(&mut self, index: usize, month: u32) -> Result<usize, String> {
        self.fields.ymd.push_part(month, Part::Month, false)?;
        match self.at(index + 1) {
            Some(separator @ ("-" | "/")) => {
                let separator = separator.to_owned();
                let day = self.owned(index + 2);
                self.fields.ymd.push(&day)?;
                if self.at(index + 3) == Some(separator.as_str()) {
                    let year = self.owned(index + 4);
                    self.fields.ymd.push(&year)?;
                    return Ok(index + 4);
                }
                Ok(index + 2)
            }
            _ => Ok(index),
        }
    }

    fn set_half(&mut self, word: &str) -> Result<(), String> {
        let Some(half) = half_of(word) else { return Ok(()) };
        match self.fields.hour {
            None => Err(format!("'{word}' without an hour")),
            Some(hour) if hour > 12 => Err(format!("'{word}' after an hour above 12")),
            Some(_) if self.fields.half.is_some() => Err(format!("'{word}' given twice")),
            Some(_) => {
                self.apply_half(half);
                Ok(())
            }
        }
    }

    fn apply_half(&mut self, half: Half) {
        self.fields.hour = self.fields.hour.map(|hour| adjust(hour, half));
        self.fields.half = Some(half);
    }

    /// A zone name can only follow an hour, once, in capitals.
    fn zone_possible(&self, word: &str) -> bool {
        self.fields.hour.is_some()
            && self.fields.zone.is_none()
            && self.fields.offset.is_none()
            && word.len() <= 5
            && !word.is_empty()
            && (word.bytes().all(|byte| byte.is_ascii_uppercase()) || is_utc(word))
    }

    fn zone_token(&mut self, index: usize, word: &str) -> usize {
        self.fields.offset = is_utc(word).then_some(0);
        self.fields.zone = Some(word.to_owned());
        // `GMT+3`: the sign is read the POSIX way, "my time plus 3 is GMT".
        if let Some(sign) = self.tokens.get_mut(index + 1)
            && matches!(sign.0.as_str(), "+" | "-")
        {
            sign.0 = if sign.0 == "+" {
                "-".to_owned()
            } else {
                "+".to_owned()
            };
            self.fields.offset = None;
            if is_utc(word) {
                self.fields.zone = None;
            }
        }
        index
    }

    fn offset_token(&mut self, index: usize, sign: &str) -> Result<usize, String> {
        let digits = self.owned(index + 1);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("a sign without an offset from UTC".to_owned());
        }
        let mut last = index + 1;
        let (hours, minutes) = match digits.len() {
            4 => (number(&digits[..2])?, number(&digits[2..])?),
            1 | 2 if self.at(index + 2) == Some(":") => {
                last = index + 3;
                (number(&digits)?, number(&self.owned(index + 3))?)
            }
            1 | 2 => (number(&digits)?, 0),
            _ => return Err(format!("'{digits}' is not an offset from UTC")),
        };
        let total = hours
            .saturating_mul(3600)
            .saturating_add(minutes.saturating_mul(60));
        let total = i32::try_from(total).map_err(|_| "the offset from UTC is too large".to_owned())?;
        if total >= 86_400 {
            return Err("the offset from UTC is a day or more".to_owned());
        }
        self.fields.offset = Some(if sign == "+" { total } else { -total });
        // `-0300 (BRST)`: the name in parentheses says the same once more.
        if self.at(last + 1).is_some_and(is_jump)
            && self.at(last + 2) == Some("(")
            && self.at(last + 4) == Some(")")
        {
            last += 4;
        }
        Ok(last)
    }

    /// Takes a number; returns the index of the last token used.
    fn number_token(&mut self, index: usize, word: &str) -> Result<usize, String> {
        let length = word.len();
        let plain = !word.contains('.');
        let next = self.at(index + 1).map(str::to_owned);
        let fields = &mut self.fields;
        if fields.ymd.numbers.len() == 3
            && matches!(length, 2 | 4)
            && plain
            && fields.hour.is_none()
            && next
                .as_deref()
                .is_none_or(|next| next != ":" && unit_of(next).is_none())
        {
            fields.hour = Some(number(&word[..2])?);
            if length == 4 {
                fields.minute = Some(number(&word[2..])?);
            }
            return Ok(index);
        }
        if length == 6 && plain || length > 6 && word.find('.') == Some(6) {
            if fields.ymd.numbers.is_empty() && plain {
                for part in [&word[..2], &word[2..4], &word[4..]] {
                    fields.ymd.push(part)?;
                }
            } else {
                fields.hour = Some(number(&word[..2])?);
                fields.minute = Some(number(&word[2..4])?);
                let (second, micros) = seconds(&word[4..])?;
                (fields.second, fields.micros) = (Some(second), Some(micros));
            }
            return Ok(index);
        }
        if matches!(length, 8 | 12 | 14) && plain {
            fields.ymd.push_part(number(&word[..4])?, Part::Year, true)?;
            fields.ymd.push(&word[4..6])?;
            fields.ymd.push(&word[6..8])?;
            if length > 8 {
                fields.hour = Some(number(&word[8..10])?);
                fields.minute = Some(number(&word[10..12])?);
            }
            if length > 12 {
                fields.second = Some(number(&word[12..])?);
            }
            return Ok(index);
        }
        if let Some((unit, last)) = self.unit_near(index) {
            self.set_unit(unit, word)?;
            return Ok(last);
        }
        match next.as_deref() {
            Some(":") if self.at(index + 2).is_some() => self.clock(index, word),
            Some(separator @ ("-" | "/" | ".")) => self.date(index, word, separator),
            next if next.is_none_or(is_jump) => {
                if let Some(half) = self.at(index + 2).and_then(half_of)
                    && (0..24).contains(&whole(word)?)
                {
                    self.fields.hour = Some(adjust(whole(word)?, half));
                    self.fields.half = Some(half);
                    return Ok(index + 2);
                }
                self.fields.ymd.push_value(number(word)?)?;
                Ok(index + usize::from(next.is_some()))
            }
            Some(next) if half_of(next).is_some() && (0..24).contains(&whole(word)?) => {
                let half = half_of(next).unwrap_or(Half::Am);
                self.fields.hour = Some(adjust(whole(word)?, half));
                self.fields.half = Some(half);
                Ok(index + 1)
            }
            _ if plain && self.fields.ymd.could_be_day(whole(word)?) => {
                self.fields.ymd.push_value(number(word)?)?;
                Ok(index)
            }
            _ => Err(format!("'{word}' is not understood")),
        }
    }

    /// `HH:MM[:SS[.ffffff]]`.
    fn clock(&mut self, index: usize, word: &str) -> Result<usize, String> {
        self.fields.hour = Some(number(word)?);
        let minutes = self.owned(index + 2);
        self.fields.minute = Some(whole(&minutes)?);
        if let Some((_, fraction)) = minutes.split_once('.') {
            let share: f64 = format!("0.{fraction}").parse().unwrap_or(0.0);
            // A share of a minute is below 60 seconds by construction.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let second = (share * 60.0) as u32;
            self.fields.second = Some(second.min(59));
        }
        if self.at(index + 3) == Some(":") && self.at(index + 4).is_some() {
            let (second, micros) = seconds(&self.owned(index + 4))?;
            (self.fields.second, self.fields.micros) = (Some(second), Some(micros));
            return Ok(index + 4);
        }
        Ok(index + 2)
    }

    /// Numbers and month names joined by `-`, `/` or `.`.
    fn date(&mut self, index: usize, word: &str, separator: &str) -> Result<usize, String> {
        self.fields.ymd.push(word)?;
        let Some(second) = self.at(index + 2).map(str::to_owned) else {
            return Ok(index + 1);
        };
        if is_jump(&second) {
            return Ok(index + 1);
        }
        self.date_part(&second)?;
        if self.at(index + 3) == Some(separator) {
            let third = self.owned(index + 4);
            self.date_part(&third)?;
            return Ok(index + 4);
        }
        Ok(index + 2)
    }

    fn date_part(&mut self, word: &str) -> Result<(), String> {
        match month_of(word) {
            Some(month) => self.fields.ymd.push_part(month, Part::Month, false),
            None if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.fields.ymd.push(word)
            }
            None => Err(format!("'{word}' is not a part of a date")),
        }
    }

    /// The unit word (`h`, `min` ...) that belongs to the number at `index`, and the last token used.
    fn unit_near(&self, index: usize) -> Option<(u8, usize)> {
        if let Some(unit) = self.at(index + 1).and_then(unit_of) {
            return Some((unit, index + 1));
        }
        if self.at(index + 1) == Some(" ")
            && let Some(unit) = self.at(index + 2).and_then(unit_of)
        {
            return Some((unit, index + 2));
        }
        if let Some(unit) = index
            .checked_sub(1)
            .and_then(|before| self.at(before))
            .and_then(unit_of)
        {
            return (unit < 2).then_some((unit + 1, index));
        }
        if index > 1
            && index + 1 == self.tokens.len()
            && self.at(index - 1) == Some(" ")
            && let Some(unit) = self.at(index - 2).and_then(unit_of)
        {
            return (unit < 2).then_some((unit + 1, index));
        }
        None
    }

    fn set_unit(&mut self, unit: u8, word: &str) -> Result<(), String> {
        match unit {
            0 => self.fields.hour = Some(whole(word)?),
            1 => self.fields.minute = Some(whole(word)?),
            _ => {
                let (second, micros) = seconds(word)?;
                (self.fields.second, self.fields.micros) = (Some(second), Some(micros));
            }
        }
        Ok(())
    }
}

fn adjust(hour: u32, half: Half) -> u32 {
    match (half, hour) {
        (Half::Pm, hour) if hour < 12 => hour + 12,
        (Half::Am, 12) => 0,
        (_, hour) => hour,
    }
}
