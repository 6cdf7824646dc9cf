//! Agents, Groups and what identifies them (xAPI-Data 2.4.2).

use std::borrow::Cow;
use std::fmt::Write as _;

use sha1::{Digest, Sha1};

use super::json::Read;
use super::keys::keys;
use super::path::Path;
use super::rules;
use super::statement::{Actor, Ifi};
use super::validator::{Members, Validator};

keys!(ActorKey {
    ObjectType = "objectType",
    Name = "name",
    Mbox = "mbox",
    MboxSha1 = "mbox_sha1sum",
    OpenId = "openid",
    Account = "account",
    Member = "member",
});

keys!(AccountKey { HomePage = "homePage", Name = "name" });

/// What is asked of an actor in its place, beyond what is asked of all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The actor of a statement, an instructor: an Agent or a Group.
    Any,
    /// The object of a statement that was found to be an Agent or a Group; its `objectType` is judged there.
    Object {
        is_group: bool,
    },
    /// A member of a Group.
    Member,
    Team,
    Authority,
    ContextAgent,
    ContextGroup,
}

/// Whether an actor is a Group, as far as one can tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stated {
    Agent,
    Group,
    /// It states something that is neither.
    Unclear,
}

/// What of an Agent or a Group is judged when all of it is read.
struct Judged {
    stated: Stated,
    /// `None` where there is no list of members.
    members: Option<usize>,
    members_with_account: usize,
}

impl<'a> Validator<'a> {
    /// An Agent or a Group, of which nothing is kept.
    pub(super) fn other_actor(&mut self, role: Role, path: &Path<'_>) -> Read<()> {
        self.actor(role, &mut Actor::default(), path)
    }

    /// An Agent or a Group, written into `actor`.
    pub(super) fn actor(&mut self, role: Role, actor: &mut Actor<'a>, path: &Path<'_>) -> Read<()> {
        let Some(mut members) = self.members::<ActorKey>(path)? else { return Ok(()) };
        let mut judged = Judged { stated: Stated::Agent, members: None, members_with_account: 0 };
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                ActorKey::ObjectType => judged.stated = self.actor_type(role, at)?,
                // XAPI-00033.
                ActorKey::Name => actor.name = self.text(at)?,
                ActorKey::Mbox => actor.ifi = self.mbox(at)?,
                ActorKey::MboxSha1 => actor.ifi = self.mbox_sha1(at)?,
                ActorKey::OpenId => actor.ifi = self.openid(at)?,
                ActorKey::Account => actor.ifi = self.account(at)?,
                ActorKey::Member => {
                    judged.members = self.elements(at, |validator, at| {
                        let mut member = Actor::default();
                        validator.actor(Role::Member, &mut member, at)?;
                        judged.members_with_account += usize::from(matches!(member.ifi, Some(Ifi::Account { .. })));
                        Ok(())
                    })?;
                }
            }
        }
        if let Role::Object { is_group } = role {
            judged.stated = if is_group { Stated::Group } else { Stated::Agent };
        } else if members.is_miswritten(ActorKey::ObjectType) {
            judged.stated = Stated::Unclear;
        }
        self.judge_actor(role, &members, &judged, path);
        actor.is_group = judged.stated == Stated::Group;
        Ok(())
    }

    /// XAPI-00031, XAPI-00009: absent, or exactly `Agent` or `Group`.
    fn actor_type(&mut self, role: Role, path: &Path<'_>) -> Read<Stated> {
        let Some(text) = self.text(path)? else { return Ok(Stated::Unclear) };
        Ok(match &*text {
            "Agent" => Stated::Agent,
            "Group" => Stated::Group,
            _ if matches!(role, Role::Object { .. }) => Stated::Unclear,
            _ => {
                let message = format!("The objectType {text:?} is no actor's: write \"Agent\" or \"Group\".");
                self.report(&rules::ACTOR_OBJECT_TYPE, path, message);
                Stated::Unclear
            }
        })
    }

    /// What can be said only when all keys are known, since `objectType` may come last.
    fn judge_actor(&mut self, role: Role, keys: &Members<'a, ActorKey>, judged: &Judged, path: &Path<'_>) {
        use ActorKey::{Account, Mbox, MboxSha1, OpenId};
        let identifiers = [Mbox, MboxSha1, OpenId, Account].into_iter().filter(|&key| keys.has(key)).count();
        let has_members = keys.has(ActorKey::Member);
        // Its place asks for the other kind: that one violation is enough.
        let misplaced = match (role, judged.stated) {
            // XAPI-00036.
            (Role::Member, Stated::Group) => {
                Some((&rules::GROUP_MEMBER_AGENT, "A Group cannot be a member of a Group: list its Agents instead."))
            }
            // XAPI-00088.
            (Role::Team, Stated::Agent) => {
                Some((&rules::CONTEXT_TEAM, "A team is a Group: state \"objectType\": \"Group\"."))
            }
            // IEEE 9274.1.1, Context Agents Table.
            (Role::ContextAgent, Stated::Group) => {
                Some((&rules::CONTEXT_AGENT_AGENT, "This is a Group: move it to contextGroups."))
            }
            // IEEE 9274.1.1, Context Group Table.
            (Role::ContextGroup, Stated::Agent) => {
                Some((&rules::CONTEXT_GROUP_GROUP, "This is an Agent: move it to contextAgents, or state \"Group\"."))
            }
            // XAPI-00098.
            (Role::Authority, Stated::Group) if identifiers > 0 || judged.members.is_some_and(|count| count != 2) => {
                Some((&rules::AUTHORITY_GROUP, "A Group as authority has no identifier, and two Agents as members."))
            }
            (Role::Authority, Stated::Group) if !has_members => {
                Some((&rules::AUTHORITY_GROUP, "A Group as authority lists its two Agents as members."))
            }
            // xAPI-Data 2.4.9: of an OAuth pair one is the application, and that one has an account.
            (Role::Authority, Stated::Group) if judged.members.is_some() && judged.members_with_account == 0 => {
                Some((&rules::AUTHORITY_CONSUMER, "Neither member has an account: identify the application by one."))
            }
            _ => None,
        };
        if let Some((rule, message)) = misplaced {
            return self.report(rule, path, message);
        }
        match judged.stated {
            Stated::Agent => {
                // XAPI-00035.
                if has_members {
                    let message = "Only a Group has members: state \"objectType\": \"Group\", or remove them.";
                    self.report(&rules::ACTOR_MEMBER, &path.key("member"), message);
                }
                // XAPI-00034.
                if identifiers > 1 || identifiers == 0 && !has_members {
                    let message = format!(
                        "This Agent has {identifiers} identifiers: give exactly one of mbox, mbox_sha1sum, openid, account."
                    );
                    self.report(&rules::ACTOR_IFI, path, message);
                }
            }
            Stated::Group => {
                // XAPI-00037.
                if identifiers > 1 {
                    let message = format!("This Group has {identifiers} identifiers: keep one of them.");
                    self.report(&rules::GROUP_IFI, path, message);
                }
                if identifiers == 0 && (!has_members || judged.members == Some(0)) {
                    let message = "This Group has neither an identifier nor members: give one, or list its Agents.";
                    self.report(&rules::GROUP_MEMBER_REQUIRED, path, message);
                }
            }
            Stated::Unclear => {}
        }
    }

    /// XAPI-00038.
    fn mbox(&mut self, path: &Path<'_>) -> Read<Option<Ifi<'a>>> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        if !split_mbox(&text).is_some_and(|(local, domain)| is_address(local, domain)) {
            let message = format!("{text:?} is no mbox: write mailto: and one e-mail address.");
            self.report(&rules::IFI_MBOX, path, message);
        }
        Ok(Some(Ifi::Mbox(text)))
    }

    /// XAPI-00039; the length is that of a SHA-1.
    fn mbox_sha1(&mut self, path: &Path<'_>) -> Read<Option<Ifi<'a>>> {
        let Some(text) = self.text(path)? else { return Ok(None) };
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = format!("{text:?} is no SHA-1: write the 40 hex digits of the hash of the mbox.");
            self.report(&rules::IFI_SHA1, path, message);
        }
        Ok(Some(Ifi::MboxSha1(text)))
    }

    /// XAPI-00040. A URI is an IRI of ASCII (RFC 3986).
    fn openid(&mut self, path: &Path<'_>) -> Read<Option<Ifi<'a>>> {
        let Some(text) = self.iri(&rules::IFI_OPENID, path)? else { return Ok(None) };
        if !text.is_ascii() && super::iri::find_fault(&text).is_none() {
            let message = format!("{text:?} is no URI: write what is beyond ASCII as %XX.");
            self.report(&rules::IFI_OPENID, path, message);
        }
        Ok(Some(Ifi::OpenId(text)))
    }

    /// XAPI-00041, 42, 43.
    fn account(&mut self, path: &Path<'_>) -> Read<Option<Ifi<'a>>> {
        let Some(mut members) = self.members::<AccountKey>(path)? else { return Ok(None) };
        let (mut home_page, mut name) = (None, None);
        while let Some(key) = self.next(&mut members, path)? {
            let at = &path.key(key.name());
            match key {
                AccountKey::HomePage => home_page = self.iri(&rules::ACCOUNT_HOME_PAGE, at)?,
                AccountKey::Name => name = self.text(at)?,
            }
        }
        if !members.has(AccountKey::HomePage) {
            self.report(
                &rules::ACCOUNT_HOME_PAGE,
                path,
                "This account has no homePage: name the system that it is on.",
            );
        }
        if !members.has(AccountKey::Name) {
            self.report(
                &rules::ACCOUNT_NAME,
                path,
                "This account has no name: give the one by which its system knows it.",
            );
        }
        Ok(Some(Ifi::Account { home_page: home_page.unwrap_or_default(), name: name.unwrap_or_default() }))
    }
}

/// Local part and domain of `mailto:local@domain`; the scheme in any letter case.
fn split_mbox(mbox: &str) -> Option<(&str, &str)> {
    let (scheme, address) = mbox.split_at_checked(7)?;
    if scheme.eq_ignore_ascii_case("mailto:") { address.rsplit_once('@') } else { None }
}

/// RFC 5321, 4.1.2 and RFC 6531 for what is beyond ASCII: a local part of atoms or in quotes, a domain of one or more
/// labels or a literal in brackets.
fn is_address(local: &str, domain: &str) -> bool {
    !local.is_empty() && !local.starts_with("//") && is_local(local) && is_domain(domain)
}

fn is_local(local: &str) -> bool {
    if local.bytes().all(|byte| ATOM[byte as usize]) {
        return true;
    }
    match local.strip_prefix('"').and_then(|local| local.strip_suffix('"')) {
        Some(quoted) => quoted.chars().all(|character| is_text(character) && character != '"'),
        None => {
            local.chars().all(|character| is_text(character) && (!character.is_ascii() || ATOM[character as usize]))
        }
    }
}

fn is_domain(domain: &str) -> bool {
    match domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']')) {
        Some(literal) => !literal.is_empty() && literal.chars().all(|c| c.is_ascii_alphanumeric() || ".:-".contains(c)),
        None => domain.split('.').all(is_label),
    }
}

fn is_label(label: &str) -> bool {
    let is_ascii_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_letter = |character: char| {
        if character.is_ascii() {
            is_ascii_letter(character as u8)
        } else {
            character.is_alphanumeric() || is_text(character)
        }
    };
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && (label.bytes().all(is_ascii_letter) || label.chars().all(is_letter))
}

fn is_text(character: char) -> bool {
    !character.is_control() && !character.is_whitespace()
}

/// What of ASCII a local part has without quotes.
const ATOM: [bool; 256] = {
    let mut atom = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        atom[byte as usize] =
            !matches!(byte, b'"' | b'(' | b')' | b',' | b':' | b';' | b'<' | b'>' | b'@' | b'[' | b'\\' | b']');
        byte += 1;
    }
    atom
};

/// `mailto:local@domain` with what is case-insensitive in lower case: the scheme and the domain (xAPI-Data 2.3.1).
pub(super) fn canonical_mbox(mbox: &str) -> Cow<'_, str> {
    match split_mbox(mbox) {
        Some((local, domain)) if !mbox.starts_with("mailto:") || domain.chars().any(char::is_uppercase) => {
            format!("mailto:{local}@{}", domain.to_lowercase()).into()
        }
        _ => mbox.into(),
    }
}

impl Ifi<'_> {
    /// The one spelling under which a learner is found: `mbox:<address>`, `sha1:<hex>`, `openid:<URI>` or
    /// `account:<homePage>|<name>`.
    ///
    /// In lower case is only what is case-insensitive: the domain of an address, and hex digits. The part before the
    /// `@` is the mail server's own and stays as it was sent, as do URIs and accounts.
    pub fn canonical(&self) -> String {
        match self {
            Self::Mbox(mbox) => {
                let mbox = canonical_mbox(mbox);
                ["mbox:", mbox.strip_prefix("mailto:").unwrap_or(&mbox)].concat()
            }
            Self::MboxSha1(sha1) => ["sha1:", &sha1.to_ascii_lowercase()].concat(),
            Self::OpenId(openid) => ["openid:", openid].concat(),
            Self::Account { home_page, name } => ["account:", home_page, "|", name].concat(),
        }
    }

    /// The `mbox_sha1sum` under which the same person may appear elsewhere: the SHA-1 of `mailto:` and the address in
    /// its canonical spelling, in lower-case hex; for an `mbox_sha1sum` itself. `None` for other identifiers.
    pub fn mbox_sha1(&self) -> Option<String> {
        match self {
            Self::Mbox(mbox) => Some(Sha1::digest(canonical_mbox(mbox).as_bytes()).iter().fold(
                String::with_capacity(40),
                |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                },
            )),
            Self::MboxSha1(sha1) => Some(sha1.to_ascii_lowercase()),
            Self::OpenId(_) | Self::Account { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_mbox(text: &str) -> bool {
        split_mbox(text).is_some_and(|(local, domain)| is_address(local, domain))
    }

    #[test]
    fn addresses_hold() {
        for mbox in [
            "mailto:ada@example.org",
            "MAILTO:Ada@Example.ORG",
            "mailto:ada@localhost",
            "mailto:a.b+c@mail.example.org",
            "mailto:ada@bücher.example",
            "mailto:用户@例子.公司",
            "mailto:o'brien@example.org",
            "mailto:a@[127.0.0.1]",
            "mailto:\"a@b\"@example.org",
            "mailto:ada@xn--bcher-kva.example",
        ] {
            assert!(is_mbox(mbox), "{mbox}");
        }
    }

    #[test]
    fn what_is_no_address_does_not() {
        for text in [
            "",
            "mailto:",
            "ada@example.org",
            "mailto:ada",
            "mailto:@example.org",
            "mailto:ada@",
            "mailto:a b@example.org",
            "mailto:ada@exa mple.org",
            "mailto:ada@.org",
            "mailto:ada@example..org",
            "mailto:ada@example.org.",
            "mailto:a@x.org,b@y.org",
            "mailto://ada@example.org",
            "http://ada@example.org",
            "mailto:ada@-a.org",
            "mailto:<ada@example.org>",
            "mailto:ada@example.org?subject=x",
            "mailto:ada@b@example.org",
            "mailto:a@[]",
        ] {
            assert!(!is_mbox(text), "{text}");
        }
    }

    #[test]
    fn a_character_holds_in_an_address_by_its_kind_whatever_is_beside_it() {
        for code in 0..0x180u32 {
            let Some(character) = char::from_u32(code) else { continue };
            let is_text = !character.is_control() && !character.is_whitespace();
            let in_local = is_text && !"\"(),:;<>@[\\]".contains(character);
            let in_domain = character.is_ascii_alphanumeric() || "-_.".contains(character) || is_text && code > 0x7F;
            for beside in ["x", "é"] {
                let local = format!("{beside}{character}{beside}");
                // The last @ is the one before the domain.
                assert_eq!(is_mbox(&format!("mailto:{local}@example.org")), in_local, "{local:?}");
                let domain = format!("a{beside}{character}{beside}a");
                assert_eq!(is_address("ada", &domain), in_domain, "{domain:?}");
            }
        }
    }

    #[test]
    fn identifiers_have_one_spelling() {
        let ada = Ifi::Mbox("MailTo:Ada@Example.ORG".into());
        assert_eq!(ada.canonical(), "mbox:Ada@example.org");
        assert_eq!(Ifi::Mbox("mailto:ada@example.org".into()).canonical(), "mbox:ada@example.org");
        assert_eq!(Ifi::OpenId("https://ada.example".into()).canonical(), "openid:https://ada.example");
        let account = Ifi::Account { home_page: "https://lms.example".into(), name: "ada".into() };
        assert_eq!((account.canonical().as_str(), account.mbox_sha1()), ("account:https://lms.example|ada", None));
    }

    #[test]
    fn an_mbox_and_its_hash_are_one_person() {
        // printf mailto:xapi@adlnet.gov | sha1sum
        let hash = "cd9b00a5611f94eaa7b1661edab976068e364975";
        for mbox in ["mailto:xapi@adlnet.gov", "mailto:xapi@ADLnet.gov"] {
            assert_eq!(Ifi::Mbox(mbox.into()).mbox_sha1().as_deref(), Some(hash));
        }
        let hashed = Ifi::MboxSha1(hash.to_uppercase().into());
        assert_eq!(hashed.canonical(), format!("sha1:{hash}"));
        assert_eq!(hashed.mbox_sha1().as_deref(), Some(hash));
    }
}
