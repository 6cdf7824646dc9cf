//! Who and what there is in the made-up academy, and the truth about them: parameters that no event says, by which answers are drawn.
//! Nothing is kept: each learner and question follows from the seed and its number.
//!
//! | what is drawn | by |
//! |---|---|
//! | whether an answer is right | the two-parameter logistic model: 1 / (1 + e^(−discrimination · (ability − difficulty))) |
//! | an answer of a survey on a scale | the learner's content and the question's ease, with noise, cut into the steps of the scale |

use serde::Serialize;

use crate::random::{Random, logistic};

/// Learners of a tenant.
pub const LEARNERS: u32 = 2_000;
/// Questions of a tenant, each about one concept or two.
pub const QUESTIONS: u32 = 240;
/// Concepts.
pub(crate) const CONCEPTS: [&str; 12] = [
    "hygiene",
    "dosage",
    "triage",
    "fire-classes",
    "evacuation",
    "lifting",
    "data-protection",
    "consent",
    "feedback",
    "delegation",
    "documentation",
    "handover",
];
/// Where people learn; the larger departments come first.
const DEPARTMENTS: [&str; 5] = ["nursing", "emergency", "laboratory", "administration", "logistics"];
const ROLES: [&str; 4] = ["professional", "assistant", "lead", "trainee"];
const REGIONS: [&str; 4] = ["north", "south", "west", "east"];
const AGES: [&str; 5] = ["25-34", "35-44", "45-54", "18-24", "55+"];
const TENURES: [&str; 4] = ["1-3 years", "3-10 years", "under 1 year", "over 10 years"];
/// What programs and courses are about.
pub(crate) const TITLES: [&str; 8] = [
    "Fire safety",
    "First aid",
    "Leading a team",
    "Writing well",
    "Working at heights",
    "Data protection",
    "Handover at shift change",
    "Medication safety",
];
/// Questions of a survey: name, least, most, and how easy it is to answer well.
pub(crate) const SURVEY: [(&str, i64, i64, f64); 4] =
    [("recommend", 0, 10, 0.4), ("pace", 1, 5, 0.0), ("usefulness", 1, 5, 0.6), ("trainer", 1, 5, 0.9)];

/// The academy of a plan.
#[derive(Clone, Debug)]
pub struct Academy {
    seed: [u8; 8],
}

/// A learner, and what no event says of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Learner {
    /// The sender's id: the account's name under `LEARNER_HOME_PAGE`, and `user_id`.
    pub id: String,
    /// What the learner is able to: of mean 0 and variance 1.
    pub ability: f64,
    /// How content with trainings: of variance 1, and of a mean that the department has.
    pub content: f64,
    /// Where.
    pub department: &'static str,
    /// As what.
    pub role: &'static str,
    /// Part of the country.
    pub region: &'static str,
    /// Years of age.
    pub age_band: &'static str,
    /// How long with the academy.
    pub tenure_band: &'static str,
}

/// A question, and what no event says of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Question {
    /// Its id.
    pub id: String,
    /// What it is about, one or two.
    pub concept_ids: Vec<&'static str>,
    /// The ability at which every second answer is right.
    pub difficulty: f64,
    /// How sharply it tells abilities apart: 0.6 to 2.
    pub discrimination: f64,
    /// How long it takes, milliseconds.
    pub usual_ms: i64,
}

impl Question {
    /// The probability that somebody of that ability answers it rightly.
    pub fn probability(&self, ability: f64) -> f64 {
        logistic(self.discrimination * (ability - self.difficulty))
    }
}

impl Academy {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed: seed.to_be_bytes() }
    }

    fn about(&self, what: &str, tenant: &str, number: u32) -> Random {
        Random::of(&[&self.seed, what.as_bytes(), tenant.as_bytes(), &number.to_be_bytes()])
    }

    /// A learner of a tenant, from 0 up to [`LEARNERS`].
    pub fn learner(&self, tenant: &str, number: u32) -> Learner {
        let mut random = self.about("learner", tenant, number);
        let ability = random.normal();
        let content = random.normal();
        let department = random.below(5).min(random.below(5)) as usize;
        Learner {
            id: format!("u-{:04}", number + 1),
            ability,
            content: content + 0.25 - 0.15 * department as f64,
            department: DEPARTMENTS[department],
            role: random.early_of(&ROLES),
            region: random.one_of(&REGIONS),
            age_band: random.early_of(&AGES),
            tenure_band: random.early_of(&TENURES),
        }
    }

    /// A question of a tenant, from 0 up to [`QUESTIONS`].
    pub fn question(&self, tenant: &str, number: u32) -> Question {
        let mut random = self.about("question", tenant, number);
        let first = (number as usize) % CONCEPTS.len();
        let mut concept_ids = vec![CONCEPTS[first]];
        if random.happens(0.3) {
            concept_ids.push(CONCEPTS[(first + 1 + random.below(11) as usize) % CONCEPTS.len()]);
        }
        Question {
            id: format!("{}-{:03}", CONCEPTS[first], number + 1),
            concept_ids,
            difficulty: random.normal(),
            discrimination: 0.6 + 1.4 * random.unit(),
            usual_ms: random.between(4_000, 40_000),
        }
    }

    /// How good a survey's content is found beside all others: what its answers lean to.
    pub fn survey_lean(&self, tenant: &str, survey: u32) -> f64 {
        self.about("survey", tenant, survey).normal() * 0.4
    }

    /// The truth about a tenant: every learner and question with the parameters by which answers were drawn.
    pub fn truth(&self, tenant: &str) -> Truth {
        Truth {
            tenant: tenant.to_owned(),
            learners: (0..LEARNERS).map(|number| self.learner(tenant, number)).collect(),
            questions: (0..QUESTIONS).map(|number| self.question(tenant, number)).collect(),
        }
    }
}

/// What is true of a tenant, and what analytics can be judged against.
#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// Whose.
    pub tenant: String,
    /// Everybody.
    pub learners: Vec<Learner>,
    /// Every question.
    pub questions: Vec<Question>,
}

/// An answer on a scale from the least to the most: the better the lean, the higher.
pub(crate) fn on_scale(random: &mut Random, lean: f64, least: i64, most: i64) -> i64 {
    let share = logistic(1.4 * (lean + 0.7 * random.normal()));
    least + ((share * (most - least + 1) as f64) as i64).min(most - least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_has_the_same_people_and_tenants_have_others() {
        let academy = Academy::new(7);
        assert_eq!(academy.learner("a", 3), Academy::new(7).learner("a", 3));
        assert_ne!(academy.learner("a", 3).ability, academy.learner("b", 3).ability);
        assert_ne!(academy.question("a", 3), Academy::new(8).question("a", 3));
    }

    #[test]
    fn abilities_and_difficulties_are_about_normal() {
        let Truth { learners, questions, .. } = Academy::new(1).truth("a");
        let mean = |numbers: &mut dyn Iterator<Item = f64>| {
            let numbers: Vec<f64> = numbers.collect();
            numbers.iter().sum::<f64>() / numbers.len() as f64
        };
        let ability = mean(&mut learners.iter().map(|of| of.ability));
        let difficulty = mean(&mut questions.iter().map(|of| of.difficulty));
        assert!(ability.abs() < 0.1 && difficulty.abs() < 0.25, "{ability} {difficulty}");
    }

    #[test]
    fn a_better_lean_answers_higher_and_every_step_of_the_scale_is_taken() {
        let mut random = Random::of(&[b"scale"]);
        let mut mean = |lean: f64| {
            let answers: Vec<i64> = (0..4_000).map(|_| on_scale(&mut random, lean, 1, 5)).collect();
            assert!((1..=5).all(|step| answers.contains(&step)), "{lean}");
            answers.iter().sum::<i64>() as f64 / 4_000.0
        };
        let (low, middle, high) = (mean(-1.0), mean(0.0), mean(1.0));
        assert!(low + 0.5 < middle && middle + 0.5 < high, "{low} {middle} {high}");
    }
}
