//! What is wrong with a configuration file.

use std::fmt;

/// One fault: what is wrong at one place, and what would be right.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// Line, from 1; 0 if the file could not be read.
    pub line: usize,
    /// The key; empty where the text is no TOML.
    pub key: String,
    /// The sentence.
    pub text: String,
}

/// A configuration file that cannot be used: its faults in the order of their lines, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Name of the file.
    pub file: String,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

impl ConfigError {
    pub(super) fn new(file: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort();
        Self { file: file.to_owned(), faults }
    }

    pub(super) fn unreadable(file: String, error: &std::io::Error) -> Self {
        let fault = Fault { line: 0, key: String::new(), text: error.to_string() };
        Self { file, faults: vec![fault] }
    }
}

/// One line a fault: `FILE:LINE: KEY: TEXT`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file)?;
            if fault.line > 0 {
                write!(f, "{}:", fault.line)?;
            }
            if !fault.key.is_empty() {
                write!(f, " {}:", fault.key)?;
            }
            write!(f, " {}", fault.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
