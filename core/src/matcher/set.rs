//! A set of boxes of one family: a list, and a tree where that is long.

use super::block::Boxed;
use super::fan::{BURST, Open};
use super::group::{Address, Ask, NONE};
use super::linear::{self, Key};
use super::tree::{Every, LIST, Left, Tree};
use crate::simd::Backend;

/// Consecutive boxes in configuration order. What a list needs comes first: who has a set for each SA reads one line of it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Set<'b, A: Address> {
    /// The boxes themselves.
    pub(crate) boxes: &'b [Boxed<A>],
    /// What is searched instead, if that pays.
    tree: Option<Indexed<'b, A>>,
    /// Boxes name their own places instead of Child SAs.
    names_places: bool,
}

/// A tree, and which of its boxes count.
#[derive(Clone, Copy)]
struct Indexed<'b, A: Address> {
    tree: Tree<'b, A>,
    /// Only boxes of this Child SA count.
    child: Option<u32>,
}

impl<'b, A: Address> Set<'b, A> {
    /// A set that is asked one by one.
    #[inline]
    pub(super) fn list(boxes: &'b [Boxed<A>]) -> Self {
        Self { boxes, tree: None, names_places: false }
    }

    /// A set of which a tree holds all; only boxes of `child` count, if there is one.
    pub(super) fn searched(boxes: &'b [Boxed<A>], tree: Tree<'b, A>, child: Option<u32>) -> Self {
        Self { boxes, tree: Some(Indexed { tree, child }), names_places: false }
    }

    /// True if the set is asked one by one.
    #[inline]
    pub(super) fn is_list(&self) -> bool {
        self.tree.is_none()
    }

    /// True if the set has a tree if it must, and that is what it says: for sets of tunnels.
    pub(super) fn is_valid(&self, left: &mut Left) -> bool {
        match &self.tree {
            Some(tree) => tree.tree.is_valid(left),
            None => self.boxes.len() <= LIST,
        }
    }

    /// True if a box covers the packet.
    ///
    /// # Bound
    /// Up to 32 boxes, each once; more: as [`tree`](super::tree) says.
    #[inline]
    pub(super) fn any(&self, key: &Key<A>) -> bool {
        self.any_opened(None, key)
    }

    /// The same, of a set whose fan has been opened before.
    #[inline]
    pub(super) fn any_opened(&self, fan: Option<&Open<'b, A>>, key: &Key<A>) -> bool {
        match &self.tree {
            None => linear::any(self.boxes, *key),
            Some(Indexed { tree, child: None }) => {
                tree.find_opened::<true>(fan, key, Ask::All, Every, &mut ()).is_some()
            }
            Some(tree) => tree.find::<true>(key, Ask::All, |_| true).is_some(),
        }
    }

    /// The Child SA of the first box that covers the packet and that `accept` takes.
    #[inline]
    pub(super) fn first(&self, key: &Key<A>, accept: impl Fn(u32) -> bool) -> Option<u32> {
        match &self.tree {
            None => linear::first(self.boxes, key, accept).map(Boxed::child),
            Some(tree) => tree.find::<false>(key, Ask::All, accept),
        }
    }

    /// The Child SA of the first box whose remote range holds the packet's source and that `accept` takes.
    #[inline]
    pub(super) fn first_source(&self, key: &Key<A>, accept: impl Fn(u32) -> bool) -> Option<u32> {
        match &self.tree {
            None => linear::first_source(self.boxes, key, accept).map(Boxed::child),
            Some(tree) => tree.find::<false>(key, Ask::Source, accept),
        }
    }

    /// True if a box that `accept` takes covers the packet but for its ports.
    pub(super) fn any_portless(&self, key: &Key<A>, accept: impl Fn(u32) -> bool) -> bool {
        match &self.tree {
            None => self.boxes.iter().any(|one| one.covers_portless(key) && accept(one.child())),
            Some(tree) => tree.find::<true>(key, Ask::Portless, accept).is_some(),
        }
    }
}

/// Sets of which all boxes count.
impl<'b, A: Address> Set<'b, A> {
    /// The same set; if its boxes name their own places, no search has to look.
    ///
    /// # Bound
    /// Linear in the boxes.
    pub(super) fn of_places(self) -> Self {
        let names_places = (0..).zip(self.boxes).all(|(place, one)| one.child() == place);
        Self { names_places, ..self }
    }

    /// The same set, searched with these instructions.
    pub(super) fn with_backend(self, backend: Backend) -> Self {
        let tree = self.tree.map(|Indexed { tree, child }| {
            let tree = Tree { backend, ..tree };
            Indexed { tree, child }
        });
        Self { tree, ..self }
    }

    /// What a box names.
    #[inline(always)]
    fn named(&self, tree: &Tree<'_, A>, index: Option<u32>) -> Option<u32> {
        if self.names_places { index } else { child_of(tree, index?) }
    }

    /// The fan of its tree, for those who ask more than once.
    pub(super) fn open(&self) -> Option<Open<'b, A>> {
        self.tree?.tree.open()
    }

    /// What the first box that covers the packet in what is asked names; `fan` is the set's.
    #[inline]
    pub(super) fn find(&self, fan: Option<&Open<'b, A>>, key: &Key<A>, ask: Ask) -> Option<u32> {
        match &self.tree {
            Some(Indexed { tree, .. }) => {
                self.named(tree, tree.find_opened::<false>(fan, key, ask, Every, &mut ()))
            }
            None if ask == Ask::Source => self.first_source(key, |_| true),
            None => self.first(key, |_| true),
        }
    }

    /// [`Set::find`] for each of up to 32 packets, all that covers them asked; if `ANY`, some number for
    /// those that a box covers. [`NONE`] for the others.
    #[inline(always)]
    pub(super) fn find_burst<const ANY: bool>(&self, keys: &[Key<A>]) -> [u32; BURST] {
        let mut found = [NONE; BURST];
        if keys.is_empty() {
            return found;
        }
        match &self.tree {
            None => {
                for (found, key) in found.iter_mut().zip(keys) {
                    let first = match ANY {
                        true => self.any(key).then_some(0),
                        false => self.first(key, |_| true),
                    };
                    *found = first.unwrap_or(NONE);
                }
            }
            Some(Indexed { tree, .. }) => {
                found = tree.find_burst::<ANY>(keys);
                if !ANY && !self.names_places {
                    for found in &mut found {
                        *found = child_of(tree, *found).unwrap_or(NONE);
                    }
                }
            }
        }
        found
    }
}

fn child_of<A: Address>(tree: &Tree<'_, A>, index: u32) -> Option<u32> {
    tree.boxes.get(index as usize).map(Boxed::child)
}

impl<A: Address> Indexed<'_, A> {
    /// [`Tree::find`] among the Child SAs that count.
    #[inline]
    fn find<const ANY: bool>(
        &self,
        key: &Key<A>,
        ask: Ask,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let Self { tree, child } = self;
        let accept = |index: u32| {
            let found = child_of(tree, index);
            found.is_some_and(|found| child.is_none_or(|own| own == found) && accept(found))
        };
        child_of(tree, tree.find::<ANY>(key, ask, accept, &mut ())?)
    }
}
