//! What happens in the academy: stories, each the life of one thing, told event by event. The events of one key are in an order that
//! is legal in its family's state machine; between them other stories go on.

use crate::academy::{Academy, LEARNERS, Learner};
use crate::random::Random;
use crate::wire::Body;

mod analytics;
mod modules;
mod statements;
mod training;

use analytics::{Challenge, Notice, Studying, Using};
use modules::{Approving, Course, Distribution, Mission};
use statements::Elsewhere;
use training::{Cohort, Generation, Response};

/// An event before it has an id and bytes.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) event_type: &'static str,
    /// Kafka's key.
    pub(crate) key: String,
    pub(crate) body: Body,
    /// What belongs together.
    pub(crate) correlation_id: String,
}

/// The moment of a step.
pub(crate) struct Now<'a> {
    /// Milliseconds since 1970 UTC.
    pub(crate) at_ms: i64,
    pub(crate) random: &'a mut Random,
    pub(crate) academy: &'a Academy,
    /// Whose the story is.
    pub(crate) tenant: &'a str,
    /// The story's number, in no other one of any plan.
    pub(crate) name: &'a str,
    /// Stories that follow from this one, with when they begin.
    pub(crate) begun: Vec<(i64, Story)>,
    /// Courses of the tenant that are done, the last ones.
    pub(crate) done_courses: &'a mut Vec<String>,
    /// Whether what follows from an event is there before the next one of its story.
    pub(crate) is_live: bool,
    /// Where other tools are: a host.
    pub(crate) site: &'a str,
}

/// Who looks on has no weeks: what takes a day of a story takes minutes where events are sent as they happen.
const LIVE_SPEED: i64 = 400;

impl Now<'_> {
    /// So many milliseconds later, at least `least`, at most `most`.
    fn after(&mut self, least: i64, most: i64) -> Option<i64> {
        let wait = self.random.between(least, most);
        Some(self.at_ms + if self.is_live { wait / LIVE_SPEED } else { wait })
    }

    /// Somebody.
    fn learner(&mut self) -> Learner {
        let number = self.random.below(u64::from(LEARNERS)) as u32;
        self.academy.learner(self.tenant, number)
    }
}

/// A story under way.
#[derive(Clone, Debug)]
pub(crate) enum Story {
    Cohort(Box<Cohort>),
    Response(Box<Response>),
    Generation(Generation),
    Elsewhere(Elsewhere),
    Studying(Box<Studying>),
    Using(Using),
    Notice(Notice),
    Challenge(Challenge),
    Course(Box<Course>),
    Distribution(Box<Distribution>),
    Approving(Box<Approving>),
    Mission(Box<Mission>),
}

/// What is told next, and when the event behind it is due; `None` where the story is over.
pub(crate) type Step = (Event, Option<i64>);

impl Story {
    /// A new one of a family.
    pub(crate) fn of(family: &str, now: &mut Now<'_>) -> Self {
        match family {
            "training" => Self::Cohort(Box::new(Cohort::new(now))),
            "survey" => Self::Response(Box::new(Response::alone(now))),
            "generation" => Self::Generation(Generation),
            "learning" => Self::Studying(Box::new(Studying::new(now))),
            "content" => Self::Using(Using::new(now)),
            "engagement" if now.random.happens(0.6) => Self::Notice(Notice::new(now)),
            "engagement" => Self::Challenge(Challenge::new(now)),
            "course" => Self::Course(Box::new(Course::new(now))),
            "distribution" => Self::Distribution(Box::new(Distribution::new(now))),
            "governance" => Self::Approving(Box::new(Approving::new(now))),
            "mission" => Self::Mission(Box::new(Mission::new(now))),
            _ => Self::Elsewhere(Elsewhere::new(now)),
        }
    }

    /// The family that its events are of.
    pub(crate) fn family(&self) -> &'static str {
        match self {
            Self::Cohort(_) => "training",
            Self::Response(_) => "survey",
            Self::Generation(_) => "generation",
            Self::Elsewhere(_) => "statement",
            Self::Studying(_) => "learning",
            Self::Using(_) => "content",
            Self::Notice(_) | Self::Challenge(_) => "engagement",
            Self::Course(_) => "course",
            Self::Distribution(_) => "distribution",
            Self::Approving(_) => "governance",
            Self::Mission(_) => "mission",
        }
    }

    /// The next event.
    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        match self {
            Self::Cohort(story) => story.step(now),
            Self::Response(story) => story.step(now),
            Self::Generation(story) => story.step(now),
            Self::Elsewhere(story) => story.step(now),
            Self::Studying(story) => story.step(now),
            Self::Using(story) => story.step(now),
            Self::Notice(story) => story.step(now),
            Self::Challenge(story) => story.step(now),
            Self::Course(story) => story.step(now),
            Self::Distribution(story) => story.step(now),
            Self::Approving(story) => story.step(now),
            Self::Mission(story) => story.step(now),
        }
    }
}
