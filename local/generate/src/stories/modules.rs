//! Courses, their distributions, approvals and missions: what modules tell in their envelopes.

use super::{Event, Now, Step};
use crate::academy::TITLES;
use crate::calendar::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::wire::Body;

fn event(event_type: &'static str, source: &'static str, key: &str, payload: String, correlation_id: &str) -> Event {
    let body = Body::Module { source, payload };
    Event { event_type, key: key.to_owned(), body, correlation_id: correlation_id.to_owned() }
}

fn slug(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

/// A course from its request to its staging.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    title: usize,
    lessons: u32,
    quizzes: u32,
    has_page: bool,
    fails: bool,
    announces: bool,
    at: At,
    told: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nothing,
    Requested,
    Outlined,
    Generating,
    /// Its next status was announced.
    Announced,
    Failed,
    Completed,
    /// It was announced that it is deployed.
    Deploying,
}

impl Course {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        Self {
            title: now.random.below(TITLES.len() as u64) as usize,
            lessons: now.random.between(2, 7) as u32,
            quizzes: now.random.between(0, 2) as u32,
            has_page: now.random.happens(0.6),
            fails: now.random.happens(0.15),
            announces: now.random.happens(0.3),
            at: At::Nothing,
            told: 0,
        }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let course = format!("course-{}", now.name);
        let of = |event_type, more: &str| {
            event(event_type, "course", &course, format!(r#"{{"course_id":"{course}"{more}}}"#), &course)
        };
        let transition =
            |from: &str, to: &str| of("course.workflow.transitioned", &format!(r#","from":"{from}","to":"{to}""#));
        match self.at {
            At::Nothing | At::Failed => {
                self.at = At::Requested;
                let title = format!(r#","title":"{}","language":"en""#, TITLES[self.title]);
                (of("course.generation.requested", &title), now.after(MINUTE_MS, 20 * MINUTE_MS))
            }
            At::Requested => {
                self.at = At::Outlined;
                (of("course.outline.created", ""), now.after(MINUTE_MS, 30 * MINUTE_MS))
            }
            At::Outlined | At::Generating if self.lessons > 0 => {
                (self.at, self.lessons, self.told) = (At::Generating, self.lessons - 1, self.told + 1);
                let lesson = format!(r#","lesson_id":"lesson-{}""#, self.told);
                (of("course.lesson.generated", &lesson), now.after(MINUTE_MS, 40 * MINUTE_MS))
            }
            At::Outlined | At::Generating if self.fails => {
                (self.fails, self.lessons, self.at) = (false, 2, At::Failed);
                let error = r#","error":"the content generator did not answer""#;
                (of("course.generation.failed", error), now.after(HOUR_MS, DAY_MS))
            }
            At::Outlined | At::Generating if self.quizzes > 0 => {
                (self.at, self.quizzes) = (At::Generating, self.quizzes - 1);
                let quiz = format!(r#","quiz_id":"quiz-{}""#, self.quizzes + 1);
                (of("course.quiz.created", &quiz), now.after(MINUTE_MS, 40 * MINUTE_MS))
            }
            At::Outlined | At::Generating if self.has_page => {
                (self.at, self.has_page) = (At::Generating, false);
                let page = format!(r#","page_url":"/courses/{}""#, slug(TITLES[self.title]));
                (of("course.landing_page.created", &page), now.after(MINUTE_MS, HOUR_MS))
            }
            At::Outlined | At::Generating if self.announces => {
                self.at = At::Announced;
                (transition("generating", "completed"), now.after(1_000, MINUTE_MS))
            }
            At::Outlined | At::Generating | At::Announced => {
                self.at = At::Completed;
                now.done_courses.push(course.clone());
                let due = if self.announces { now.after(HOUR_MS, DAY_MS) } else { None };
                (of("course.generation.completed", &format!(r#","title":"{}""#, TITLES[self.title])), due)
            }
            At::Completed => {
                self.at = At::Deploying;
                (transition("completed", "deployed_staging"), now.after(1_000, MINUTE_MS))
            }
            At::Deploying => {
                let url = format!(r#","url":"https://staging.{}.example/{course}""#, now.tenant);
                (of("course.deployed.staging", &url), None)
            }
        }
    }
}

/// How a course is offered.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    title: usize,
    status: Status,
    /// Events of its public time that are left.
    left: u32,
    version: u32,
    niches: u32,
    ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    New,
    Draft,
    Published,
    Unpublished,
}

impl Distribution {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        Self {
            title: now.random.below(TITLES.len() as u64) as usize,
            status: Status::New,
            left: now.random.between(15, 60) as u32,
            version: 0,
            niches: 0,
            ends: now.random.happens(0.5),
        }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let distribution = format!("dist-{}", now.name);
        let of = |event_type, more: &str| {
            let payload = format!(r#"{{"distribution_id":"{distribution}"{more}}}"#);
            event(event_type, "distribution", &distribution, payload, &distribution)
        };
        match self.status {
            Status::New => {
                self.status = Status::Draft;
                // Where events are sent as fast as they are read, nobody knows which course is done by then: those are of elsewhere.
                let done = if now.is_live { now.done_courses.last().cloned() } else { None };
                let course = done.unwrap_or_else(|| format!("elsewhere-{}", now.name));
                let title = TITLES[self.title];
                let more =
                    format!(r#","course_id":"{course}","slug":"{}-{}","title":"{title}""#, slug(title), now.name);
                (of("distribution.created", &more), now.after(10 * MINUTE_MS, 8 * HOUR_MS))
            }
            Status::Draft => {
                self.status = Status::Published;
                (of("distribution.published", ""), now.after(MINUTE_MS, 4 * HOUR_MS))
            }
            Status::Published if self.left > 0 => {
                self.left -= 1;
                let due = now.after(MINUTE_MS, 6 * HOUR_MS);
                let told = match now.random.below(100) {
                    0..70 => {
                        let from = now.random.one_of(&["search", "newsletter", "intranet"]);
                        of("distribution.viewed", &format!(r#","referrer":"https://{from}.example/""#))
                    }
                    70..88 => of("distribution.enrollment_clicked", r#","cta":"Enrol now""#),
                    88..92 => {
                        self.niches += 1;
                        let niche = now.random.one_of(&["night shifts", "new colleagues", "team leads"]);
                        let niche = format!(r#","niche":"{niche} {}""#, self.niches);
                        of("distribution.micro_niche_created", &niche)
                    }
                    92..96 => {
                        self.version += 1;
                        let (version, before) = (self.version, self.version - 1);
                        let more = format!(r#","version":"1.{version}","previous_version":"1.{before}""#);
                        of("distribution.version_bumped", &more)
                    }
                    _ => {
                        let visibility = now.random.one_of(&["public", "unlisted"]);
                        of("distribution.updated", &format!(r#","visibility":"{visibility}""#))
                    }
                };
                (told, due)
            }
            Status::Published => {
                self.status = Status::Unpublished;
                (of("distribution.unpublished", ""), now.after(HOUR_MS, 3 * DAY_MS))
            }
            Status::Unpublished if self.ends => (of("distribution.deleted", ""), None),
            Status::Unpublished => {
                (self.status, self.left, self.ends) = (Status::Published, now.random.between(4, 20) as u32, true);
                (of("distribution.published", ""), now.after(MINUTE_MS, 4 * HOUR_MS))
            }
        }
    }
}

/// An IR that is judged, and where it takes an approval, what becomes of that.
#[derive(Clone, Debug)]
pub(crate) struct Approving {
    tier: u64,
    fingerprint: String,
    hash: String,
    at: Approval,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Approval {
    Nothing,
    Escalated,
    Created,
    Tried,
    Passed,
}

impl Approving {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        let (fingerprint, hash) = (now.random.hash(), now.random.hash());
        Self { tier: now.random.below(4).min(now.random.below(4)), fingerprint, hash, at: Approval::Nothing }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let (ir, approval) = (format!("ir-{}", now.name), format!("appr-{}", now.name));
        let actor = now.random.one_of(&["runner-1", "runner-2", "planner"]);
        let about_ir = |event_type, more: &str| {
            event(event_type, "governance", &ir, format!(r#"{{"ir_id":"{ir}","actor":"{actor}"{more}}}"#), &ir)
        };
        let about_approval = |event_type, more: &str| {
            let payload = format!(r#"{{"approval_id":"{approval}","ir_id":"{ir}","actor":"{actor}"{more}}}"#);
            event(event_type, "governance", &approval, payload, &ir)
        };
        let tier = format!(r#","risk_tier":{}"#, self.tier);
        match self.at {
            Approval::Nothing if self.tier >= 2 && now.random.happens(0.9) => {
                self.at = Approval::Escalated;
                let more = format!(r#"{tier},"reasons":["the tier of risk is {}"]"#, self.tier);
                (about_ir("ir.validated_escalate", &more), now.after(MINUTE_MS, HOUR_MS))
            }
            Approval::Nothing if now.random.happens(0.12) => {
                let more = format!(r#"{tier},"reasons":["a step has no owner"]"#);
                (about_ir("ir.validated_reject", &more), None)
            }
            Approval::Nothing => {
                self.at = Approval::Passed;
                (about_ir("ir.validated_pass", &tier), now.after(MINUTE_MS, HOUR_MS))
            }
            Approval::Escalated => {
                self.at = Approval::Created;
                let more = format!(r#"{tier},"token_fingerprint":"{}""#, self.fingerprint);
                (about_approval("ir.approval_created", &more), now.after(MINUTE_MS, 8 * HOUR_MS))
            }
            Approval::Created if now.random.happens(0.1) => {
                self.at = Approval::Tried;
                let reason = now.random.one_of(&["token_mismatch", "expired", "not_found", "already_used"]);
                (about_approval("ir.approval_invalid", &format!(r#","reason":"{reason}""#)), now.after(5_000, HOUR_MS))
            }
            Approval::Created | Approval::Tried if now.random.happens(0.2) => {
                (about_approval("ir.approval_expired", ""), None)
            }
            Approval::Created | Approval::Tried => {
                self.at = Approval::Passed;
                let more = format!(r#","token_fingerprint":"{}""#, self.fingerprint);
                (about_approval("ir.approval_consumed", &more), now.after(5_000, 10 * MINUTE_MS))
            }
            Approval::Passed => {
                let failed = now.random.happens(0.04);
                let after = if failed { now.random.hash() } else { self.hash.clone() };
                let more = format!(r#","before_hash":"{}","after_hash":"{after}""#, self.hash);
                (about_ir(if failed { "ir.dag_diff_failed" } else { "ir.dag_diff_ok" }, &more), None)
            }
        }
    }
}

/// A mission and its tasks.
#[derive(Clone, Debug)]
pub(crate) struct Mission {
    tasks: u32,
    told: u32,
    is_created: bool,
    is_started: bool,
}

impl Mission {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        Self { tasks: now.random.between(1, 6) as u32, told: 0, is_created: false, is_started: false }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let mission = format!("mission-{}", now.name);
        let of = |event_type, more: &str| {
            event(event_type, "mission", &mission, format!(r#"{{"mission_id":"{mission}"{more}}}"#), &mission)
        };
        let due = now.after(10 * MINUTE_MS, 10 * HOUR_MS);
        if !self.is_created {
            self.is_created = true;
            let title = now.random.one_of(&["Open day", "New ward", "Audit", "Emergency drill"]);
            return (of("mission.created", &format!(r#","title":"{title}""#)), due);
        }
        if !self.is_started && (self.told >= self.tasks || now.random.happens(0.5)) {
            self.is_started = true;
            return (of("mission.started", ""), due);
        }
        if self.told < self.tasks {
            self.told += 1;
            let title = now.random.one_of(&["Invite everybody", "Book rooms", "Write a summary", "Check the stock"]);
            return (of("task.created", &format!(r#","task_id":"task-{}","title":"{title}""#, self.told)), due);
        }
        if now.random.happens(0.15) {
            return (of("mission.failed", r#","error":"nobody had time""#), None);
        }
        (of("mission.completed", ""), None)
    }
}
