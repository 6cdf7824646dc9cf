//! Durations (ISO 8601:2004, 4.4.3.2): `PnYnMnDTnHnMnS` or `PnW`, a fraction in the last component only, behind a full stop or a
//! comma.

/// Whether the text is a duration. Signs and a `T` with nothing behind it do not hold.
pub(super) fn is_duration(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('P') else { return false };
    if let Some(weeks) = rest.strip_suffix('W') {
        return take_number(weeks).is_some_and(|(_, rest)| rest.is_empty());
    }
    let mut designators = "YMD";
    let mut in_time = false;
    let mut fraction_seen = false;
    let mut count = 0;
    loop {
        if let Some(time) = rest.strip_prefix('T') {
            if in_time || time.is_empty() {
                return false;
            }
            (rest, designators, in_time) = (time, "HMS", true);
        }
        if rest.is_empty() {
            return count > 0;
        }
        let Some((is_fraction, unit)) = take_number(rest) else { return false };
        let Some(designator) = unit.chars().next() else { return false };
        let Some((_, later)) = designators.split_once(designator) else { return false };
        if fraction_seen {
            return false;
        }
        fraction_seen = is_fraction;
        count += 1;
        designators = later;
        rest = &unit[designator.len_utf8()..];
    }
}

/// The text without what equality does not look at: the decimal sign, digits of a fraction of seconds beyond the second,
/// then its zeros.
pub(super) fn truncate(text: &str) -> String {
    let text = text.replace(',', ".");
    let Some((whole, fraction)) = text.strip_suffix('S').and_then(|text| text.split_once('.')) else {
        return text;
    };
    let kept = fraction.get(..fraction.len().min(2)).unwrap_or(fraction).trim_end_matches('0');
    if kept.is_empty() { format!("{whole}S") } else { format!("{whole}.{kept}S") }
}

/// Whether the number in front has a fraction, and what follows it.
fn take_number(text: &str) -> Option<(bool, &str)> {
    let rest = skip_digits(text)?;
    match rest.strip_prefix(['.', ',']) {
        Some(fraction) => Some((true, skip_digits(fraction)?)),
        None => Some((false, rest)),
    }
}

fn skip_digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::{is_duration, truncate};

    #[test]
    fn durations_hold() {
        for duration in [
            "PT16559.14S",
            "P3Y",
            "P4W",
            "P0.5W",
            "P1Y2M3DT4H5M6S",
            "P1YT1S",
            "PT0S",
            "P1M",
            "PT1M",
            "P1.5D",
            "PT1H30M",
            "P0D",
            "PT1.5H",
            "P1Y3D",
            "P0001Y",
            "PT12,5S",
            "P0,5Y",
            "P1,25W",
            "P1DT2,5H",
        ] {
            assert!(is_duration(duration), "{duration}");
        }
    }

    #[test]
    fn what_is_no_duration_does_not() {
        for text in [
            "",
            "P",
            "PT",
            "P1YT",
            "P4W1D",
            "P1Y4W",
            "P1.5Y1M",
            "PT1.5M1S",
            "-PT1S",
            "P-1Y",
            "PT1,5M1S",
            "PT1,5.5S",
            "PT,5S",
            "PT5,S",
            "PT.5S",
            "PT5.S",
            "1Y",
            "P1S",
            "PT1Y",
            "P1M1Y",
            "P1Y1Y",
            "PT1S1M",
            "pt1s",
            "PT1STS",
            "PTT1S",
            "PT1ST1S",
            "P1YT1HT1M",
            "P1",
            "PW",
            "P W",
            "PT1S ",
            "P1.5DT1S",
            "PT1é",
            "P0003-06-04T12:30:05",
        ] {
            assert!(!is_duration(text), "{text}");
        }
    }

    #[test]
    fn precision_beyond_a_hundredth_of_a_second_is_cut_off() {
        for (text, kept) in [
            ("PT1.129S", "PT1.12S"),
            ("PT1.10S", "PT1.1S"),
            ("PT1.001S", "PT1S"),
            ("PT1S", "PT1S"),
            ("P1.555D", "P1.555D"),
            ("PT1,129S", "PT1.12S"),
            ("PT1,00S", "PT1S"),
            ("P1,5D", "P1.5D"),
        ] {
            assert_eq!(truncate(text), kept);
        }
    }
}
