//! Time as the tables of `gate` take it, told anew: steps forward count, small steps back are noise, and
//! long ones are a clock that was set.

use espial::gate::flow::BACK_MS;

use crate::bodies::Choices;

#[derive(Clone, Copy)]
pub struct Clock {
    /// What the caller's clock says.
    pub now_ms: u64,
    heard_ms: u64,
    elapsed_ms: u64,
}

impl Clock {
    pub fn new() -> Self {
        // Room for steps back.
        Self { now_ms: 1 << 33, heard_ms: 0, elapsed_ms: 0 }
    }

    /// The caller's clock goes on, or back.
    pub fn step(&mut self, choices: &mut Choices<'_>) {
        let step_ms = u64::from(choices.octet()) * [0, 0, 1, 10][choices.below(4)];
        self.now_ms = match choices.below(16) {
            0 => self.now_ms - step_ms,
            1 => self.now_ms - step_ms * 100,
            2 => self.now_ms + step_ms * 100,
            _ => self.now_ms + step_ms,
        };
    }

    /// Milliseconds that have passed, for the table.
    pub fn read(&self) -> u64 {
        self.elapsed_ms + self.now_ms.saturating_sub(self.heard_ms)
    }

    /// The same, and the table has been told.
    pub fn tick(&mut self) -> u64 {
        self.elapsed_ms = self.read();
        if self.now_ms > self.heard_ms || self.heard_ms - self.now_ms > BACK_MS {
            self.heard_ms = self.now_ms;
        }
        self.elapsed_ms
    }
}
