//! How a person names a learner.

use sha1::{Digest, Sha1};

/// A learner's canonical inverse functional identifier: `mbox:<address>`, `sha1:<hex>`, `openid:<URI>` or
/// `account:<homePage>|<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnerId(String);

/// Why a text names no learner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no learner: write an e-mail address, mbox:<address>, sha1:<40 hex digits>, openid:<URI> or \
     account:<homePage>|<name>"
)]
pub struct InvalidLearner(pub String);

impl LearnerId {
    /// Reads a canonical identifier, or an e-mail address with or without `mailto:`. The domain of an address and hex
    /// digits become lower case, as they are where statements are stored.
    pub fn parse(text: &str) -> Result<Self, InvalidLearner> {
        let invalid = || InvalidLearner(text.to_owned());
        let trimmed = text.trim();
        let (form, value) = match trimmed.split_once(':') {
            Some((form @ ("mbox" | "sha1" | "openid" | "account"), value)) => (form, value),
            Some((scheme, address)) if scheme.eq_ignore_ascii_case("mailto") => ("mbox", address),
            _ => ("mbox", trimmed),
        };
        match form {
            "mbox" => {
                let scheme = value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
                let address = &value[scheme.map_or(0, str::len)..];
                let (local, domain) = address.rsplit_once('@').ok_or_else(invalid)?;
                if local.is_empty()
                    || domain.is_empty()
                    || domain.contains([':', '/'])
                    || domain.contains(char::is_whitespace)
                {
                    return Err(invalid());
                }
                Ok(Self(format!("mbox:{local}@{}", domain.to_lowercase())))
            }
            "sha1" if value.len() == 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Self(format!("sha1:{}", value.to_ascii_lowercase())))
            }
            "openid" if value.contains(':') => Ok(Self(trimmed.to_owned())),
            "account" if value.split_once('|').is_some_and(|(page, name)| !page.is_empty() && !name.is_empty()) => {
                Ok(Self(trimmed.to_owned()))
            }
            _ => Err(invalid()),
        }
    }

    /// The identifier as statements are stored under it.
    pub fn canonical(&self) -> &str {
        &self.0
    }

    /// The lower-case hex SHA-1 of `mailto:` and the address, under which the same learner may appear (xAPI-Data 2.2.3
    /// `mbox_sha1sum`); `None` for an OpenID and an account.
    pub fn sha1(&self) -> Option<String> {
        match self.0.split_once(':')? {
            ("mbox", address) => {
                let digest = Sha1::digest(format!("mailto:{address}"));
                Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
            }
            ("sha1", hex) => Some(hex.to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_identifier_is_read() {
        let sha1 = "A35C6B5BAA1E1E3B5BAA1E1E3B5BAA1E1E3B5BAA";
        for (text, canonical) in [
            ("Ada@Example.ORG", "mbox:Ada@example.org"),
            (" mailto:ada@example.org ", "mbox:ada@example.org"),
            ("MAILTO:ada@example.org", "mbox:ada@example.org"),
            ("mbox:ada@example.org", "mbox:ada@example.org"),
            ("mbox:mailto:ada@example.org", "mbox:ada@example.org"),
            (&format!("sha1:{sha1}"), &format!("sha1:{}", sha1.to_lowercase())),
            ("openid:https://ada.example.org/", "openid:https://ada.example.org/"),
            ("account:http://nlj.platform/users|ada|2", "account:http://nlj.platform/users|ada|2"),
        ] {
            assert_eq!(LearnerId::parse(text).unwrap().canonical(), canonical, "{text}");
        }
    }

    #[test]
    fn what_names_no_learner_is_refused_with_the_forms_that_do() {
        for text in
            ["", "ada", "@example.org", "ada@", "sha1:123", "openid:", "account:x", "account:|x", "http://a/b@c/d"]
        {
            let error = LearnerId::parse(text).unwrap_err();
            assert!(error.to_string().contains("account:<homePage>"), "{text}");
        }
    }

    /// The digest is that of `printf mailto:ada@example.org | sha1sum`.
    #[test]
    fn an_address_is_found_under_its_sha1_too() {
        let ada = LearnerId::parse("ada@Example.org").unwrap();
        let sha1 = ada.sha1().unwrap();
        assert_eq!(sha1, "d714b8a95bd857a37405a7b56db9108b60ae42bd");
        assert_eq!(LearnerId::parse(&format!("sha1:{sha1}")).unwrap().sha1(), Some(sha1));
        assert_eq!(LearnerId::parse("account:http://a|b").unwrap().sha1(), None);
    }
}
