//! Results and scores (xAPI-Data 2.4.5).

use super::json::Read;
use super::keys::keys;
use super::path::Path;
use super::statement::Outcome;
use super::validator::Validator;
use super::{duration, rules};

keys!(ResultKey {
    Score = "score",
    Success = "success",
    Completion = "completion",
    Response = "response",
    Duration = "duration",
    Extensions = "extensions",
});

keys!(ScoreKey { Scaled = "scaled", Raw = "raw", Min = "min", Max = "max" });

impl<'a> Validator<'a> {
    /// A result, written into `outcome`; extensions are kept if asked for.
    pub(super) fn result(&mut self, keep: bool, outcome: &mut Outcome<'a>, path: &Path<'_>) -> Read<()> {
        let Some(mut members) = self.members::<ResultKey>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                ResultKey::Score => self.score(outcome, at)?,
                // XAPI-00074.
                ResultKey::Success => outcome.success = self.boolean(at)?,
                // XAPI-00075.
                ResultKey::Completion => outcome.completion = self.boolean(at)?,
                // XAPI-00076.
                ResultKey::Response => outcome.response = self.text(at)?,
                // XAPI-00077, XAPI-00124.
                ResultKey::Duration => {
                    outcome.duration = self.text(at)?;
                    if let Some(text) = &outcome.duration
                        && !duration::is_duration(text)
                    {
                        let message =
                            format!("{text:?} is no ISO 8601 duration: write one such as PT1H30M or PT12.5S.");
                        self.report(&rules::RESULT_DURATION, at, message);
                    }
                }
                // XAPI-00078.
                ResultKey::Extensions => outcome.extensions = self.extensions(keep, at)?,
            }
        }
        Ok(())
    }

    fn score(&mut self, outcome: &mut Outcome<'a>, path: &Path<'_>) -> Read<()> {
        // XAPI-00079.
        let Some(mut members) = self.members::<ScoreKey>(path)? else { return Ok(()) };
        while let Some(key) = self.next(&mut members, path)? {
            let number = self.double(&path.key(key.name()))?;
            match key {
                ScoreKey::Scaled => outcome.score_scaled = number,
                ScoreKey::Raw => outcome.score_raw = number,
                ScoreKey::Min => outcome.score_min = number,
                ScoreKey::Max => outcome.score_max = number,
            }
        }
        // XAPI-00083.
        if let Some(scaled) = outcome.score_scaled
            && !(-1.0..=1.0).contains(&scaled)
        {
            let message = format!("A scaled score lies between -1 and 1, but this is {scaled}.");
            self.report(&rules::SCORE_SCALED, &path.key("scaled"), message);
        }
        // XAPI-00080, XAPI-00081: the bounds may be equal.
        let (min, max) = (outcome.score_min.unwrap_or(f64::MIN), outcome.score_max.unwrap_or(f64::MAX));
        if min > max {
            self.report(&rules::SCORE_BOUNDS, path, format!("min is {min} and max is {max}: exchange them."));
        } else if let Some(raw) = outcome.score_raw
            && !(min..=max).contains(&raw)
        {
            // XAPI-00082.
            let message = format!("A raw score lies between min and max, but this is {raw}.");
            self.report(&rules::SCORE_RAW, &path.key("raw"), message);
        }
        Ok(())
    }

    /// XAPI-00002 asks for IEEE 754: a number beyond it could not be kept.
    fn double(&mut self, path: &Path<'_>) -> Read<Option<f64>> {
        let Some(text) = self.number(path)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.report(&rules::SCORE_RANGE, path, format!("The number {text} is too large for a double."));
        }
        Ok(number)
    }
}
