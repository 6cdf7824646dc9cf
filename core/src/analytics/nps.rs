//! The net promoter score of a question, or why it has none: a number that looks like one and is none misleads, and a dash
//! without a reason helps nobody.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The ends of a scale of answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// The lowest answer.
    pub min: f64,
    /// The highest answer.
    pub max: f64,
}

impl Scale {
    /// The only one that a net promoter score is of.
    pub const OF_PROMOTERS: Self = Self { min: 0.0, max: 10.0 };
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// Reads `0..10`.
impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends =
            text.split_once("..").and_then(|(min, max)| Some((min.trim().parse().ok()?, max.trim().parse().ok()?)));
        match ends {
            Some((min, max)) if f64::is_finite(min) && f64::is_finite(max) && min < max => Ok(Self { min, max }),
            _ => Err(format!("{text:?} is no scale: write its ends, the lower one first, as 0..10")),
        }
    }
}

/// The answers to a question, each attempt's last; blank ones are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers<'a> {
    /// Of those that have a number.
    pub numbers: &'a [f64],
    /// How many have none.
    pub without_number: usize,
    /// The scales that answers tell.
    pub scales: &'a [Scale],
    /// How many of those that have a number tell one.
    pub telling: usize,
    /// The scale of those that tell none, as the asker says.
    pub asked: Option<Scale>,
}

/// Why a question has no net promoter score.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoScore {
    /// There is nothing to count.
    #[error("there is no answer")]
    NoAnswer,
    /// Texts cannot be counted.
    #[error("{without} of {answers} answers {} no number", if *.without == 1 { "is" } else { "are" })]
    NoNumber {
        /// How many.
        without: usize,
        /// Of how many.
        answers: usize,
    },
    /// A scale that answers tell is another one.
    #[error("answers tell the scale {0}, and the score is of 0 to 10")]
    OtherScale(Scale),
    /// The asker says another one of answers that tell none.
    #[error(
        "--scale (`scale`) says {scale} of {silent} {} that {} none, and the score is of 0 to 10: say 0..10 if they are on it, else leave it out",
        if *.silent == 1 { "answer" } else { "answers" }, if *.silent == 1 { "tells" } else { "tell" }
    )]
    OtherScaleAsked {
        /// Which.
        scale: Scale,
        /// Of how many.
        silent: usize,
    },
    /// Nothing says which scale it is.
    #[error(
        "no answer tells its scale, and they do not reach from 0 to 10: say that it is 0..10, if it is, with --scale (`scale`)"
    )]
    UnknownScale,
    /// An answer lies beside the scale.
    #[error("an answer is {0}, which is no whole number from 0 to 10")]
    NoWholeNumber(f64),
}

/// What a net promoter score is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Promotion {
    /// Answers of 9 and 10.
    pub promoters: u64,
    /// Answers of 7 and 8.
    pub passives: u64,
    /// Answers of 0 to 6.
    pub detractors: u64,
}

impl Promotion {
    /// Every answer.
    pub fn answers(self) -> u64 {
        self.promoters + self.passives + self.detractors
    }

    /// The net promoter score, -100 to 100: the percentage of promoters less that of detractors; `None` without an answer.
    pub fn score(self) -> Option<f64> {
        let answers = self.answers();
        (answers > 0).then(|| 100.0 * (self.promoters as f64 - self.detractors as f64) / answers as f64)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            promoters: self.promoters + other.promoters,
            passives: self.passives + other.passives,
            detractors: self.detractors + other.detractors,
        }
    }
}

/// What the net promoter score of a question is made of, where every answer is a whole number on a scale from 0 to 10. The scale
/// is what the answers tell; of those that tell none it is the one asked for, and else the one that they reach from end to end.
/// Where all tell theirs, what is asked for says nothing.
///
/// # Errors
/// Why there is none.
pub fn promotion(given: &Answers<'_>) -> Result<Promotion, NoScore> {
    let Answers { numbers, without_number: without, scales, telling, asked } = *given;
    if numbers.is_empty() && without == 0 {
        return Err(NoScore::NoAnswer);
    }
    if without > 0 {
        return Err(NoScore::NoNumber { without, answers: without + numbers.len() });
    }
    let is_other = |scale: &Scale| *scale != Scale::OF_PROMOTERS;
    if let Some(other) = scales.iter().copied().find(is_other) {
        return Err(NoScore::OtherScale(other));
    }
    let silent = numbers.len().saturating_sub(telling);
    if let Some(scale) = asked.filter(is_other).filter(|_| silent > 0) {
        return Err(NoScore::OtherScaleAsked { scale, silent });
    }
    let fits = |number: &f64| number.fract() == 0.0 && (0.0..=10.0).contains(number);
    if let Some(odd) = numbers.iter().find(|number| !fits(number)) {
        return Err(NoScore::NoWholeNumber(*odd));
    }
    if scales.is_empty() && asked.is_none() && !(numbers.contains(&0.0) && numbers.contains(&10.0)) {
        return Err(NoScore::UnknownScale);
    }
    let promoters = numbers.iter().filter(|number| **number >= 9.0).count();
    let detractors = numbers.iter().filter(|number| **number <= 6.0).count();
    let passives = numbers.len() - promoters - detractors;
    Ok(Promotion { promoters: promoters as u64, passives: passives as u64, detractors: detractors as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &[Scale] = &[Scale::OF_PROMOTERS];

    fn of(numbers: &[f64], scales: &[Scale]) -> Result<f64, NoScore> {
        score(&Answers { numbers, scales, ..Answers::default() })
    }

    fn score(given: &Answers<'_>) -> Result<f64, NoScore> {
        promotion(given).map(|promotion| promotion.score().unwrap())
    }

    #[test]
    fn a_net_promoter_score_is_told_of_whole_numbers_from_0_to_10_only() {
        assert_eq!(of(&[10.0, 9.0, 8.0, 6.0], TOLD), Ok(25.0));
        assert_eq!(of(&[0.0], TOLD), Ok(-100.0));
        assert_eq!(of(&[], TOLD), Err(NoScore::NoAnswer));
        for odd in [9.5, 11.0, -1.0] {
            assert_eq!(of(&[10.0, odd], TOLD), Err(NoScore::NoWholeNumber(odd)));
        }
        assert!(of(&[10.0, f64::NAN], TOLD).is_err());
    }

    #[test]
    fn a_score_is_made_of_three_parts_and_of_several_questions_by_their_answers() {
        let first =
            promotion(&Answers { numbers: &[10.0, 9.0, 8.0, 6.0], scales: TOLD, ..Answers::default() }).unwrap();
        assert_eq!(first, Promotion { promoters: 2, passives: 1, detractors: 1 });
        let both = first.plus(Promotion { detractors: 4, ..Promotion::default() });
        assert_eq!((both.answers(), both.score()), (8, Some(-37.5)));
        assert_eq!(Promotion::default().score(), None);
    }

    #[test]
    fn a_scale_that_is_not_0_to_10_has_no_net_promoter_score() {
        let (stars, from_1) = (Scale { min: 1.0, max: 5.0 }, Scale { min: 1.0, max: 10.0 });
        assert_eq!(of(&[1.0, 3.0, 5.0], &[stars]), Err(NoScore::OtherScale(stars)));
        assert_eq!(of(&[9.0, 10.0], &[from_1]), Err(NoScore::OtherScale(from_1)));
        assert_eq!(of(&[9.0], &[Scale::OF_PROMOTERS, from_1]), Err(NoScore::OtherScale(from_1)), "they do not agree");
        assert_eq!(of(&[1.0, 3.0, 5.0], &[]), Err(NoScore::UnknownScale), "nothing says that it goes to 10");
        assert_eq!(of(&[0.0, 10.0], &[]), Ok(0.0), "the answers themselves reach from 0 to 10");
    }

    #[test]
    fn whoever_asks_may_say_which_scale_it_is_and_not_against_what_the_answers_tell() {
        let asked = |numbers: &[f64], scales: &[Scale], asked: &str| {
            let asked = Some(asked.parse().unwrap());
            score(&Answers { numbers, scales, asked, ..Answers::default() })
        };
        let stars = Scale { min: 1.0, max: 5.0 };
        assert_eq!(asked(&[9.0, 10.0], &[], "0..10"), Ok(100.0));
        assert_eq!(asked(&[1.0, 5.0], &[stars], "0..10"), Err(NoScore::OtherScale(stars)));
        assert_eq!(asked(&[1.0, 5.0], &[], "1..5"), Err(NoScore::OtherScaleAsked { scale: stars, silent: 2 }));
        let telling = |telling, asked| {
            score(&Answers { numbers: &[9.0, 10.0], scales: TOLD, telling, asked: Some(asked), ..Answers::default() })
        };
        assert_eq!(telling(1, stars), Err(NoScore::OtherScaleAsked { scale: stars, silent: 1 }), "one tells nothing");
        assert_eq!(telling(2, stars), Ok(100.0), "each tells what it is, whatever is asked for");
        assert_eq!(telling(1, Scale::OF_PROMOTERS), Ok(100.0));
        for text in ["10", "10..0", "a..b", "0..inf", "0.."] {
            assert!(text.parse::<Scale>().is_err_and(|error| error.contains("0..10")), "{text}");
        }
    }

    #[test]
    fn a_reason_reads_as_a_sentence() {
        let numbers = [9.0; 200];
        let reason = |without_number| {
            let given = Answers { numbers: &numbers, without_number, scales: TOLD, ..Answers::default() };
            promotion(&given).unwrap_err().to_string()
        };
        assert_eq!(reason(1), "1 of 201 answers is no number");
        assert_eq!(reason(2), "2 of 202 answers are no number");
        assert_eq!(
            NoScore::OtherScale(Scale { min: 1.0, max: 5.0 }).to_string(),
            "answers tell the scale 1 to 5, and the score is of 0 to 10"
        );
        let asked = |silent| NoScore::OtherScaleAsked { scale: Scale { min: 1.0, max: 5.0 }, silent }.to_string();
        let what_to_do = "and the score is of 0 to 10: say 0..10 if they are on it, else leave it out";
        assert_eq!(asked(1), format!("--scale (`scale`) says 1 to 5 of 1 answer that tells none, {what_to_do}"));
        assert_eq!(asked(2), format!("--scale (`scale`) says 1 to 5 of 2 answers that tell none, {what_to_do}"));
    }
}
