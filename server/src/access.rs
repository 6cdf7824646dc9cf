//! Who may: tokens, the tenant and the roles that they give, and where a request may come from.
//!
//! Beside tokens of one's own there are those of an OIDC issuer ([`Issuer`]): whoever stands before the process verifies them, and hands on
//! what they claim.
//!
//! The tenant of a request comes from its credential alone. Without any token the process serves this machine only, and
//! every tenant; the `Host` and `Origin` rules then keep pages of other sites, which run on this machine too, away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::problem::{Kind, Problem};

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To look.
    Read,
    /// To send events.
    Publish,
    /// To send dead letters again, and to read the metrics of the whole process.
    Operate,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Read, Self::Publish, Self::Operate];

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Operate => "operate",
        }
    }
}

/// A credential. Only the SHA-256 of the secret is kept, and that is not shown either.
#[derive(Clone)]
pub struct Token {
    digest: [u8; 32],
    tenant: Option<String>,
    roles: BTreeSet<Role>,
}

impl Token {
    /// A token for one tenant, or (`None`) for every one.
    pub fn new(secret: &str, tenant: Option<String>, roles: impl IntoIterator<Item = Role>) -> Self {
        Self { digest: Sha256::digest(secret).into(), tenant, roles: roles.into_iter().collect() }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("tenant", &self.tenant).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// Why a token's text cannot be read. It never holds the text, which has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It has too few parts.
    #[error("a token is written tenant:roles:secret, for example acme:read+publish:a-long-random-text")]
    Shape,
    /// A role that is not known.
    #[error("{0:?} is no role; there are read, publish and operate, joined by +")]
    Role(String),
    /// The secret can be guessed.
    #[error("the secret of the token for tenant {0:?} is shorter than 16 characters; take a longer one, at random")]
    Short(String),
}

/// Reads `tenant:roles:secret`; the tenant `*` is every tenant, and the secret may hold colons.
impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let (Some(tenant), Some(roles), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidToken::Shape);
        };
        if tenant.is_empty() {
            return Err(InvalidToken::Shape);
        }
        let role = |name: &str| Role::ALL.into_iter().find(|role| role.name() == name);
        let roles: Result<Vec<_>, _> =
            roles.split('+').map(|name| role(name).ok_or_else(|| InvalidToken::Role(name.to_owned()))).collect();
        if secret.len() < 16 {
            return Err(InvalidToken::Short(tenant.to_owned()));
        }
        Ok(Self::new(secret, (tenant != "*").then(|| tenant.to_owned()), roles?))
    }
}

/// An issuer of OpenID Connect, whose tokens are verified before this process is asked, and how its claims are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What `iss` must be.
    pub issuer: String,
    /// One of which `aud`, or `client_id` where there is none, must name.
    pub audiences: Vec<String>,
    /// The claim that names the tenant; `*` is every one.
    pub tenant_claim: String,
    /// The claim that lists roles: `read`, `publish`, `operate`, or each behind `lyceum-`. Others are no affair of this process.
    pub roles_claim: String,
}

/// What a token claims that was verified: signature, time, issuer and audience. It is put into a request's extensions by the code that gets
/// it from the verifier, and never read from a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(pub BTreeMap<String, String>);

impl Claims {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The parts of a claim that may be a list: API Gateway writes one as `[a b]`, scopes stand apart by spaces.
    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let text = self.text(name).unwrap_or_default();
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        inner.split([' ', ',']).map(|part| part.trim_matches('"')).filter(|part| !part.is_empty())
    }
}

impl Issuer {
    fn caller(&self, claims: &Claims) -> Result<Caller, Problem> {
        let refused = |detail: String| Err(Problem::new(Kind::UNAUTHENTICATED, detail));
        if claims.text("iss") != Some(&self.issuer) {
            return refused(format!("the token is not of the issuer {}; take one of that", self.issuer));
        }
        let for_whom = if claims.text("aud").is_some() { "aud" } else { "client_id" };
        if !claims.list(for_whom).any(|of| self.audiences.iter().any(|known| known == of)) {
            return refused(format!("the token is for another audience than {}", self.audiences.join(" or ")));
        }
        let Some(tenant) = claims.text(&self.tenant_claim) else {
            return refused(format!("the token has no claim {:?}, which names its tenant", self.tenant_claim));
        };
        let role = |name: &str| {
            let name = name.strip_prefix("lyceum-").unwrap_or(name);
            Role::ALL.into_iter().find(|role| role.name() == name)
        };
        let roles = claims.list(&self.roles_claim).filter_map(role).collect();
        Ok(Caller { tenant: (tenant != "*").then(|| tenant.to_owned()), roles })
    }
}

/// The credentials that are known. None: the process is open to this machine.
#[derive(Clone, Debug, Default)]
pub struct Access {
    tokens: Arc<[Token]>,
    issuer: Option<Arc<Issuer>>,
    origins: Arc<[String]>,
}

impl Access {
    /// Open to this machine, for every tenant.
    pub fn open() -> Self {
        Self::default()
    }

    /// Closed but for these tokens; open where there are none.
    pub fn new(tokens: Vec<Token>) -> Self {
        Self { tokens: tokens.into(), ..Self::default() }
    }

    /// The same, and whoever has a verified token of that issuer.
    #[must_use]
    pub fn with_issuer(self, issuer: Issuer) -> Self {
        Self { issuer: Some(Arc::new(issuer)), ..self }
    }

    /// The same, and pages of these origins may ask, each as a browser writes it: `https://academy.example`.
    #[must_use]
    pub fn with_origins(self, origins: Vec<String>) -> Self {
        Self { origins: origins.into(), ..self }
    }

    /// Whether no credential is needed.
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.issuer.is_none()
    }

    /// The tenants that tokens name.
    pub fn tenants(&self) -> impl Iterator<Item = String> + '_ {
        self.tokens.iter().filter_map(|token| token.tenant.clone())
    }

    /// Who asks, by what was verified before, where there is that, else by `Authorization: Bearer TOKEN`, or, for a browser, `Basic` with the
    /// token as password (RFC 7617).
    pub fn authenticate(&self, headers: &HeaderMap, verified: Option<&Claims>) -> Result<Caller, Problem> {
        if self.is_open() {
            return Ok(Caller { tenant: None, roles: Role::ALL.into() });
        }
        if let (Some(issuer), Some(claims)) = (&self.issuer, verified) {
            return issuer.caller(claims);
        }
        let unknown = |detail: &str| Problem::new(Kind::UNAUTHENTICATED, detail);
        let secret = headers.get(AUTHORIZATION).and_then(|value| read_secret(value.as_bytes()));
        let secret = secret.ok_or_else(|| unknown("send the header Authorization: Bearer TOKEN"))?;
        let digest: [u8; 32] = Sha256::digest(secret).into();
        // Every token is compared to its last byte, so that the time tells nothing.
        let found = self.tokens.iter().fold(None, |found, token| {
            let differing = token.digest.iter().zip(digest).fold(0, |sum, (a, b)| sum | (a ^ b));
            if std::hint::black_box(differing) == 0 { Some(token) } else { found }
        });
        let token = found.ok_or_else(|| unknown("this token is not known; ask whoever set API_TOKENS for yours"))?;
        Ok(Caller { tenant: token.tenant.clone(), roles: token.roles.clone() })
    }
}

fn read_secret(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credential) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    let credential = credential.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Some(credential.to_owned())
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        let pair = STANDARD.decode(credential).ok()?;
        Some(pair[pair.iter().position(|byte| *byte == b':')? + 1..].to_owned())
    } else {
        None
    }
}

/// Where to listen: this machine only, unless there are tokens to ask for.
pub fn bind_address(access: &Access, port: u16) -> SocketAddr {
    let address = if access.is_open() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    SocketAddr::new(IpAddr::V4(address), port)
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The only tenant that it sees; `None` sees every one.
    pub tenant: Option<String>,
    /// What it may do.
    pub roles: BTreeSet<Role>,
}

impl Caller {
    /// Refuses a caller without the role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.roles.contains(&role) {
            return Ok(());
        }
        let detail = format!("this needs a token with the role {}; yours has not got it", role.name());
        Err(Problem::new(Kind::FORBIDDEN_ROLE, detail))
    }

    /// The tenant to look at: the credential's, or, where that sees every one, the one asked for (none: all).
    pub fn scope(&self, asked: Option<&str>) -> Result<Option<String>, Problem> {
        let asked = asked.filter(|tenant| !tenant.is_empty());
        match (&self.tenant, asked) {
            (Some(own), Some(asked)) if own != asked => {
                let detail = format!(
                    "your token is for tenant {own:?}, so ask for no other: leave `tenant` (on the command line --tenant) out"
                );
                Err(Problem::new(Kind::FORBIDDEN_TENANT, detail))
            }
            (Some(own), _) => Ok(Some(own.clone())),
            (None, asked) => Ok(asked.map(str::to_owned)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || Problem::new(Kind::UNAUTHENTICATED, "send the header Authorization: Bearer TOKEN");
        parts.extensions.get().cloned().ok_or_else(missing)
    }
}

/// Refuses what a page of another site could make this machine's browser send.
pub fn check_where_from<B>(access: &Access, request: &Request<B>) -> Result<(), Problem> {
    if request.headers().get_all(HOST).iter().count() > 1 {
        // RFC 9112, 3.2: which of them another program on the way believed is not known.
        return Err(Problem::bad_request("the request has several Host headers: send one"));
    }
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| text(request.headers(), HOST.as_str())).unwrap_or_default();
    if access.is_open() && !is_loopback_name(host) {
        let detail = format!(
            "without tokens only this machine is served: ask for 127.0.0.1 or localhost instead of {host:?}, or set API_TOKENS"
        );
        return Err(Problem::new(Kind::FORBIDDEN_HOST, detail));
    }
    let path = request.uri().path();
    // A page that a link leads to is shown, but what costs work to answer is for this server's own page alone.
    let is_for_everybody = path != "/live" && !path.starts_with("/api/") && !path.ends_with(".csv");
    let is_looking = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_looking && is_for_everybody {
        return Ok(());
    }
    if text(request.headers(), ORIGIN.as_str()).is_some_and(|origin| access.origins.iter().any(|known| known == origin))
    {
        return Ok(());
    }
    let site_is_foreign =
        text(request.headers(), "sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let origin_is_foreign = request.headers().get(ORIGIN).is_some_and(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        origin.and_then(|origin| origin.authority().cloned()).is_none_or(|authority| authority.as_str() != host)
    });
    if site_is_foreign || origin_is_foreign {
        let detail = "only this server's own page may ask this from a browser; other programs send no Origin and no Sec-Fetch-Site";
        return Err(Problem::new(Kind::FORBIDDEN_ORIGIN, detail));
    }
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Against DNS rebinding: a name that an attacker can point at this machine is none of these.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    matches!(name, Some("localhost" | "127.0.0.1" | "::1"))
}
