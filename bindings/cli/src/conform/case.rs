//! A case as JSON, read so that nothing in it is passed over, and what came of it.
//!
//! I1: every field of every object is asked for by name or reported: [`Object::close`]. `note` is
//!     for people.
//! I2: a case that compares nothing is not a pass: [`Findings::outcome`].

use std::fmt;
use std::net::IpAddr;

use espial::selector::PortRange;
use serde_json::{Map, Value};

/// Why a case cannot be run: a sentence that names the field or the step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem(pub(super) String);

impl Problem {
    /// A field that is not what its place in a case demands.
    pub(super) fn field(path: &str, wanted: &str, got: &Value) -> Self {
        Self(format!("field `{path}`: expected {wanted}, got {got}"))
    }

    /// A step that failed outside of what the case expects.
    pub(super) fn step(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// One expectation that was not met.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Mismatch {
    /// Which one.
    pub(super) what: String,
    /// What the case says.
    pub(super) expected: Value,
    /// What the core says.
    pub(super) got: Value,
}

/// The comparisons of one case.
#[derive(Default, Debug)]
pub(super) struct Findings {
    compared: u64,
    mismatches: Vec<Mismatch>,
}

impl Findings {
    /// Compares an expectation with the core's answer as JSON values.
    pub(super) fn compare(
        &mut self,
        what: impl fmt::Display,
        expected: &Value,
        got: impl Into<Value>,
    ) {
        let got = got.into();
        self.check(what, *expected == got, expected, got);
    }

    /// Records an expectation that was compared elsewhere.
    pub(super) fn check(
        &mut self,
        what: impl fmt::Display,
        met: bool,
        expected: &Value,
        got: impl Into<Value>,
    ) {
        self.compared += 1;
        if !met {
            let what = what.to_string();
            self.mismatches.push(Mismatch { what, expected: expected.clone(), got: got.into() });
        }
    }

    /// Records what must hold in every case of the kind, whatever the case says. It does not count
    /// as an expectation (I2).
    pub(super) fn require(
        &mut self,
        what: impl fmt::Display,
        met: bool,
        expected: impl Into<Value>,
        got: impl Into<Value>,
    ) {
        if !met {
            let (expected, got) = (expected.into(), got.into());
            self.mismatches.push(Mismatch { what: what.to_string(), expected, got });
        }
    }

    /// The expectations that were not met.
    ///
    /// # Errors
    /// A [`Problem`]: the case states nothing that was compared.
    pub(super) fn outcome(self) -> Result<Vec<Mismatch>, Problem> {
        if self.compared == 0 && self.mismatches.is_empty() {
            return Err(Problem("the case expects nothing".to_owned()));
        }
        Ok(self.mismatches)
    }
}

/// A JSON object whose fields are asked for by name; those that nobody asked for are found out.
pub(super) struct Object<'a> {
    path: String,
    map: &'a Map<String, Value>,
    asked: Vec<String>,
}

impl<'a> Object<'a> {
    /// The object at `path`, which is empty for the case itself.
    pub(super) fn new(path: impl Into<String>, value: &'a Value) -> Result<Self, Problem> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { path, map, asked: Vec::new() }),
            other => Err(Problem::field(&path, "an object", other)),
        }
    }

    /// Where a field is.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A field, if it is there; `null` is there.
    pub(super) fn get(&mut self, name: &str) -> Option<&'a Value> {
        self.asked.push(name.to_owned());
        self.map.get(name)
    }

    /// A field, if it is there and not `null`.
    pub(super) fn present(&mut self, name: &str) -> Option<&'a Value> {
        self.get(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub(super) fn value(&mut self, name: &str) -> Result<&'a Value, Problem> {
        self.get(name).ok_or_else(|| Problem(format!("field `{}` is missing", self.at(name))))
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, name: &str) -> Result<&'a str, Problem> {
        text(&self.at(name), self.value(name)?)
    }

    /// An integer that must be there and fit.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &str) -> Result<T, Problem> {
        number(&self.at(name), self.value(name)?)
    }

    /// An integer, or what stands for it when it is absent.
    pub(super) fn number_or<T: TryFrom<u64>>(
        &mut self,
        name: &str,
        absent: T,
    ) -> Result<T, Problem> {
        match self.get(name) {
            Some(value) => number(&self.at(name), value),
            None => Ok(absent),
        }
    }

    /// A truth value; false when it is absent.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(Problem::field(&self.at(name), "true or false", other)),
        }
    }

    /// An address that must be there.
    pub(super) fn address(&mut self, name: &str) -> Result<IpAddr, Problem> {
        address(&self.at(name), self.value(name)?)
    }

    /// An address, or `None` if it is absent or `null`.
    pub(super) fn address_if(&mut self, name: &str) -> Result<Option<IpAddr>, Problem> {
        let path = self.at(name);
        self.present(name).map(|value| address(&path, value)).transpose()
    }

    /// An object that must be there.
    pub(super) fn object(&mut self, name: &str) -> Result<Self, Problem> {
        Object::new(self.at(name), self.value(name)?)
    }

    /// A list that must be there.
    pub(super) fn list(&mut self, name: &str) -> Result<&'a [Value], Problem> {
        list(&self.at(name), self.value(name)?)
    }

    /// A list of objects that must be there.
    pub(super) fn objects(&mut self, name: &str) -> Result<Vec<Self>, Problem> {
        let path = self.at(name);
        let each = |(index, value)| Object::new(format!("{path}[{index}]"), value);
        self.list(name)?.iter().enumerate().map(each).collect()
    }

    /// The names of all fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.map.keys().map(String::as_str)
    }

    /// Ends the reading of this object.
    ///
    /// # Errors
    /// A [`Problem`] that names the fields nobody asked for.
    pub(super) fn close(self) -> Result<(), Problem> {
        let unknown: Vec<_> = (self.names())
            .filter(|name| *name != "note" && !self.asked.iter().any(|asked| asked == name))
            .map(|name| format!("`{}`", self.at(name)))
            .collect();
        match unknown.as_slice() {
            [] => Ok(()),
            [one] => Err(Problem(format!("unknown field {one}"))),
            several => Err(Problem(format!("unknown fields {}", several.join(", ")))),
        }
    }
}

/// A text.
pub(super) fn text<'a>(path: &str, value: &'a Value) -> Result<&'a str, Problem> {
    value.as_str().ok_or_else(|| Problem::field(path, "a text", value))
}

/// An integer that fits its type.
pub(super) fn number<T: TryFrom<u64>>(path: &str, value: &Value) -> Result<T, Problem> {
    let fits = value.as_u64().and_then(|number| T::try_from(number).ok());
    fits.ok_or_else(|| {
        let wanted = format!("an integer of {} bits", 8 * size_of::<T>());
        Problem::field(path, &wanted, value)
    })
}

/// An integer that may be below zero.
pub(super) fn signed(path: &str, value: &Value) -> Result<i64, Problem> {
    value.as_i64().ok_or_else(|| Problem::field(path, "an integer of 63 bits and a sign", value))
}

/// A list.
pub(super) fn list<'a>(path: &str, value: &'a Value) -> Result<&'a [Value], Problem> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(Problem::field(path, "a list", other)),
    }
}

/// An address.
pub(super) fn address(path: &str, value: &Value) -> Result<IpAddr, Problem> {
    let parsed = text(path, value)?.parse();
    parsed.map_err(|_| Problem::field(path, "an IP address", value))
}

/// Octets from pairs of hexadecimal digits.
pub(super) fn octets(path: &str, value: &Value) -> Result<Vec<u8>, Problem> {
    let digits = text(path, value)?.as_bytes();
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let pair = |pair: &[u8]| match *pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    let octets: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    octets.ok_or_else(|| Problem::field(path, "pairs of hexadecimal digits", value))
}

/// A range of ports, or one port.
pub(super) fn ports(path: &str, value: &Value) -> Result<PortRange, Problem> {
    let (from, to) = match value {
        Value::Array(both) => match both.as_slice() {
            [from, to] => (from, to),
            _ => return Err(Problem::field(path, "first and last port", value)),
        },
        one => (one, one),
    };
    let (from, to): (u16, u16) = (number(path, from)?, number(path, to)?);
    PortRange::new(from, to)
        .filter(|range| !range.is_opaque())
        .ok_or_else(|| Problem::field(path, "a range of ports", value))
}

/// A list of texts, or one text for a list of one, or `null` for none.
pub(super) fn names<'a>(path: &str, value: &'a Value) -> Result<Vec<&'a str>, Problem> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(name) => Ok(vec![name]),
        Value::Array(list) => list.iter().map(|name| text(path, name)).collect(),
        other => Err(Problem::field(path, "a name, or a list of names", other)),
    }
}
