//! Names of tunnels, Child SAs and SAs, and back: what people call what the tables number.
//!
//! Control side only; the packet path speaks in handles. Needs `alloc`.

use alloc::string::String;
use core::hash::Hash;

use hashbrown::HashMap;

/// A name that another handle has, or a handle that has another name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameTaken;

impl core::fmt::Display for NameTaken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the name or the handle is in use")
    }
}

impl core::error::Error for NameTaken {}

/// A one-to-one map between names and handles.
///
/// # Examples
/// ```
/// use espial::SaId;
/// use espial::names::Names;
///
/// let mut names = Names::new();
/// let sa = SaId::from_raw(3);
/// names.insert("paris", sa).unwrap();
/// assert_eq!((names.id("paris"), names.name(sa)), (Some(sa), Some("paris")));
/// assert!(names.insert("paris", SaId::from_raw(4)).is_err());
/// assert_eq!(names.remove(sa).as_deref(), Some("paris"));
/// assert_eq!(names.id("paris"), None);
/// ```
#[derive(Clone, Debug)]
pub struct Names<I> {
    ids: HashMap<String, I>,
    names: HashMap<I, String>,
}

impl<I: Copy + Eq + Hash> Default for Names<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: Copy + Eq + Hash> Names<I> {
    /// No names.
    pub fn new() -> Self {
        Self { ids: HashMap::new(), names: HashMap::new() }
    }

    /// Gives a handle its name.
    ///
    /// # Errors
    /// [`NameTaken`]; nothing has changed.
    pub fn insert(&mut self, name: &str, id: I) -> Result<(), NameTaken> {
        if self.ids.contains_key(name) || self.names.contains_key(&id) {
            return Err(NameTaken);
        }
        self.ids.insert(String::from(name), id);
        self.names.insert(id, String::from(name));
        Ok(())
    }

    /// The handle with this name.
    pub fn id(&self, name: &str) -> Option<I> {
        self.ids.get(name).copied()
    }

    /// The name of this handle.
    pub fn name(&self, id: I) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// Takes a handle's name away and returns it.
    pub fn remove(&mut self, id: I) -> Option<String> {
        let name = self.names.remove(&id)?;
        self.ids.remove(&name);
        Some(name)
    }
}
