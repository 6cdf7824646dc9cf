//! What parameters of a query say: texts, names of a few, times.

use lyceum_xapi::utc_time::{Day, UtcTime};

use crate::problem::Problem;

/// A text that says something, without the white space around it.
pub(super) fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The value of a parameter that is one of a few names; `what` they are, for a person.
///
/// # Errors
/// It is none of them.
pub(super) fn named<T>(
    what: &str,
    name: Option<String>,
    from_name: impl Fn(&str) -> Option<T>,
    names: &[&str],
) -> Result<Option<T>, Problem> {
    let find = |name: String| {
        let unknown = || Problem::bad_request(format!("{name:?} is no {what}; there are: {}", names.join(", ")));
        from_name(&name).ok_or_else(unknown)
    };
    given(name).map(find).transpose()
}

/// The time of the parameter `name`; milliseconds since 1970 UTC. A UTC date is the start of the day that many days later.
///
/// # Errors
/// It is neither a time nor a date.
pub(super) fn time(name: &str, text: Option<String>, extra_days: i64) -> Result<Option<i64>, Problem> {
    let read = |text: String| {
        let time = text.parse::<UtcTime>().ok();
        let time = time.or_else(|| Some(text.parse::<Day>().ok()?.plus(extra_days).start()));
        time.map(UtcTime::as_millis).ok_or_else(|| {
            let example = "write 2026-01-31T09:30:00Z, or a UTC date as 2026-01-31";
            Problem::bad_request(format!("{name} is {text:?}, which is no time: {example}"))
        })
    };
    given(text).map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_says_nothing_and_white_space_around_a_text_is_none_of_it() {
        assert_eq!(["", " ", "\t"].map(|text| given(Some(text.to_owned()))), [None, None, None]);
        assert_eq!(given(Some(" a b ".to_owned())), Some("a b".to_owned()));
        assert_eq!(given(None), None);
    }

    #[test]
    fn a_date_is_its_first_instant_or_that_of_a_day_behind_it_and_what_is_no_time_is_told_with_its_name() {
        let read = |text: &str, extra_days| time("from", Some(text.to_owned()), extra_days).ok().flatten();
        assert_eq!(read("1970-01-02", 0), Some(86_400_000));
        assert_eq!(read("1970-01-02", 1), Some(2 * 86_400_000));
        assert_eq!(read("1970-01-01T00:00:01Z", 1), Some(1_000));
        assert_eq!(read("", 0), None);
        let wrong = format!("{:?}", time("from", Some("soon".to_owned()), 0).expect_err("it is no time"));
        assert!(wrong.contains("from is") && wrong.contains("2026-01-31T09:30:00Z"), "{wrong}");
    }
}
