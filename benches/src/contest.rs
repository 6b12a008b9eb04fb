//! Contenders that take turns within one run, and the tables of what they took.
//!
//! On a machine that does other things too, what contenders have in common is the same for all only
//! if they run side by side: rounds are short, each contender has a turn in each, and the least time
//! counts. Before a timed pass the same contender makes one that is not timed, since the others have
//! had the cache.

use std::io::{self, Write};
use std::ops::Range;
use std::time::Instant;

/// The parts of a trace that a round takes.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Of the whole trace.
    pub items: usize,
    /// Timed in a pass; parts behind each other take turns.
    pub timed: usize,
    /// In the pass before it: what lies behind the timed part, or at the other end.
    pub before: usize,
}

impl Parts {
    /// The whole trace, before the clock and within.
    pub fn whole(items: usize) -> Self {
        Self { items, timed: items, before: items }
    }

    /// What is timed in a round, and what goes before.
    fn of(self, round: usize) -> (Range<usize>, Range<usize>) {
        let parts = (self.items / self.timed).max(1);
        let from = round * 5 % parts * self.timed;
        let timed = from..(from + self.timed).min(self.items);
        let before = match timed.end {
            _ if self.before >= self.items => 0..self.items,
            end if end + self.before <= self.items => end..end + self.before,
            _ => 0..self.before,
        };
        (timed, before)
    }
}

/// Least ns an item of each contender. `parts` says what it is given; `pass` gets the contender's
/// place and a part of the trace. Who has taken more than `slow_ns` takes part in one round of eight.
pub fn compete(
    parts: &[Parts],
    rounds: usize,
    slow_ns: f64,
    mut pass: impl FnMut(usize, Range<usize>),
) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; parts.len()];
    for round in 0..rounds {
        for (at, (least, parts)) in least.iter_mut().zip(parts).enumerate() {
            if round % 8 != 0 && *least > slow_ns && *least < f64::INFINITY {
                continue;
            }
            let (timed, before) = parts.of(round);
            let items = timed.len() as f64;
            pass(at, before);
            let start = Instant::now();
            pass(at, timed);
            *least = least.min(start.elapsed().as_nanos() as f64 / items);
        }
    }
    least
}

/// Three digits, or as many as stand before the point.
pub fn figure(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 1000.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Lines of a Markdown table.
pub struct Sheet {
    title: String,
    /// The columns.
    pub columns: Vec<String>,
    /// A name, and a cell for each column.
    pub rows: Vec<(String, Vec<String>)>,
}

impl Sheet {
    /// A table without columns.
    pub fn new<'a>(title: String, names: impl IntoIterator<Item = &'a str>) -> Self {
        let rows = names.into_iter().map(|name| (name.to_owned(), Vec::new())).collect();
        Self { title, columns: Vec::new(), rows }
    }

    /// Adds a column; `cell` is asked for each row.
    pub fn column(&mut self, name: String, mut cell: impl FnMut(&str) -> Option<String>) {
        self.columns.push(name);
        for (name, cells) in &mut self.rows {
            cells.push(cell(name).unwrap_or_else(|| "-".to_owned()));
        }
    }

    /// Writes the table, without rows that are empty, unless it has no columns.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{}\n\n| | {} |", self.title, self.columns.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(self.columns.len()))?;
        for (name, cells) in &self.rows {
            if cells.iter().any(|cell| cell != "-") {
                writeln!(out, "| {name} | {} |", cells.join(" | "))?;
            }
        }
        Ok(())
    }
}
