//! Typed access to the spanned TOML tree; every refusal becomes a fault with its line.

use std::net::IpAddr;

use espial::headers::Spi;
use espial::preset::FortiOs;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::Key;
use super::error::Fault;

type Value<'a> = Spanned<DeValue<'a>>;

/// Offsets of the line ends of a text.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        Self(
            text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n').map(|(i, _)| i).collect(),
        )
    }

    /// The line, from 1, that holds the octet at `offset`.
    fn line(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|end| *end < offset)
    }
}

/// One table and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    /// Line of its header or opening brace.
    pub(super) line: usize,
    table: &'a DeTable<'a>,
    lines: &'a Lines,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a DeTable<'a>, lines: &'a Lines) -> Self {
        Self { line: 1, table, lines }
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Item<'a>> {
        let (name, value) = self.table.get_key_value(key)?;
        let line = self.lines.line(name.span().start);
        Some(Item { key, value, line, lines: self.lines })
    }

    /// The line of `key`, or of the table if it is not there.
    pub(super) fn line_of(&self, key: &'static str) -> usize {
        self.get(key).map_or(self.line, |item| item.line)
    }
}

/// One value, the key that it belongs to and the line of either.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) key: &'static str,
    pub(super) line: usize,
    value: &'a Value<'a>,
    lines: &'a Lines,
}

impl<'a> Item<'a> {
    /// The elements of an array, each on its own line.
    fn elements(self) -> Option<Vec<Item<'a>>> {
        let elements = self.value.get_ref().as_array()?.iter();
        let item = |value: &'a Value<'a>| Item {
            value,
            line: self.lines.line(value.span().start),
            ..self
        };
        Some(elements.map(item).collect())
    }

    /// The value as a table.
    pub(super) fn section(self) -> Option<Section<'a>> {
        let table = self.value.get_ref().as_table()?;
        let line = self.lines.line(self.value.span().start);
        Some(Section { line, table, lines: self.lines })
    }

    /// The value as a string.
    pub(super) fn text(self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// The value as an integer from 0 to `max`.
    pub(super) fn integer(self, max: u64) -> Option<u64> {
        let integer = self.value.get_ref().as_integer()?;
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
        (number <= max).then_some(number)
    }
}

/// Collects what is wrong while values are taken out of the tree.
#[derive(Default)]
pub(super) struct Reader {
    /// Faults so far.
    pub(super) faults: Vec<Fault>,
}

impl Reader {
    /// Notes a fault. `text` must not quote the value of a key (I1 of the parent module).
    pub(super) fn fault(&mut self, line: usize, key: &str, text: impl Into<String>) {
        self.faults.push(Fault { line, key: key.to_owned(), text: text.into() });
    }

    fn wrong<T>(&mut self, item: Item<'_>, text: impl Into<String>) -> Option<T> {
        self.fault(item.line, item.key, text);
        None
    }

    /// Notes a fault of the TOML itself. Its message is taken without the quoted line, which may
    /// hold a key.
    pub(super) fn syntax(&mut self, error: &toml::de::Error, lines: &Lines) {
        let line = error.span().map_or(1, |span| lines.line(span.start));
        self.fault(line, "", error.message().replace('\n', "; "));
    }

    /// Notes every key that is not one of `known`.
    pub(super) fn only(&mut self, section: &Section<'_>, known: &[&str]) {
        for key in section.table.keys() {
            if !known.contains(&&**key.get_ref()) {
                let line = section.lines.line(key.span().start);
                let text = format!("unknown key: here stand {}", known.join(", "));
                self.fault(line, key.get_ref(), text);
            }
        }
    }

    pub(super) fn required<'a>(
        &mut self,
        section: &Section<'a>,
        key: &'static str,
    ) -> Option<Item<'a>> {
        let item = section.get(key);
        if item.is_none() {
            self.fault(section.line, key, "is missing");
        }
        item
    }

    /// The array at `key`; empty if it is not there.
    pub(super) fn array<'a>(&mut self, section: &Section<'a>, key: &'static str) -> Vec<Item<'a>> {
        let Some(item) = section.get(key) else { return Vec::new() };
        item.elements().or_else(|| self.wrong(item, "must be an array: [...]")).unwrap_or_default()
    }

    /// The elements of the array at `key`, or the one value that stands there instead; empty if it is not
    /// there.
    pub(super) fn one_or_more<'a>(
        &mut self,
        section: &Section<'a>,
        key: &'static str,
    ) -> Vec<Item<'a>> {
        let Some(item) = section.get(key) else { return Vec::new() };
        item.elements().unwrap_or_else(|| vec![item])
    }

    /// As [`Reader::one_or_more`], of a key that must be there and hold something.
    pub(super) fn some<'a>(
        &mut self,
        section: &Section<'a>,
        key: &'static str,
    ) -> Option<Vec<Item<'a>>> {
        let item = self.required(section, key)?;
        let items = self.one_or_more(section, key);
        if items.is_empty() { self.wrong(item, "must not be empty") } else { Some(items) }
    }

    /// The table at `key`.
    pub(super) fn table<'a>(
        &mut self,
        section: &Section<'a>,
        key: &'static str,
    ) -> Option<Section<'a>> {
        let item = section.get(key)?;
        item.section().or_else(|| self.wrong(item, format!("must be a table: [{key}]")))
    }

    /// The array of tables at `key`; empty if it is not there.
    pub(super) fn tables<'a>(
        &mut self,
        section: &Section<'a>,
        key: &'static str,
    ) -> Vec<Section<'a>> {
        let Some(item) = section.get(key) else { return Vec::new() };
        let tables: Option<Vec<_>> =
            item.elements().and_then(|items| items.into_iter().map(Item::section).collect());
        let hint = "must be an array of tables, each under its own header in double brackets";
        tables.or_else(|| self.wrong(item, hint)).unwrap_or_default()
    }

    pub(super) fn string<'a>(&mut self, item: Item<'a>) -> Option<&'a str> {
        item.text().or_else(|| self.wrong(item, "must be a string in quotes"))
    }

    /// The required `name`.
    pub(super) fn name(&mut self, section: &Section<'_>) -> Option<String> {
        let item = self.required(section, "name")?;
        match self.string(item)? {
            "" => self.wrong(item, "must not be empty"),
            name => Some(name.to_owned()),
        }
    }

    pub(super) fn boolean(&mut self, item: Item<'_>) -> Option<bool> {
        let value = item.value.get_ref().as_bool();
        value.or_else(|| self.wrong(item, "must be true or false"))
    }

    /// An integer from 0 to `max`.
    pub(super) fn integer(&mut self, item: Item<'_>, max: u32) -> Option<u32> {
        let value = item.integer(max.into()).and_then(|number| number.try_into().ok());
        value.or_else(|| self.wrong(item, format!("must be an integer from 0 to {max}")))
    }

    /// A port, 1 to 65535.
    pub(super) fn port(&mut self, item: Item<'_>) -> Option<u16> {
        let value = item.integer(u16::MAX.into()).and_then(|number| number.try_into().ok());
        let value = value.filter(|port| *port > 0);
        value.or_else(|| self.wrong(item, "must be a port from 1 to 65535"))
    }

    /// Whole seconds, 1 to `max`.
    pub(super) fn seconds(&mut self, item: Item<'_>, max: u32) -> Option<u32> {
        let value = item.integer(max.into()).and_then(|number| number.try_into().ok());
        let value = value.filter(|seconds| *seconds > 0);
        value.or_else(|| self.wrong(item, format!("must be whole seconds, 1 to {max}")))
    }

    /// One of the strings in `names`. What stands there instead is not quoted: a key pasted into
    /// the wrong line must not be printed.
    pub(super) fn choice<T: Copy>(
        &mut self,
        item: Item<'_>,
        names: &[(&'static str, T)],
    ) -> Option<T> {
        let found = item.text().and_then(|text| names.iter().find(|(name, _)| *name == text));
        let list = || names.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>();
        match found {
            Some((_, value)) => Some(*value),
            None => self.wrong(item, format!("must be one of {}", list().join(", "))),
        }
    }

    pub(super) fn address(&mut self, item: Item<'_>) -> Option<IpAddr> {
        let value = item.text().and_then(|text| text.parse().ok());
        value.or_else(|| self.wrong(item, "must be one IPv4 or IPv6 address in quotes"))
    }

    pub(super) fn fortios(&mut self, item: Item<'_>) -> Option<FortiOs> {
        let value = item.text().and_then(|text| text.parse().ok());
        value.or_else(|| self.wrong(item, "must be three numbers in quotes, such as \"7.4.2\""))
    }

    pub(super) fn spi(&mut self, item: Item<'_>) -> Option<Spi> {
        let digits = item.text().and_then(|text| text.strip_prefix("0x")).filter(|digits| {
            (1..=8).contains(&digits.len()) && digits.bytes().all(|d| d.is_ascii_hexdigit())
        });
        match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
            Some(0) => self.wrong(item, "0 is never on the wire (RFC 4303 section 2.1)"),
            Some(spi) => Some(Spi(spi)),
            None => self.wrong(item, "must be 0x and up to 8 hex digits, in quotes"),
        }
    }

    /// Seconds since 1970 as microseconds; digits past the sixth are cut off.
    pub(super) fn time(&mut self, item: Item<'_>) -> Option<i64> {
        let text = match item.value.get_ref() {
            DeValue::Float(float) => Some(float.as_str()),
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str()),
            _ => None,
        };
        let hint = "must be seconds since 1970 in plain decimal, such as 1795231123.669687";
        text.and_then(microseconds).or_else(|| self.wrong(item, hint))
    }

    pub(super) fn key(&mut self, item: Item<'_>) -> Option<Key> {
        let digits = self.string(item)?;
        let octet = |pair: &[u8]| {
            let [high, low] = *pair else { return None };
            let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
            Some(digit(high)? << 4 | digit(low)?)
        };
        if digits.is_empty() {
            return self.wrong(item, "0 octets: leave it out if the key is not known");
        }
        if !digits.len().is_multiple_of(2) {
            return self.wrong(item, format!("{} hex digits, an odd number", digits.len()));
        }
        // Of its final size from the start: growing would leave copies behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
        for pair in digits.as_bytes().chunks(2) {
            match octet(pair) {
                Some(octet) => octets.push(octet),
                None => return self.wrong(item, "must be hex digits only, two an octet"),
            }
        }
        Some(Key(octets))
    }
}

/// Exact microseconds of a decimal number of seconds; `None` for signs, exponents, `inf`, `nan`
/// and what does not fit.
fn microseconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut micros: i64 = whole.parse().ok()?;
    let mut digits = fraction.bytes();
    for _ in 0..6 {
        let digit = digits.next().map_or(0, |octet| octet - b'0');
        micros = micros.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(micros)
}
