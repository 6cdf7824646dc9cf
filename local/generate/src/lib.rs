//! Events of a made-up academy: of every family, the same for the same [`Plan`] on every machine, each with the outcome that it must
//! have. Pure: time is counted from the plan's beginning, and what is made is handed on as an iterator, in constant memory however many
//! there are.
//!
//! The events of one key are in an order that is legal for its family, so that what must be applied is applied, whoever processes
//! them and however often a record is delivered: as long as records of one key stay in order. No order of topics or partitions is
//! assumed.
//!
//! [`Expected`] counts what must come out; [`academy`] knows the truth by which answers were drawn.

use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lyceum_catalog::FAMILIES;
use lyceum_core::envelope::TENANT_HEADER;
use lyceum_core::outcome::Outcome;
use lyceum_xapi::utc_time::UtcTime;
use uuid::Uuid;

pub mod academy;
mod broken;
mod calendar;
mod expected;
mod random;
mod stories;
mod wire;

use academy::Academy;
pub use broken::Broken;
pub use calendar::Pace;
use calendar::{Calendar, DAY_MS, HOUR_MS, MINUTE_MS};
pub use expected::{Either, Ending, Events, Expected, FOLLOW_UPS, Letters, Sums, UNFORESEEN};
use random::Random;
use stories::{Event, Now, Story};
use wire::{Body, Form, Stamp, Writer};

/// How much of all events is of a family, where all are wanted.
const WEIGHTS: [(&str, u64); 11] = [
    ("statement", 300),
    ("learning", 235),
    ("survey", 110),
    ("training", 90),
    ("content", 75),
    ("engagement", 75),
    ("distribution", 40),
    ("course", 30),
    ("governance", 25),
    ("mission", 15),
    ("generation", 5),
];

/// So many stories of a family are open at most.
const OPEN_STORIES: usize = 4_096;
/// So many events are remembered, to be sent once more: the last ones, and one of each [`RARELY`].
const REMEMBERED: usize = 64;
const RARELY: u64 = 500;
/// An event that is overtaken comes so many events later at most.
const OVERTAKEN_BY: u64 = 200;
/// Nothing is told of more courses that are done.
const DONE_COURSES: usize = 32;
/// What leads to other events: is sent once, so that what follows is known.
const LEADS_ON: [&str; 6] = [
    "content.generation.requested",
    "course.generation.completed",
    "course.deployed.staging",
    "distribution.created",
    "ir.approval_invalid",
    "ir.dag_diff_failed",
];
/// 2024-01-08, a Monday.
pub const FROM_MS: i64 = 1_704_672_000_000;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of all luck.
    pub seed: u64,
    /// How many events; without it, no end.
    pub events: Option<u64>,
    /// Of these families; without any, of all.
    pub families: Vec<String>,
    /// Only what goes to this topic.
    pub topic: Option<String>,
    /// Whose: names of lower-case letters, digits and hyphens.
    pub tenants: Vec<String>,
    /// What goes wrong.
    pub shares: Shares,
    /// When it begins, milliseconds since 1970 UTC.
    pub from_ms: i64,
    /// How events are spread over time; without it, over about ninety days, of at most 140,000 a week.
    pub pace: Option<Pace>,
    /// Events are sent as they happen, so that what follows from one is there before its story goes on.
    pub is_live: bool,
    /// The host where other tools are; without it each tenant's own, `<tenant>.example`.
    pub site: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            events: Some(10_000),
            families: Vec::new(),
            topic: None,
            tenants: vec!["academy".to_owned()],
            shares: Shares::default(),
            from_ms: FROM_MS,
            pace: None,
            is_live: false,
            site: None,
        }
    }
}

/// Which part of all events is not as it should be, from 0 to 1; together at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Sent once more.
    pub duplicates: f64,
    /// Days old.
    pub late: f64,
    /// Overtaken by later ones: of the same key where order means nothing to its family, of other keys elsewhere.
    pub out_of_order: f64,
    /// Never to be applied.
    pub broken: f64,
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No such family.
    #[error("there is no family {:?}; there are {}", .0, families().collect::<Vec<_>>().join(", "))]
    Family(String),
    /// One of which nothing is made.
    #[error("events of the family {0} are published by Lyceum alone, because of others (governance): none are made")]
    OfLyceum(String),
    /// A topic of none of the families.
    #[error("none of the families publishes to the topic {:?}; their topics are {}", .0, .1.join(", "))]
    Topic(String, Vec<&'static str>),
    /// A name that is part of addresses.
    #[error("a tenant of made-up events is 1 to 40 lower-case letters, digits and hyphens, and not {0:?}")]
    Tenant(String),
    /// Nobody's events.
    #[error("at least one tenant must be named")]
    NoTenant,
    /// No share.
    #[error("the share of {0} events must be a number from 0 to 1, for example 0.01")]
    Share(&'static str),
    /// More than all.
    #[error("the shares of duplicates, late, out-of-order and broken events are more than 1 together")]
    Shares,
    /// No pace.
    #[error("a rate must be a number above 0, of events a second")]
    Rate,
}

/// The families of which events are made.
pub fn families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|spec| spec.name).filter(|name| WEIGHTS.iter().any(|(of, _)| of == name))
}

/// A record to be sent, and what must become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Where it goes.
    pub topic: &'static str,
    /// By what it keeps its order.
    pub key: String,
    /// Names and texts.
    pub headers: Vec<(String, String)>,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// When it happened, milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// The family that owns the topic.
    pub family: &'static str,
    /// The type that Lyceum reports of it.
    pub event_type: &'static str,
    /// How it must end.
    pub outcome: Outcome,
    /// What is unusual about it.
    pub mark: Mark,
    /// Of a distribution: whether its course is one of those that are made.
    pub is_of_known_course: bool,
}

impl Made {
    /// Writes it as the line of JSON that `lyceum ingest` reads.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        let Self { topic, key, headers, value, timestamp_ms, mark, .. } = self;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        line.extend(format!(r#"{{"topic":"{topic}","timestamp":"{}""#, UtcTime::from_millis(*timestamp_ms)).bytes());
        line.extend(format!(r#","key":{},"headers":["#, quoted(key)).bytes());
        for (place, (name, text)) in headers.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            line.extend(format!("{comma}[{},{}]", quoted(name), quoted(text)).bytes());
        }
        line.extend(b"],\"value\":");
        match value {
            None => line.extend(b"null"),
            Some(value) if value.starts_with(b"{") && *mark != Mark::Broken(Broken::Undecodable) => line.extend(value),
            Some(value) => line.extend(format!(r#"{{"base64":"{}"}}"#, BASE64.encode(value)).bytes()),
        }
        line.extend(b"}\n");
    }
}

/// What is unusual about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    Usual,
    /// It was sent before.
    Duplicate,
    /// It happened days ago.
    Late,
    /// It was overtaken.
    OutOfOrder,
    /// It can never be applied.
    Broken(Broken),
}

/// Makes events.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    /// Distinguishes what is made by this plan from what others make.
    name: String,
    random: Random,
    academy: Academy,
    calendar: Calendar,
    writer: Writer,
    /// The families that are wanted, with the sum of weights up to each.
    weights: Vec<(&'static str, u64)>,
    open: Vec<BinaryHeap<Waiting>>,
    stories: u64,
    /// Made, and handed on.
    made: u64,
    emitted: u64,
    held: VecDeque<(u64, Kept)>,
    recent: Vec<Kept>,
    older: Vec<Kept>,
    /// Responses that are completed: completed once more, they are rejected.
    completed: VecDeque<Kept>,
    done_courses: Vec<Vec<String>>,
    /// Of each tenant.
    sites: Vec<String>,
}

/// An event that may be sent again, as it is or changed.
#[derive(Clone, Debug)]
struct Kept {
    made: Made,
    event: Event,
    tenant: usize,
    id: Uuid,
}

/// A story that goes on then.
#[derive(Debug)]
struct Waiting {
    due_ms: i64,
    number: u64,
    tenant: usize,
    name: String,
    story: Story,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        (self.due_ms, self.number) == (other.due_ms, other.number)
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    /// The one that is due first is the greatest, as a heap has it on top.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due_ms, other.number).cmp(&(self.due_ms, self.number))
    }
}

/// Whether the order of a key's events means nothing to their family.
fn is_free_of_order(family: &str) -> bool {
    matches!(family, "statement" | "learning" | "content" | "engagement")
}

fn topic_of(family: &str, event_type: &str) -> &'static str {
    let spec = FAMILIES.iter().find(|spec| spec.name == family);
    let of_type = spec.and_then(|spec| spec.event_types.iter().find(|of| of.name == event_type)).map(|of| of.topic);
    of_type.or_else(|| spec?.topics.first().map(|topic| topic.name)).unwrap_or_default()
}

impl Generator {
    /// Begins.
    ///
    /// # Errors
    /// What is wrong with the plan.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        let wanted = check(&plan)?;
        let pace = plan.pace.unwrap_or_else(|| {
            let events = plan.events.unwrap_or(140_000);
            // Ninety days are not quite thirteen weeks.
            Pace::Weekly((events / 13).clamp(1_400, 140_000))
        });
        // Another plan's events have other ids, so that they are no conflicts.
        let text = format!("{plan:?}");
        let mut random = Random::of(&[b"plan", text.as_bytes()]);
        let name = format!("{:08x}", random.bits() >> 32);
        let mut sum = 0;
        let weights = WEIGHTS.into_iter().filter(|(family, _)| wanted.contains(family));
        let weights: Vec<_> = weights
            .map(|(family, weight)| {
                sum += weight;
                (family, sum)
            })
            .collect();
        Ok(Self {
            name,
            random,
            academy: Academy::new(plan.seed),
            calendar: Calendar::new(plan.from_ms, pace),
            writer: Writer::new(),
            open: WEIGHTS.iter().map(|_| BinaryHeap::new()).collect(),
            weights,
            stories: 0,
            made: 0,
            emitted: 0,
            held: VecDeque::new(),
            recent: Vec::new(),
            older: Vec::new(),
            completed: VecDeque::new(),
            done_courses: vec![Vec::new(); plan.tenants.len()],
            sites: plan.tenants.iter().map(|of| plan.site.clone().unwrap_or_else(|| format!("{of}.example"))).collect(),
            plan,
        })
    }

    fn pick_family(&mut self) -> &'static str {
        let sum = self.weights.last().map_or(1, |(_, sum)| *sum);
        let at = self.random.below(sum);
        self.weights.iter().find(|(_, upto)| at < *upto).map_or("statement", |(family, _)| *family)
    }

    fn heap(&mut self, family: &str) -> &mut BinaryHeap<Waiting> {
        let place = WEIGHTS.iter().position(|(of, _)| *of == family).unwrap_or_default();
        &mut self.open[place]
    }

    /// The next event of a family: of the story that is due, else of a new one. A phantom's story is not told any further.
    fn tell(&mut self, family: &'static str, at_ms: i64, is_phantom: bool) -> (Event, usize) {
        let heap = self.heap(family);
        let is_full = heap.len() >= OPEN_STORIES;
        let is_due = !is_phantom && heap.peek().is_some_and(|waiting| is_full || waiting.due_ms <= at_ms);
        let mut waiting = match if is_due { heap.pop() } else { None } {
            Some(waiting) => waiting,
            None => self.open_story(family, at_ms),
        };
        let mut now = Now {
            at_ms,
            random: &mut self.random,
            academy: &self.academy,
            tenant: &self.plan.tenants[waiting.tenant],
            name: &waiting.name,
            begun: Vec::new(),
            done_courses: &mut self.done_courses[waiting.tenant],
            is_live: self.plan.is_live,
            site: &self.sites[waiting.tenant],
        };
        let (event, due) = waiting.story.step(&mut now);
        let begun = now.begun;
        let tenant = waiting.tenant;
        if is_phantom {
            return (event, tenant);
        }
        for (due_ms, story) in begun {
            let is_wanted = self.weights.iter().any(|(family, _)| *family == story.family());
            if is_wanted && self.heap(story.family()).len() < OPEN_STORIES {
                let (number, name) = self.next_name();
                self.heap(story.family()).push(Waiting { due_ms, number, tenant, name, story });
            }
        }
        if let Some(due_ms) = due {
            waiting.due_ms = due_ms;
            self.heap(family).push(waiting);
        }
        let done = &mut self.done_courses[tenant];
        let over = done.len().saturating_sub(DONE_COURSES);
        done.drain(..over);
        (event, tenant)
    }

    fn next_name(&mut self) -> (u64, String) {
        self.stories += 1;
        (self.stories, format!("{}-{}", self.name, self.stories))
    }

    fn open_story(&mut self, family: &'static str, at_ms: i64) -> Waiting {
        let tenant = self.random.below(self.plan.tenants.len() as u64) as usize;
        let (number, name) = self.next_name();
        let mut now = Now {
            at_ms,
            random: &mut self.random,
            academy: &self.academy,
            tenant: &self.plan.tenants[tenant],
            name: &name,
            begun: Vec::new(),
            done_courses: &mut self.done_courses[tenant],
            is_live: self.plan.is_live,
            site: &self.sites[tenant],
        };
        let story = Story::of(family, &mut now);
        Waiting { due_ms: at_ms, number, tenant, name, story }
    }

    fn pick_form(&mut self, body: &Body) -> Form {
        match body {
            Body::Statement(_) if self.random.happens(0.25) => Form::Framed,
            Body::Avro { .. } => match self.random.below(10) {
                0..3 => Form::Plain,
                3..9 => Form::Framed,
                _ => Form::Headed,
            },
            _ => Form::Plain,
        }
    }

    fn write(&mut self, family: &'static str, event: Event, tenant: usize, id: Uuid, at_ms: i64, form: Form) -> Kept {
        let stamp = Stamp {
            id,
            at_ms,
            tenant: &self.plan.tenants[tenant],
            event_type: event.event_type,
            correlation_id: &event.correlation_id,
        };
        let value = self.writer.value(&event.body, form, &stamp);
        let mut headers = vec![(TENANT_HEADER.to_owned(), self.plan.tenants[tenant].clone())];
        if matches!(event.body, Body::Statement(_)) {
            headers.push(("correlation-id".to_owned(), event.correlation_id.clone()));
        }
        if form == Form::Headed {
            headers.push(("avro-fingerprint".to_owned(), self.writer.fingerprint(event.event_type)));
        }
        let is_of_known_course = event.event_type == "distribution.created"
            && matches!(&event.body, Body::Module { payload, .. } if !payload.contains(r#""course_id":"elsewhere-"#));
        let made = Made {
            topic: topic_of(family, event.event_type),
            key: event.key.clone(),
            headers,
            value: Some(value),
            timestamp_ms: at_ms,
            family,
            event_type: event.event_type,
            outcome: Outcome::Applied,
            mark: Mark::Usual,
            is_of_known_course,
        };
        Kept { made, event, tenant, id }
    }

    /// One more event, and by how many it is to be overtaken.
    fn make(&mut self) -> (Kept, u64) {
        let at_ms = self.calendar.at_ms(self.made);
        let Shares { duplicates, late, out_of_order, broken } = self.plan.shares;
        let luck = self.random.unit();
        let (upto_broken, upto_late) = (duplicates + broken, duplicates + broken + late);
        if luck < duplicates
            && let Some(again) = self.make_again()
        {
            return (again, 0);
        }
        if (duplicates..upto_broken).contains(&luck)
            && let Some(broken) = self.make_broken(at_ms)
        {
            return (broken, 0);
        }
        let family = self.pick_family();
        let (event, tenant) = self.tell(family, at_ms, false);
        let id = self.random.uuid();
        let form = self.pick_form(&event.body);
        let is_late = (upto_broken..upto_late).contains(&luck);
        let is_overtaken = (upto_late..upto_late + out_of_order).contains(&luck);
        let overtaken_by =
            if is_overtaken && is_free_of_order(family) { 1 + self.random.below(OVERTAKEN_BY) } else { 0 };
        let at_ms = match () {
            () if is_late => at_ms - self.random.between(2 * DAY_MS, 30 * DAY_MS),
            // Later events of its key stay behind it: it is their times that are not in order.
            () if is_overtaken && overtaken_by == 0 => at_ms - self.random.between(5 * MINUTE_MS, 6 * HOUR_MS),
            () => at_ms,
        };
        let mut kept = self.write(family, event, tenant, id, at_ms, form);
        kept.made.mark = match () {
            () if is_late => Mark::Late,
            () if is_overtaken => Mark::OutOfOrder,
            () => Mark::Usual,
        };
        (kept, overtaken_by)
    }

    /// One that was sent before.
    fn make_again(&mut self) -> Option<Kept> {
        let of = if self.random.happens(0.7) || self.older.is_empty() { &self.recent } else { &self.older };
        if of.is_empty() {
            return None;
        }
        let mut again = of[self.random.below(of.len() as u64) as usize].clone();
        (again.made.mark, again.made.outcome) = (Mark::Duplicate, Outcome::Duplicate);
        Some(again)
    }

    fn make_broken(&mut self, at_ms: i64) -> Option<Kept> {
        let family = self.pick_family();
        let suiting: Vec<Broken> = Broken::ALL.into_iter().filter(|broken| broken.suits(family)).collect();
        let broken = self.random.one_of(&suiting);
        // They are large.
        if broken == Broken::Large && self.random.happens(0.9) {
            return self.break_new(Broken::ManyHeaders, family, at_ms);
        }
        match broken {
            Broken::Conflict => self.break_known(at_ms),
            Broken::Rejected if family == "survey" => {
                let kept = self.completed.back()?.clone();
                let id = self.random.uuid();
                Some(self.broken(Broken::Rejected, family, kept.event, kept.tenant, id, at_ms, Form::Plain))
            }
            _ => self.break_new(broken, family, at_ms),
        }
    }

    /// Something new that is broken.
    fn break_new(&mut self, broken: Broken, family: &'static str, at_ms: i64) -> Option<Kept> {
        let (mut event, tenant) = self.tell(family, at_ms, true);
        broken::break_body(broken, family, &mut event, &mut self.random);
        let id = self.random.uuid();
        let form = match broken {
            Broken::UnknownType => {
                event.event_type = match family {
                    "training" | "survey" | "generation" | "statement" => "program.archived",
                    _ => "course.archived",
                };
                Form::Framed
            }
            // Avro in binary names its type by a number of its own family's schema.
            Broken::WrongTopic if matches!(event.body, Body::Avro { .. }) => Form::Plain,
            _ => self.pick_form(&event.body),
        };
        Some(self.broken(broken, family, event, tenant, id, at_ms, form))
    }

    /// What was sent before, with another content under the same id.
    fn break_known(&mut self, at_ms: i64) -> Option<Kept> {
        if self.recent.is_empty() {
            return None;
        }
        let Kept { made, mut event, tenant, id } =
            self.recent[self.random.below(self.recent.len() as u64) as usize].clone();
        broken::break_body(Broken::Conflict, made.family, &mut event, &mut self.random);
        let form = self.pick_form(&event.body);
        // Of Avro, its time is what differs.
        let at_ms = if matches!(event.body, Body::Avro { .. }) { made.timestamp_ms + 1_000 } else { at_ms };
        Some(self.broken(Broken::Conflict, made.family, event, tenant, id, at_ms, form))
    }

    #[allow(clippy::too_many_arguments, reason = "an event, and what is wrong with it")]
    fn broken(
        &mut self,
        broken: Broken,
        family: &'static str,
        event: Event,
        tenant: usize,
        id: Uuid,
        at_ms: i64,
        form: Form,
    ) -> Kept {
        let is_avro = matches!(event.body, Body::Avro { .. });
        let mut kept = self.write(family, event, tenant, id, at_ms, form);
        let made = &mut kept.made;
        made.event_type = broken.reported(family, made.event_type);
        (made.outcome, made.mark) = (broken.outcome(), Mark::Broken(broken));
        match broken {
            Broken::Undecodable => {
                if let Some(value) = &mut made.value {
                    broken::break_bytes(value, form, is_avro, &mut self.random);
                }
            }
            Broken::WrongTopic => (made.family, made.topic) = broken::wrong_topic(family),
            Broken::ManyHeaders => {
                made.headers.extend((0..70).map(|number| (format!("x-{number}"), String::new())));
            }
            Broken::Tombstone => made.value = None,
            _ => {}
        }
        kept
    }

    fn emit(&mut self, kept: Kept) -> Made {
        self.emitted += 1;
        let is_first = kept.made.outcome == Outcome::Applied && !LEADS_ON.contains(&kept.made.event_type);
        let Plan { shares: Shares { duplicates, broken, .. }, .. } = self.plan;
        if !is_first || (duplicates == 0.0 && broken == 0.0) {
            return kept.made;
        }
        let made = kept.made.clone();
        if made.event_type == "survey.completed" {
            self.completed.push_back(kept.clone());
            let over = self.completed.len().saturating_sub(REMEMBERED);
            self.completed.drain(..over);
        }
        if self.emitted.is_multiple_of(RARELY) {
            remember(&mut self.older, kept.clone(), self.emitted / RARELY);
        }
        remember(&mut self.recent, kept, self.emitted);
        made
    }
}

fn remember(kept: &mut Vec<Kept>, new: Kept, number: u64) {
    if kept.len() < REMEMBERED {
        kept.push(new);
    } else {
        kept[number as usize % REMEMBERED] = new;
    }
}

/// The families that are wanted.
fn check(plan: &Plan) -> Result<BTreeSet<&'static str>, PlanError> {
    let mut wanted = BTreeSet::new();
    for name in &plan.families {
        match FAMILIES.iter().find(|spec| spec.name == name) {
            None => return Err(PlanError::Family(name.clone())),
            Some(spec) => match families().find(|of| *of == spec.name) {
                None => return Err(PlanError::OfLyceum(name.clone())),
                Some(family) => drop(wanted.insert(family)),
            },
        }
    }
    if wanted.is_empty() {
        wanted.extend(families());
    }
    if let Some(topic) = &plan.topic {
        let of = FAMILIES.iter().filter(|spec| wanted.contains(spec.name));
        let topics: Vec<_> = of.flat_map(|spec| spec.topics.iter().map(|of| of.name)).collect();
        if !topics.contains(&topic.as_str()) {
            return Err(PlanError::Topic(topic.clone(), topics));
        }
    }
    let is_part = |of: u8| of.is_ascii_lowercase() || of.is_ascii_digit() || of == b'-';
    let is_name = |name: &str| (1..=40).contains(&name.len()) && name.bytes().all(is_part) && !name.starts_with('-');
    if let Some(wrong) = plan.tenants.iter().find(|tenant| !is_name(tenant)) {
        return Err(PlanError::Tenant(wrong.clone()));
    }
    if plan.tenants.is_empty() {
        return Err(PlanError::NoTenant);
    }
    let Shares { duplicates, late, out_of_order, broken } = plan.shares;
    let shares = [("duplicate", duplicates), ("late", late), ("out-of-order", out_of_order), ("broken", broken)];
    if let Some((name, _)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
        return Err(PlanError::Share(name));
    }
    if shares.iter().map(|(_, share)| share).sum::<f64>() > 1.0 {
        return Err(PlanError::Shares);
    }
    match plan.pace {
        Some(Pace::Steady(rate)) if !(rate > 0.0 && rate.is_finite()) => Err(PlanError::Rate),
        _ => Ok(wanted),
    }
}

impl Iterator for Generator {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        loop {
            let is_over = self.plan.events.is_some_and(|events| self.made >= events);
            if let Some(place) = self.held.iter().position(|(upto, _)| is_over || *upto <= self.emitted)
                && let Some((_, kept)) = self.held.remove(place)
            {
                return Some(self.emit(kept));
            }
            if is_over {
                return None;
            }
            let (kept, overtaken_by) = self.make();
            if self.plan.topic.as_ref().is_some_and(|topic| topic != kept.made.topic) {
                continue;
            }
            self.made += 1;
            match overtaken_by {
                0 => return Some(self.emit(kept)),
                by => self.held.push_back((self.emitted + by, kept)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
