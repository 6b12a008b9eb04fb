//! A set of boxes of one family: a list, and a tree where that is long.

use super::block::Boxed;
use super::linear::{self, Key};
use super::tree::{Address, Ask, Tree, Visits};

/// Consecutive boxes in configuration order.
#[derive(Clone, Copy)]
pub(crate) struct Set<'b, A> {
    /// The boxes themselves.
    pub(crate) boxes: &'b [Boxed<A>],
    /// What is searched instead, if that pays.
    tree: Option<Indexed<'b, A>>,
}

/// A tree, and the boxes that it is of.
#[derive(Clone, Copy)]
struct Indexed<'b, A> {
    tree: Tree<'b, A>,
    of: &'b [Boxed<A>],
    /// Only boxes of this Child SA count.
    child: Option<u32>,
}

impl<'b, A: Address> Set<'b, A> {
    /// A set that is asked one by one.
    #[inline]
    pub(super) fn list(boxes: &'b [Boxed<A>]) -> Self {
        Self { boxes, tree: None }
    }

    /// A set of which a tree of the boxes `of` holds all; only those of `child` count, if there is one.
    pub(super) fn searched(
        boxes: &'b [Boxed<A>],
        of: &'b [Boxed<A>],
        tree: Tree<'b, A>,
        child: Option<u32>,
    ) -> Self {
        Self { boxes, tree: Some(Indexed { tree, of, child }) }
    }

    /// True if the tree, if there is one, is what it says: for sets of tunnels.
    pub(super) fn is_valid(&self, left: &mut usize) -> bool {
        self.tree.is_none_or(|tree| tree.tree.is_valid(self.boxes.len(), left))
    }

    /// True if a box covers the packet.
    ///
    /// # Bound
    /// Up to 32 boxes, each; more: as [`tree`](super::tree) says.
    #[inline]
    pub(super) fn any(&self, key: &Key<A>) -> bool {
        match &self.tree {
            None => linear::any(self.boxes, key),
            Some(tree) => tree.find::<true>(key, Ask::All, |_| true, &mut ()).is_some(),
        }
    }

    /// The Child SA of the first box that covers the packet and that `accept` takes.
    #[inline]
    pub(super) fn first(&self, key: &Key<A>, accept: impl Fn(u32) -> bool) -> Option<u32> {
        match &self.tree {
            None => linear::first(self.boxes, key, accept).map(Boxed::child),
            Some(tree) => tree.find::<false>(key, Ask::All, accept, &mut ()),
        }
    }

    /// The Child SA of the first box whose remote range holds the packet's source and that `accept` takes.
    #[inline]
    pub(super) fn first_source(&self, key: &Key<A>, accept: impl Fn(u32) -> bool) -> Option<u32> {
        match &self.tree {
            None => linear::first_source(self.boxes, key, accept).map(Boxed::child),
            Some(tree) => tree.find::<false>(key, Ask::Source, accept, &mut ()),
        }
    }

    /// True if a box that `accept` takes covers the packet but for its ports.
    pub(super) fn any_portless(&self, key: &Key<A>, accept: impl Fn(u32) -> bool) -> bool {
        match &self.tree {
            None => self.boxes.iter().any(|one| one.covers_portless(key) && accept(one.child())),
            Some(tree) => tree.find::<true>(key, Ask::Portless, accept, &mut ()).is_some(),
        }
    }
}

impl<'b, A: Address> Set<'b, A> {
    /// What covers each of up to 32 packets: the Child SA of the first box, or of any if `ANY`.
    #[inline(always)]
    pub(super) fn find_burst<'k, const ANY: bool>(
        &self,
        keys: impl Iterator<Item = (usize, &'k Key<A>)> + Clone,
        mut tell: impl FnMut(usize, Option<u32>),
    ) where
        A: 'k,
    {
        match &self.tree {
            None => {
                keys.for_each(|(nth, key)| tell(nth, self.first(key, |_| true)));
            }
            Some(tree) => tree.tree.find_burst::<ANY>(keys, |nth, index| {
                tell(nth, index.and_then(|index| Some(tree.of.get(index as usize)?.child())));
            }),
        }
    }
}

impl<A: Address> Indexed<'_, A> {
    /// [`Tree::find`] among the Child SAs that count.
    #[inline]
    fn find<const ANY: bool>(
        &self,
        key: &Key<A>,
        ask: Ask,
        accept: impl Fn(u32) -> bool,
        visits: &mut impl Visits,
    ) -> Option<u32> {
        let child_of = |index: u32| self.of.get(index as usize).map(Boxed::child);
        let accept = |index: u32| {
            let child = child_of(index);
            child.is_some_and(|child| self.child.is_none_or(|own| own == child) && accept(child))
        };
        child_of(self.tree.find::<ANY>(key, ask, accept, visits)?)
    }
}
