//! What may go wrong, how often at most, and how likely it is at each opportunity.

use crate::random::Random;

/// One kind of mishap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A worker stops for good between two of its steps.
    Crash,
    /// A call had its effect, and the caller sees an error.
    AnswerLost,
    /// A call had no effect, and the caller sees an error.
    CallFails,
    /// Some documents of a call are stored and some not.
    DocumentsFail,
    /// Some records of a call are appended and the rest is not.
    EmitStops,
    /// A record's own work fails.
    OwnWork,
    /// The platform keeps a batch as on-failure records and passes its offset.
    GivenUp,
    /// A worker starts on partitions that another one still works on.
    Zombie,
    /// A dead letter or an on-failure record is sent again.
    Replay,
    /// A producer sends a record once more.
    SentTwice,
    /// The clock moves far.
    ClockMoves,
    /// A call never answers, had it its effect or not; the invocation's time ends meanwhile.
    Hangs,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Crash,
        Self::AnswerLost,
        Self::CallFails,
        Self::DocumentsFail,
        Self::EmitStops,
        Self::OwnWork,
        Self::GivenUp,
        Self::Zombie,
        Self::Replay,
        Self::SentTwice,
        Self::ClockMoves,
        Self::Hangs,
    ];

    /// Whether it is drawn at each step of the schedule, and not at each call.
    fn is_of_the_schedule(self) -> bool {
        matches!(self, Self::Crash | Self::Replay | Self::SentTwice | Self::ClockMoves)
    }
}

/// How often each fault may still strike.
#[derive(Clone, Debug)]
pub struct Plan {
    left: [usize; Fault::ALL.len()],
    struck: [usize; Fault::ALL.len()],
    at_call: usize,
    at_step: usize,
}

impl Plan {
    /// A plan of the seed: some faults often, some never.
    pub fn draw(random: &mut Random) -> Self {
        let mut left = Fault::ALL.map(|_| *random.pick(&[0, 1, 1, 2, 3, 5]));
        // Races need company: most of what is found takes two workers on one partition.
        left[Fault::Zombie as usize] = *random.pick(&[0, 3, 8, 20]);
        let (at_call, at_step) = (*random.pick(&[2, 3, 5, 9]), *random.pick(&[8, 20, 50]));
        Self { left, struck: [0; Fault::ALL.len()], at_call, at_step }
    }

    /// Takes a fault out of the plan.
    pub fn forbid(&mut self, fault: Fault) {
        self.left[fault as usize] = 0;
    }

    /// At least so many of a fault.
    pub fn allow(&mut self, fault: Fault, times: usize) {
        self.left[fault as usize] = self.left[fault as usize].max(times);
    }

    /// No fault from here on.
    pub fn calm(&mut self) {
        self.left = [0; Fault::ALL.len()];
    }

    /// Whether there is some of it left.
    pub fn has(&self, fault: Fault) -> bool {
        self.left[fault as usize] > 0
    }

    /// Whether it strikes now.
    pub fn strikes(&mut self, fault: Fault, random: &mut Random) -> bool {
        let odds = if fault.is_of_the_schedule() { self.at_step } else { self.at_call };
        let strikes = self.has(fault) && random.one_in(odds);
        if strikes {
            self.left[fault as usize] -= 1;
            self.struck[fault as usize] += 1;
        }
        strikes
    }

    /// Uses it without drawing.
    pub fn spend(&mut self, fault: Fault) {
        self.left[fault as usize] = self.left[fault as usize].saturating_sub(1);
        self.struck[fault as usize] += 1;
    }

    /// How often each struck, in the order of [`Fault::ALL`].
    pub fn struck(&self) -> [usize; Fault::ALL.len()] {
        self.struck
    }
}
