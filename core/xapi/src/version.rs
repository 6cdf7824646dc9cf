//! The versions of xAPI, and what a statement may state as its own.

use std::fmt;

/// A version of xAPI to judge by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// xAPI 1.0.3, which also holds for every 1.0.x.
    #[default]
    V1_0_3,
    /// xAPI 2.0 (IEEE 9274.1.1).
    V2_0,
}

impl Version {
    /// The version to judge by where a statement states this one; `None` for versions that we do not know.
    pub(super) fn of_statement(stated: &str) -> Option<Self> {
        if stated == "1.0" {
            return Some(Self::V1_0_3);
        }
        let (version, patch) = match stated.split_at_checked(4)? {
            ("1.0.", patch) => (Self::V1_0_3, patch),
            ("2.0.", patch) => (Self::V2_0, patch),
            _ => return None,
        };
        let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && (patch == "0" || !patch.starts_with('0'))).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_0_3 => "1.0.3",
            Self::V2_0 => "2.0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn only_the_two_lines_of_versions_are_known() {
        for (stated, version) in [
            ("1.0", Some(Version::V1_0_3)),
            ("1.0.0", Some(Version::V1_0_3)),
            ("1.0.12", Some(Version::V1_0_3)),
            ("2.0.0", Some(Version::V2_0)),
            ("2.0", None),
            ("0.9.9", None),
            ("1.1.0", None),
            ("1.0.", None),
            ("1.0.01", None),
            ("1.0.x", None),
            ("1.0é", None),
            ("", None),
        ] {
            assert_eq!(Version::of_statement(stated), version, "{stated}");
        }
    }
}
