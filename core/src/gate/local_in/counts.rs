//! Packets a local-in policy, one row of cells a thread, as [`spd`](crate::spd) counts.
//!
//! The owner of a row adds with a plain load and store; any thread reads. What a session lets in meets no policy
//! and is not counted here.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use super::compiled::LocalIn;
use super::{Answer, LocalPacket, Schedules};
use crate::spd::{CellsError, Count};

impl<'w> LocalIn<'w> {
    /// Cells of a row of counts: one for each policy, and one for packets that no policy covers.
    pub fn cells(&self) -> usize {
        (self.len() as usize).saturating_add(1)
    }

    /// One thread's way to ask and to count, and what reads its counts. They start at zero.
    ///
    /// Rows of two threads are best on cache lines of their own.
    ///
    /// # Errors
    /// [`CellsError`]: `cells` has another length than [`LocalIn::cells`]; it is unchanged.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "alloc")] {
    /// use espial::gate::local_in::{
    ///     Action, AddressObject, Interfaces, LocalIn, LocalInList, LocalInPolicy, LocalPacket, PolicyId, Schedules,
    ///     Service,
    /// };
    /// use espial::headers::{Endpoints, Fragment, InnerHeaders, NextLayer, Outer};
    /// use espial::spd::Count;
    ///
    /// let mut list = LocalInList::new(Action::Accept);
    /// list.set_address("all", AddressObject::Ranges(vec!["0.0.0.0/0".parse()?]));
    /// list.set_service("HTTPS", vec![Service::tcp(443)]);
    /// list.add(LocalInPolicy {
    ///     id: PolicyId(7), interfaces: Interfaces::Any, source: vec!["all".into()],
    ///     destination: vec!["all".into()], service: vec!["HTTPS".into()], schedule: None, action: None,
    /// })?;
    /// let words = list.compile()?;
    /// let local_in = LocalIn::open(&words)?;
    /// let mut row: Vec<Count> = std::iter::repeat_with(Count::new).take(local_in.cells()).collect();
    /// let (mut worker, counts) = local_in.with_counts(&mut row)?;
    /// for dst in [443, 443, 500] {
    ///     let headers = InnerHeaders {
    ///         endpoints: Endpoints::V4 { src: 0xc633_6401, dst: 0xcb00_7101 },
    ///         protocol: if dst == 443 { 6 } else { 17 },
    ///         next_layer: NextLayer::Ports { src: 5000, dst },
    ///         fragment: Fragment::None,
    ///     };
    ///     let answer = worker.check(&LocalPacket::new(&Outer::Other, headers, 0)?, Schedules::NONE);
    ///     assert_eq!(answer.is_accept(), dst == 500);
    /// }
    /// assert_eq!(counts.policies().map(|(_, packets)| packets).collect::<Vec<_>>(), [2]);
    /// assert_eq!(counts.unmatched(), 1);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_counts<'c>(
        &self,
        cells: &'c mut [Count],
    ) -> Result<(LocalInWorker<'w, 'c>, LocalInCounts<'w, 'c>), CellsError> {
        let (given, needed) = (cells.len(), self.cells());
        if given != needed {
            return Err(CellsError { given, needed });
        }
        cells.fill_with(Count::new);
        // Shared from here on; one worker writes, since it is not copied and takes `&mut self`.
        let cells = &*cells;
        Ok((LocalInWorker { local_in: *self, cells }, LocalInCounts { local_in: *self, cells }))
    }
}

/// One thread's local-in policy: a decision is counted.
///
/// # Concurrency
/// One thread, which may change. No lock, no atomic addition: a plain load and store a packet.
#[derive(Debug)]
pub struct LocalInWorker<'w, 'c> {
    local_in: LocalIn<'w>,
    cells: &'c [Count],
}

impl<'w> LocalInWorker<'w, '_> {
    /// The policies that it asks.
    pub fn local_in(&self) -> LocalIn<'w> {
        self.local_in
    }

    /// [`LocalIn::first`], counted for its policy, or as unmatched.
    ///
    /// # Bound
    /// As [`LocalIn::first`], and one cell.
    #[inline]
    pub fn check(&mut self, packet: &LocalPacket, schedules: Schedules) -> Answer {
        let place = self.local_in.place(packet, schedules);
        self.count(place);
        self.local_in.answer(place)
    }

    /// [`LocalInWorker::check`] for as many packets as `answers` has room for; returns how many. The others
    /// are not counted.
    ///
    /// # Bound
    /// As [`LocalIn::first_burst`], and a cell a packet.
    pub fn check_burst(
        &mut self,
        packets: &[LocalPacket],
        schedules: Schedules,
        answers: &mut [Answer],
    ) -> usize {
        self.local_in.burst(packets, schedules, answers, |place| self.count(place))
    }

    #[inline]
    fn count(&self, place: u32) {
        // No policy: the last cell.
        let place = place.min(self.local_in.len()) as usize;
        if let Some(cell) = self.cells.get(place) {
            cell.add(1);
        }
    }
}

/// One thread's counts, to be read while it goes on.
///
/// # Concurrency
/// Any thread. Each count is exact; two of them are not of the same moment.
#[derive(Clone, Copy, Debug)]
pub struct LocalInCounts<'w, 'c> {
    local_in: LocalIn<'w>,
    cells: &'c [Count],
}

impl<'w, 'c> LocalInCounts<'w, 'c> {
    /// Every policy in order, as it answers, with the packets that it decided about.
    pub fn policies(&self) -> impl Iterator<Item = (Answer, u64)> + use<'w, 'c> {
        self.local_in.policies().zip(self.cells).map(|(answer, cell)| (answer, cell.get()))
    }

    /// Packets that no policy covered: the default decided.
    pub fn unmatched(&self) -> u64 {
        self.cells.last().map_or(0, Count::get)
    }
}
