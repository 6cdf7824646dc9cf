//! What other tools say: video players, learning management systems, quizzes. Plain statements, whatever they are about.

use super::{Event, Now, Step};
use crate::academy::{LEARNERS, TITLES};
use crate::calendar::MINUTE_MS;
use crate::random::logistic;
use crate::wire::{Body, Statement, adl};

const VIDEO: &str = "https://w3id.org/xapi/video";

/// Somebody at a tool: a few statements.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    learner: u32,
    tool: Tool,
    said: u32,
    number: u32,
}

#[derive(Clone, Copy, Debug)]
enum Tool {
    Video(u64),
    Course(usize),
    Quiz(u64),
}

impl Elsewhere {
    pub(crate) fn new(now: &mut Now<'_>) -> Self {
        let tool = match now.random.below(10) {
            0..6 => Tool::Video(now.random.below(40)),
            6..8 => Tool::Course(now.random.below(TITLES.len() as u64) as usize),
            _ => Tool::Quiz(now.random.below(30)),
        };
        let number = match tool {
            Tool::Video(_) => now.random.between(2, 7) as u32,
            Tool::Course(_) => 2,
            Tool::Quiz(_) => now.random.between(2, 6) as u32,
        };
        Self { learner: now.random.below(u64::from(LEARNERS)) as u32, tool, said: 0, number }
    }

    pub(crate) fn step(&mut self, now: &mut Now<'_>) -> Step {
        let learner = now.academy.learner(now.tenant, self.learner);
        let address = format!("{}@{}.{}", learner.id, learner.department, now.site);
        let department = format!(
            r#""contextActivities":{{"parent":[{{"id":"https://{}/departments/{}","definition":{{"type":"https://w3id.org/xapi/cmi5/activities/block"}}}}]}}"#,
            now.site, learner.department
        );
        self.said += 1;
        let is_last = self.said >= self.number;
        let mut said = Statement { actor: format!(r#"{{"mbox":"mailto:{address}"}}"#), ..Statement::default() };
        let site = format!("https://{}", now.site);
        match self.tool {
            Tool::Video(number) => {
                let verb = if self.said == 1 { "played" } else { now.random.one_of(&["paused", "seeked", "played"]) };
                said.verb = format!("{VIDEO}/verbs/{}", if is_last { "terminated" } else { verb });
                said.object = format!(
                    r#"{{"id":"{site}/videos/{number}","definition":{{"type":"{VIDEO}/activity-type/video"}}}}"#
                );
                let second = now.random.between(0, 900);
                said.result = Some(format!(r#"{{"extensions":{{"{VIDEO}/extensions/time":{second}}}}}"#));
            }
            Tool::Course(number) => {
                let course = TITLES[number].to_lowercase().replace(' ', "-");
                said.verb = adl(if is_last { "completed" } else { "launched" });
                said.object = format!(
                    r#"{{"id":"{site}/courses/{course}","definition":{{"name":{{"en":"{}"}},"type":"http://adlnet.gov/expapi/activities/course"}}}}"#,
                    TITLES[number]
                );
                if is_last {
                    let success = now.random.happens(0.92);
                    let minutes = now.random.between(10, 90);
                    said.result =
                        Some(format!(r#"{{"completion":true,"success":{success},"duration":"PT{minutes}M"}}"#));
                }
            }
            Tool::Quiz(number) => {
                let (least, most) = (0, 10);
                said.verb = adl(if is_last { "completed" } else { "answered" });
                if is_last {
                    said.object = format!(r#"{{"id":"{site}/quizzes/{number}"}}"#);
                    let scaled = (logistic(learner.ability + 0.5 * now.random.normal()) * 100.0) as i64;
                    let raw = scaled / 10;
                    said.result = Some(format!(
                        r#"{{"completion":true,"score":{{"scaled":{},"raw":{raw},"min":{least},"max":{most}}}}}"#,
                        scaled as f64 / 100.0
                    ));
                } else {
                    let question = self.said;
                    said.object = format!(
                        r#"{{"id":"{site}/quizzes/{number}/questions/{question}","definition":{{"type":"http://adlnet.gov/expapi/activities/cmi.interaction","interactionType":"true-false","correctResponsesPattern":["true"]}}}}"#
                    );
                    let success = now.random.happens(logistic(learner.ability + 0.4));
                    said.result = Some(format!(r#"{{"success":{success},"response":"{success}"}}"#));
                }
            }
        }
        said.context = Some(format!("{{{department}}}"));
        let told = Event {
            event_type: "statement",
            key: format!("mbox:{address}"),
            body: Body::Statement(said),
            correlation_id: format!("tool-{}", now.name),
        };
        (told, if is_last { None } else { now.after(20_000, 8 * MINUTE_MS) })
    }
}
