//! What is tested of a block from elsewhere, before any packet is compared with it.
//!
//! What is *not* tested is whether it says what its author means: a tree may keep boxes from being found, and a
//! group may show a box wider than it is. Whoever may write the block may as well write other boxes.

use super::block::{Block, BlockError, Boxed, Span, Wide};
use super::tree::Left;

impl<'b> Block<'b> {
    /// The block at the start of `words`, after every invariant was tested.
    ///
    /// # Bound
    /// Linear in the octets: each record, box and group is looked at once, and each word of rows.
    ///
    /// # Errors
    /// [`BlockError`] says what is wrong; nothing of the block is used then.
    pub fn parse(words: &'b [u64]) -> Result<Self, BlockError> {
        let block = Self::open(words)?;
        block.validate()?;
        Ok(block)
    }

    fn validate(&self) -> Result<(), BlockError> {
        // Who looks at all Child SAs looks at no more boxes than there are.
        let mut left = (self.boxes4.len(), self.boxes6.len());
        for (index, child) in self.children.iter().enumerate() {
            if child.generation & 1 == 0 {
                continue;
            }
            let owner = self.tunnels.get(child.tunnel as usize);
            let inside = owner.is_some_and(|tunnel| tunnel.span.holds(&child.span));
            let rest = left
                .0
                .checked_sub(child.span.count4 as usize)
                .zip(left.1.checked_sub(child.span.count6 as usize));
            match rest {
                Some(rest) if inside => left = rest,
                _ => return Err(BlockError::Range { record: index as u32 }),
            }
        }
        let all = Span {
            first4: 0,
            count4: self.boxes4.len() as u32,
            first6: 0,
            count6: self.boxes6.len() as u32,
        };
        if let Some(index) = self.tunnels.iter().position(|tunnel| !all.holds(&tunnel.span)) {
            return Err(BlockError::Range { record: (self.children.len() + index) as u32 });
        }
        let known = |child: u32| child < self.owners();
        let bad4 = self.boxes4.iter().position(|b| !(b.is_ordered() && known(b.child())));
        let bad6 = self.boxes6.iter().position(|b| !(b.is_ordered() && known(b.child())));
        if let Some(index) = bad4.or(bad6.map(|index| index + self.boxes4.len())) {
            return Err(BlockError::Box { index: index as u32 });
        }
        // Trees have no more groups and rows than there are.
        let mut left = Left { groups: self.arrays.groups.len(), rows: self.arrays.rows.len() };
        for tunnel in 0..self.tunnels.len() as u32 {
            let boxes = self.tunnel_boxes(tunnel);
            if !(boxes.of::<u32>().is_valid(&mut left) && boxes.of::<Wide>().is_valid(&mut left)) {
                return Err(BlockError::Tree { tunnel });
            }
        }
        Ok(())
    }
}

impl Span {
    fn holds(&self, inner: &Self) -> bool {
        let within = |first: u32, count: u32, from: u32, n: u32| {
            first <= from && u64::from(from) + u64::from(n) <= u64::from(first) + u64::from(count)
        };
        within(self.first4, self.count4, inner.first4, inner.count4)
            && within(self.first6, self.count6, inner.first6, inner.count6)
    }
}

impl<A: Ord> Boxed<A> {
    fn is_ordered(&self) -> bool {
        self.remote_lo <= self.remote_hi && self.local_lo <= self.local_hi
    }
}
