//! The configuration flow: tunnels, Child SAs, selectors and SAs, and their publication.
//!
//! One [`Control`] a gateway. Tunnels and Child SAs are staged and become visible together with
//! [`Control::publish`]; SAs are added to and deleted from the SPI table in place, at once. After
//! an error the state is as before. SAs are in `sas`, what is not yet published in `staging`.
//!
//! Invariants:
//! - I1: a reader that finds an SA finds its Child SA in the block: an SA is added only after its
//!   Child SA was published, and a reader looks at the block after it found the SA.
//! - I2: the selectors of a Child SA never change. New selectors are a new Child SA.
//! - I3: the slot of a removed Child SA is filled again only after a block without it was
//!   published and every worker was quiescent since; so `established` never speaks of another
//!   Child SA than the block a worker looks at.
//! - I4: counts of a deleted SA are folded into its tunnel before its slot, or the tunnel's, is
//!   filled again.

mod image;
mod sas;
mod staging;
#[cfg(feature = "alloc")]
mod to_image;
mod transfer;

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use bytemuck::Zeroable;

use crate::counters::{self, Counts};
use crate::error::{Busy, ConfigError, SetupError};
use crate::gateway::{Shown, Tables};
use crate::headers::Encap;
use crate::matcher::compile::{self, Staged};
use crate::publish::Publisher;
use crate::sad::{Lifetime, Limit, Replay, ReplayStart, SaKey, SaMode, SaStart, SadWriter};
use crate::selector::{self, PairError, Selector, TrafficSelector};
use crate::storage::{CACHE_LINE_OCTETS, Capacity, Carver};
use crate::verdict::{Mode, Modes};
use image::Images;
pub use image::SwapError;
pub(crate) use staging::{ChildStage, TunnelStage};
use staging::{Life, Staging, children_of, digest, same_set, staged_of};
#[cfg(feature = "alloc")]
pub use to_image::{ImageOptions, Names};

macro_rules! handle {
    ($name:ident, $what:literal) => {
        #[doc = concat!("A handle to a ", $what, ": index and generation, so that a stale one is found out.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name {
            pub(crate) index: u32,
            pub(crate) generation: u32,
        }

        impl $name {
            /// Index below the capacity.
            pub const fn index(self) -> u32 {
                self.index
            }

            /// Generation; odd for every handle that was ever given out.
            pub const fn generation(self) -> u32 {
                self.generation
            }

            /// A handle from its two numbers, for bindings. A wrong one is only ever stale.
            pub const fn from_raw(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }
        }
    };
}
handle!(TunnelId, "tunnel (IKE SA, phase 1)");
handle!(ChildId, "Child SA (phase 2)");

/// What an SA is, beside its selectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SaParams {
    /// What it is found by.
    pub key: SaKey,
    /// Tunnel or transport mode.
    pub mode: SaMode,
    /// The encapsulation its packets must come in.
    pub encap: Encap,
    /// Anti-replay and extended sequence numbers.
    pub replay: Replay,
    /// How long it may be used.
    pub lifetime: Lifetime,
}

impl SaParams {
    /// A tunnel mode SA without encapsulation, anti-replay and limits.
    pub const fn new(key: SaKey) -> Self {
        const NONE: Limit = Limit { packets: None, octets: None, at_ms: None };
        Self {
            key,
            mode: SaMode::Tunnel,
            encap: Encap::None,
            replay: Replay { window: 0, esn: false, start: ReplayStart::High(0) },
            lifetime: Lifetime { soft: NONE, hard: NONE },
        }
    }

    fn start(&self) -> SaStart {
        SaStart { replay: self.replay, lifetime: self.lifetime, ..SaStart::default() }
    }
}

/// What an SA has seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SaState {
    /// The highest sequence number seen in an authentic packet; for
    /// [`ReplayStart::Top`].
    pub top: u64,
    /// Packets counted against limits; 0 without limits in packets or octets.
    pub packets: u64,
    /// Octets counted against limits.
    pub octets: u64,
}

/// A limit that is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Due {
    /// Negotiate a new SA.
    Soft,
    /// Delete it: its packets are dropped.
    Hard,
}

/// The one writer of a gateway.
///
/// # Concurrency
/// One thread at a time (`&mut`); any number of [`Worker`](crate::Worker)s beside it.
///
/// What is lent to it later ([`Control::grow_in`], [`Control::swap_image`]) is read through tables that others hold
/// too, so its life neither shrinks nor grows:
///
/// ```compile_fail
/// fn shorter<'a>(control: espial::Control<'static>) -> espial::Control<'a> {
///     control
/// }
/// ```
pub struct Control<'m> {
    tables: Tables<'m>,
    /// Makes 'm invariant.
    lent: PhantomData<fn(&'m ()) -> &'m ()>,
    /// In memory of the gateway's own: what is moved when a gateway is made is to be small.
    sad: &'m mut SadWriter<'m>,
    publisher: Publisher<'m, Shown>,
    /// In place of all that is staged.
    images: Option<Images<'m>>,
    tunnels: &'m mut [TunnelStage],
    children: &'m mut [ChildStage],
    staged: &'m mut [Staged],
    /// Staged selectors in use, holes of removed Child SAs included.
    staged_end: usize,
    /// Without the holes.
    staged_live: usize,
    /// Counts of SAs that are gone, by tunnel; the last are those of tunnels that are gone.
    totals: &'m mut [Counts],
    /// The next class of equal Child SAs; never given twice, so it outlives the slots.
    next_class: u32,
    /// Where to look for a free Child SA slot first.
    free_hint: usize,
    /// The epoch in which slots were last freed for good.
    swept: u32,
    /// The memory of all this, if it is the heap's.
    #[cfg(feature = "alloc")]
    region: Option<crate::storage::SharedRegion>,
}

impl<'m> Control<'m> {
    pub(crate) fn new(
        tables: Tables<'m>,
        sad: &'m mut SadWriter<'m>,
        publisher: Publisher<'m, Shown>,
        tunnels: &'m mut [TunnelStage],
        children: &'m mut [ChildStage],
        staged: &'m mut [Staged],
        totals: &'m mut [Counts],
    ) -> Self {
        Self {
            tables,
            lent: PhantomData,
            sad,
            publisher,
            images: None,
            tunnels,
            children,
            staged,
            staged_end: 0,
            staged_live: 0,
            totals,
            next_class: 0,
            free_hint: 0,
            swept: 0,
            #[cfg(feature = "alloc")]
            region: None,
        }
    }

    /// Keeps the memory that the tables lie in for as long as this lives, wherever safe code may
    /// move it.
    #[cfg(feature = "alloc")]
    pub(crate) fn keep(&mut self, region: crate::storage::SharedRegion) {
        self.region = Some(region);
    }

    /// [`Control::grow_in`] in memory of the heap. Only for a gateway whose memory is the heap's.
    ///
    /// # Errors
    /// [`SetupError`]; then nothing has changed.
    #[cfg(feature = "alloc")]
    #[allow(unsafe_code)]
    pub fn grow(&mut self, capacity: &Capacity) -> Result<(), SetupError> {
        let octets = self.octets_to_grow(capacity)?;
        let keeper = self.region.clone().ok_or(SetupError::CannotGrow { field: "memory" })?;
        // SAFETY: kept by `keeper`, which both sides of the gateway hold, from before it is published.
        let (region, memory) = unsafe { crate::storage::OwnedRegion::new(octets)? };
        // SAFETY: there is one writer (`&mut self`).
        unsafe { keeper.add(region) };
        self.grow_in(memory, capacity)
    }

    /// Adds a tunnel without Child SAs.
    ///
    /// # Errors
    /// [`ConfigError::TunnelsFull`], [`ConfigError::Busy`].
    pub fn add_tunnel(&mut self, mode: Mode, shadow: Modes) -> Result<TunnelId, ConfigError> {
        self.settle();
        let epochs = self.tables.epochs;
        let free = |tunnel: &TunnelStage| match tunnel.life {
            Life::Free => true,
            Life::Retired => epochs.passed(tunnel.retired),
            Life::Live | Life::Removed => false,
        };
        let limit = self.tunnels.len() as u32;
        let all_live = self.tunnels.iter().all(|tunnel| tunnel.life == Life::Live);
        let found = self.tunnels.iter().position(free);
        // Again: what was retired before the tunnel has passed by now as well (I4).
        self.settle();
        let Some((index, tunnel)) = found.and_then(|at| Some((at, self.tunnels.get_mut(at)?)))
        else {
            return Err(if all_live {
                ConfigError::TunnelsFull { limit }
            } else {
                ConfigError::Busy
            });
        };
        let generation = tunnel.generation.wrapping_add(1) | 1;
        *tunnel = TunnelStage { life: Life::Live, generation, ..TunnelStage::zeroed() };
        if let Some((gone, totals)) = self.totals.split_last_mut()
            && let Some(total) = totals.get_mut(index)
        {
            gone.add(total);
            *total = Counts::default();
        }
        if let Some(cell) = self.tables.tunnels.get(index) {
            cell.set_policy(mode, shadow);
            cell.generation.set(generation);
        }
        Ok(TunnelId { index: index as u32, generation })
    }

    /// Switches the enforced mode and the shadow modes of a tunnel; the next packet is judged by
    /// them.
    ///
    /// # Errors
    /// [`ConfigError::Stale`].
    pub fn set_mode(
        &mut self,
        tunnel: TunnelId,
        mode: Mode,
        shadow: Modes,
    ) -> Result<(), ConfigError> {
        self.tunnel(tunnel)?;
        if let Some(cell) = self.tables.tunnels.get(tunnel.index as usize) {
            cell.set_policy(mode, shadow);
        }
        Ok(())
    }

    /// The enforced mode and the shadow modes of a tunnel.
    ///
    /// # Errors
    /// [`ConfigError::Stale`].
    pub fn mode(&self, tunnel: TunnelId) -> Result<(Mode, Modes), ConfigError> {
        if let Some(block) = self.image_of(tunnel) {
            return Ok(Self::mode_in(block, tunnel));
        }
        self.tunnel(tunnel)?;
        let cell = self.tables.tunnels.get(tunnel.index as usize).ok_or(ConfigError::Stale)?;
        Ok(cell.policy())
    }

    /// Removes a tunnel that has no Child SAs.
    ///
    /// # Errors
    /// [`ConfigError::Stale`], [`ConfigError::InUse`].
    pub fn remove_tunnel(&mut self, tunnel: TunnelId) -> Result<(), ConfigError> {
        if self.tunnel(tunnel)?.children > 0 {
            return Err(ConfigError::InUse);
        }
        let retired = self.tables.epochs.advance();
        if let Some(stage) = self.tunnels.get_mut(tunnel.index as usize) {
            stage.life = Life::Retired;
            stage.retired = retired;
        }
        Ok(())
    }

    /// Stages a Child SA whose selectors are the cross product of `local` and `remote` (RFC 7296
    /// section 3.13), behind the tunnel's others. Pairs of different families, or whose protocols
    /// exclude each other, are no selectors.
    ///
    /// Its SAs can be added once it is published.
    ///
    /// # Errors
    /// [`ConfigError::Stale`], [`ConfigError::Selector`], [`ConfigError::NoSelectors`],
    /// [`ConfigError::SelectorsFull`], [`ConfigError::ChildrenFull`], [`ConfigError::Busy`].
    pub fn add_child(
        &mut self,
        tunnel: TunnelId,
        local: &[TrafficSelector],
        remote: &[TrafficSelector],
    ) -> Result<ChildId, ConfigError> {
        self.tunnel(tunnel)?;
        let selectors = selector::cross(local, remote).map_err(ConfigError::Selector)?;
        self.stage_child(tunnel, selectors)
    }

    /// Stages a Child SA with the selectors of a list, behind the tunnel's others: for a set that
    /// is no cross product, such as several phase 2 selectors that share one SA (T5). Boxes of two
    /// families are no selectors, and `local_ports` of ICMP, ICMPv6 and Mobility Header read as
    /// ANY.
    ///
    /// # Errors
    /// As [`Control::add_child`]; the index in [`ConfigError::Selector`] counts boxes.
    pub fn add_child_selectors(
        &mut self,
        tunnel: TunnelId,
        selectors: &[Selector],
    ) -> Result<ChildId, ConfigError> {
        self.tunnel(tunnel)?;
        // The fields are public: what they promise is tested, as for the sides of a pair.
        let valid = |one: &Selector| {
            let Selector { remote, local, protocol, remote_ports, local_ports } = *one;
            Selector::pair(
                &TrafficSelector { addrs: local, protocol, ports: local_ports },
                &TrafficSelector { addrs: remote, protocol, ports: remote_ports },
            )
        };
        for (index, one) in selectors.iter().enumerate() {
            valid(one).map_err(|error| ConfigError::Selector(PairError { index, ..error }))?;
        }
        self.stage_child(tunnel, selectors.iter().filter_map(|one| valid(one).ok().flatten()))
    }

    /// Stages valid selectors as a Child SA of a live tunnel.
    fn stage_child(
        &mut self,
        tunnel: TunnelId,
        selectors: impl Iterator<Item = Selector> + Clone,
    ) -> Result<ChildId, ConfigError> {
        let needed = selectors.clone().count();
        if needed == 0 {
            return Err(ConfigError::NoSelectors);
        }
        if needed > self.staged.len() - self.staged_live {
            return Err(ConfigError::SelectorsFull {
                needed: u32::try_from(needed).unwrap_or(u32::MAX),
                limit: self.staged.len() as u32,
            });
        }
        let index = self.free_child()?;
        if needed > self.staged.len() - self.staged_end {
            self.compact();
        }
        let first = self.staged_end;
        let room = self.staged.get_mut(first..first + needed).unwrap_or(&mut []);
        for (slot, selector) in room.iter_mut().zip(selectors) {
            *slot = compile::stage(&selector, index);
        }
        self.staged_end += needed;
        self.staged_live += needed;
        Ok(self.link_child(tunnel, index, first as u32, needed as u32))
    }

    /// Removes a Child SA that has no SAs. Its selectors stay in the published block until the next
    /// [`Control::publish`]; till then only ordered-spd still asks them, as part of the SPD.
    ///
    /// # Errors
    /// [`ConfigError::Stale`], [`ConfigError::InUse`].
    pub fn remove_child(&mut self, child: ChildId) -> Result<(), ConfigError> {
        let stage = *self.child(child)?;
        if self.established(child.index) > 0 {
            return Err(ConfigError::InUse);
        }
        let previous = self
            .children_of(stage.tunnel)
            .find(|(_, member)| member.next == child.index + 1)
            .map(|(index, _)| index);
        if let Some(tunnel) = self.tunnels.get_mut(stage.tunnel as usize) {
            match previous.and_then(|index| self.children.get_mut(index as usize)) {
                Some(member) => member.next = stage.next,
                None => tunnel.first = stage.next,
            }
            if tunnel.last == child.index + 1 {
                tunnel.last = previous.map_or(0, |index| index + 1);
            }
            tunnel.children -= 1;
        }
        self.staged_live -= stage.count as usize;
        if let Some(stage) = self.children.get_mut(child.index as usize) {
            stage.life = Life::Removed;
            stage.generation = stage.generation.wrapping_add(1);
            stage.count = 0;
        }
        Ok(())
    }

    /// Compiles the staged tunnels and Child SAs and makes them visible with one store.
    ///
    /// # Bound
    /// Linear in selectors, Child SAs and tunnels, and for each selector that came in the leaves of its tunnel's tree.
    /// O(n log n) on average in the selectors of a tunnel with more than 32 of a family, if more than n/4 came or went
    /// since that was done last (n/16 of more than 1024, n/32 of more than 15 360) or in more than 16 places at once.
    ///
    /// # Errors
    /// [`Busy`]: a worker has not been quiescent since the last publication. Readers go on with
    /// the current version; try again.
    pub fn publish(&mut self) -> Result<u32, Busy> {
        self.settle();
        if self.images.is_some() {
            // Nothing is staged.
            return Ok(self.tables.buffers.version());
        }
        let staging =
            Staging { tunnels: self.tunnels, children: self.children, staged: self.staged };
        let version = self
            .publisher
            .publish(|version, old, new| {
                #[allow(unsafe_code)]
                // SAFETY: memory of the tables' own, since there is no image, and current: read only (I4).
                let old = unsafe { old.words() };
                #[allow(unsafe_code)]
                // SAFETY: as above, but spare: nobody else reads or writes it (I4).
                let new = unsafe { new.words_mut() };
                compile::recompile(&staging, version, old, new).is_some()
            })
            .ok_or(Busy)?;
        let retired = self.tables.epochs.advance();
        for child in self.children.iter_mut() {
            match child.life {
                Life::Live => child.published = 1,
                Life::Removed => {
                    child.life = Life::Retired;
                    child.retired = retired;
                }
                Life::Free | Life::Retired => {}
            }
        }
        Ok(version)
    }

    /// Octets of memory that [`Control::grow_in`] needs, alignment included.
    ///
    /// # Errors
    /// As [`Control::grow_in`].
    pub fn octets_to_grow(&mut self, capacity: &Capacity) -> Result<usize, SetupError> {
        let mut carver = Carver::measuring();
        self.sad.grow(&mut carver, capacity)?;
        carver.used().checked_add(CACHE_LINE_OCTETS).ok_or(SetupError::TooLarge)
    }

    /// Makes room for as many SAs as `capacity` says, in more memory: tables that hold all of them,
    /// and the state of those that are added. What there is stays where it is, and handles stay
    /// valid. Readers are not stopped and never look twice: the new tables are filled aside and
    /// published with one store.
    ///
    /// Of `capacity` the numbers of SAs and `replay_window` (as it was) are read. `sas_allocated` can
    /// grow to eight times the number it was made with, as far as 2^22; `sas_dst` and `sas_dst_src`
    /// only if there was one of them at the start. A gateway can grow as often as it likes; an SA added after the nth time is found n steps later.
    ///
    /// # Bound
    /// Linear in the SAs: about 50 ns for each.
    ///
    /// # Errors
    /// [`SetupError`]; then nothing has changed.
    pub fn grow_in(
        &mut self,
        memory: &'m mut [MaybeUninit<u8>],
        capacity: &Capacity,
    ) -> Result<(), SetupError> {
        self.sad.grow(&mut Carver::new(memory), capacity)?;
        #[allow(unsafe_code)]
        // SAFETY: in memory that is lent for 'm, as that of the tables is.
        unsafe {
            self.tables.publish_sad(self.sad.sad());
        }
        Ok(())
    }

    /// Configured Child SAs of a tunnel, and how many of them have an SA: selectors(total, up).
    ///
    /// # Errors
    /// [`ConfigError::Stale`].
    pub fn child_counts(&self, tunnel: TunnelId) -> Result<(u32, u32), ConfigError> {
        if let Some(block) = self.image_of(tunnel) {
            let children = || block.children_of(tunnel.index);
            let up = children().filter(|(index, _)| self.established(*index) > 0);
            return Ok((children().count() as u32, up.count() as u32));
        }
        let total = self.tunnel(tunnel)?.children;
        let up = self.children_of(tunnel.index).filter(|(index, _)| self.established(*index) > 0);
        Ok((total, up.count() as u32))
    }

    /// Counts of a tunnel: its SAs, those that are gone included.
    ///
    /// # Errors
    /// [`ConfigError::Stale`].
    pub fn tunnel_counts(&self, tunnel: TunnelId) -> Result<Counts, ConfigError> {
        if self.image_of(tunnel).is_none() {
            self.tunnel(tunnel)?;
        }
        let mut counts = self.totals.get(tunnel.index as usize).copied().unwrap_or_default();
        let segments = &self.sad.sad().segments;
        for index in self.sad.used() {
            if segments.entry(index).is_some_and(|entry| entry.tunnel() == tunnel.index) {
                counts.add(&counters::of_sa(segments, index));
            }
        }
        Ok(counts)
    }

    /// Counts of everything: all tunnels that are or were, and packets that reached no SA.
    pub fn total_counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.totals.iter().for_each(|total| counts.add(total));
        for index in self.sad.used() {
            counts.add(&counters::of_sa(&self.sad.sad().segments, index));
        }
        for worker in self.tables.cells {
            worker.drops.iter().enumerate().for_each(|(i, cell)| counts.add_drop(i, cell.get()));
        }
        counts
    }

    /// Packets that were not for this check: IKE, keepalives, other traffic.
    pub fn passed(&self) -> u64 {
        self.tables.cells.iter().map(|worker| worker.passed.get()).sum()
    }

    /// Events that the budget or a full queue suppressed.
    pub fn events_suppressed(&self) -> u64 {
        self.tables.cells.iter().map(|worker| worker.events_suppressed.get()).sum()
    }

    fn tunnel(&self, id: TunnelId) -> Result<&TunnelStage, ConfigError> {
        self.tunnels
            .get(id.index() as usize)
            .filter(|stage| stage.life == Life::Live && stage.generation == id.generation())
            .ok_or(ConfigError::Stale)
    }

    fn child(&self, id: ChildId) -> Result<&ChildStage, ConfigError> {
        self.children
            .get(id.index() as usize)
            .filter(|stage| stage.life == Life::Live && stage.generation == id.generation())
            .ok_or(ConfigError::Stale)
    }

    fn children_of(&self, tunnel: u32) -> impl Iterator<Item = (u32, &ChildStage)> {
        children_of(self.tunnels, self.children, tunnel)
    }

    pub(crate) fn established(&self, child: u32) -> u32 {
        self.tables.established.get(child as usize).map_or(0, |cell| cell.get())
    }

    fn adjust_established(&self, child: u32, by: i32) {
        if let Some(cell) = self.tables.established.get(child as usize) {
            cell.set(cell.get().wrapping_add_signed(by));
        }
    }

    /// Folds the counts of deleted SAs that no worker counts on any more into their tunnels (I4).
    fn settle(&mut self) {
        let (segments, totals) = (&self.sad.sad().segments, &mut *self.totals);
        self.sad.settle(&self.tables.epochs, |index| {
            let Some(entry) = segments.entry(index) else { return };
            if let Some(total) = totals.get_mut(entry.tunnel() as usize) {
                total.add(&counters::take_sa(segments, index));
            }
        });
        self.publisher.settle();
        self.forget_image();
        let now = self.tables.epochs.now();
        if now.wrapping_sub(self.swept) > 1 << 29 {
            self.sweep();
        }
    }

    /// Frees retired slots whose epoch has passed, before epochs come round and they would seem to
    /// lie ahead.
    fn sweep(&mut self) {
        let epochs = self.tables.epochs;
        self.swept = epochs.now();
        for child in self.children.iter_mut() {
            if child.life == Life::Retired && epochs.passed(child.retired) {
                child.life = Life::Free;
            }
        }
        for tunnel in self.tunnels.iter_mut() {
            if tunnel.life == Life::Retired && epochs.passed(tunnel.retired) {
                tunnel.life = Life::Free;
            }
        }
    }

    fn free_child(&mut self) -> Result<u32, ConfigError> {
        let epochs = self.tables.epochs;
        let free = |child: &ChildStage| match child.life {
            Life::Free => true,
            Life::Retired => epochs.passed(child.retired),
            Life::Live | Life::Removed => false,
        };
        let (before, from) = self.children.split_at(self.free_hint.min(self.children.len()));
        let behind = from.iter().position(free).map(|at| at + before.len());
        match behind.or_else(|| before.iter().position(free)) {
            Some(index) => {
                self.free_hint = index + 1;
                Ok(index as u32)
            }
            None if self.children.iter().all(|child| child.life == Life::Live) => {
                Err(ConfigError::ChildrenFull { limit: self.children.len() as u32 })
            }
            None => Err(ConfigError::Busy),
        }
    }

    fn link_child(&mut self, tunnel: TunnelId, index: u32, first: u32, count: u32) -> ChildId {
        let own = staged_of(self.staged, first, count);
        // The same however often a selector is there, and in any order.
        let digest = own.iter().map(digest).max().unwrap_or(0);
        let equal = |other: &ChildStage| {
            other.digest == digest
                && same_set(staged_of(self.staged, other.first, other.count), own)
        };
        let class = self
            .children_of(tunnel.index)
            .find(|(_, other)| equal(other))
            .map(|(_, other)| other.class);
        let class = class.unwrap_or_else(|| {
            self.next_class = self.next_class.wrapping_add(1);
            self.next_class
        });
        let mut generation = 1;
        if let Some(stage) = self.children.get_mut(index as usize) {
            generation = stage.generation.wrapping_add(1) | 1;
            *stage = ChildStage {
                life: Life::Live,
                generation,
                tunnel: tunnel.index,
                class,
                first,
                count,
                digest,
                ..ChildStage::zeroed()
            };
        }
        if let Some(stage) = self.tunnels.get_mut(tunnel.index as usize) {
            let last = stage.last.checked_sub(1);
            match last.and_then(|last| self.children.get_mut(last as usize)) {
                Some(last) => last.next = index + 1,
                None => stage.first = index + 1,
            }
            stage.last = index + 1;
            stage.children += 1;
        }
        ChildId { index, generation }
    }

    /// Closes the holes that removed Child SAs left among the staged selectors.
    fn compact(&mut self) {
        let (mut read, mut write) = (0, 0);
        while read < self.staged_end {
            let owner = self.staged.get(read).map(|one| one.child());
            let owner = owner.and_then(|child| self.children.get_mut(child as usize));
            match owner {
                Some(child) if child.life == Life::Live && child.first as usize == read => {
                    let count = child.count as usize;
                    child.first = write as u32;
                    // One by one: the compiler cannot prove that `copy_within` does not panic.
                    for offset in 0..if write == read { 0 } else { count } {
                        let Some(&one) = self.staged.get(read + offset) else { break };
                        if let Some(slot) = self.staged.get_mut(write + offset) {
                            *slot = one;
                        }
                    }
                    read += count;
                    write += count;
                }
                _ => read += 1,
            }
        }
        self.staged_end = write;
    }
}
