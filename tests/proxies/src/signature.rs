//! What a service of AWS does with a request before it looks at it: makes the signature (version 4) anew from what came, and
//! compares. It shares no line with the signer that is under test.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::http::ProxiedRequest;

/// Whose requests are accepted, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The access key.
    pub key: &'a str,
    /// Its secret.
    pub secret: &'a str,
    /// Where the service is.
    pub region: &'a str,
    /// What a signature names.
    pub service: &'a str,
}

impl Account<'_> {
    /// Why the request is refused; `None` where its signature is right.
    pub fn refusal(&self, asked: &ProxiedRequest<'_>) -> Option<String> {
        self.judge(asked).err()
    }

    fn judge(&self, asked: &ProxiedRequest<'_>) -> Result<(), String> {
        let header = |name: &str| {
            let value = asked.headers.get(name).and_then(|value| value.to_str().ok());
            value.map(str::trim).ok_or_else(|| format!("the header {name} is missing"))
        };
        let authorization = header("authorization")?;
        let parts = authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or("the algorithm is another one")?;
        let part = |name: &str| {
            let found = parts.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| format!("{name} is missing"))
        };
        let (scope, names, given) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
        let time = header("x-amz-date")?;
        let day = time.get(..8).ok_or("the time is none")?;
        let Account { key, secret, region, service } = self;
        let own = format!("{key}/{day}/{region}/{service}/aws4_request");
        if scope != own {
            return Err(format!("it is signed for {scope}, and not for {own}"));
        }
        let hash = hex(&Sha256::digest(asked.body));
        if header("x-amz-content-sha256")? != hash {
            return Err("the hash of the body is another one".to_owned());
        }
        let names: Vec<&str> = names.split(';').collect();
        if !["host", "x-amz-content-sha256", "x-amz-date"].iter().all(|name| names.contains(name)) {
            return Err(format!("only {names:?} are signed"));
        }
        let mut canonical = format!("{}\n{}\n{}\n", asked.method, path(asked.uri.path()), query(asked.uri.query()));
        for name in &names {
            let value = header(name)?;
            writeln!(canonical, "{name}:{value}").expect("a text takes everything");
        }
        write!(canonical, "\n{}\n{hash}", names.join(";")).expect("a text takes everything");
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let mut signing = format!("AWS4{secret}").into_bytes();
        for part in [day, *region, *service, "aws4_request", &to_sign] {
            signing = hmac(&signing, part.as_bytes());
        }
        if hex(&signing) == given { Ok(()) } else { Err(format!("the signature is another one, over {canonical:?}")) }
    }
}

/// Each part of a path is encoded once more than it was sent.
fn path(sent: &str) -> String {
    sent.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// Names and values are decoded, encoded as AWS does, and sorted.
fn query(sent: Option<&str>) -> String {
    let pairs = sent.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(if first == b'+' { b' ' } else { first });
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Source: RFC 2104; no key here is longer than a block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = key.to_vec();
    block.resize(BLOCK, 0);
    let padded = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, Method, Uri};
    use bytes::Bytes;

    use super::*;

    const ACCOUNT: Account<'_> =
        Account { key: "AKIDEXAMPLE", secret: "secret/of+alice", region: "eu-central-1", service: "es" };

    /// As botocore's SigV4Auth signs it.
    fn headers() -> HeaderMap {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261126/eu-central-1/es/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=f5eb46b82bf607459eda750cbcb2e836693a5aca61f24813c3b7bdb3a28d94e3";
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", authorization),
            ("content-type", "application/json"),
            ("host", "search.eu-central-1.es.amazonaws.com"),
            ("x-amz-content-sha256", "8692dd0b13a01d48f9b7f36a046a773b769b06bc0b54eac0413aaf1e162a8acb"),
            ("x-amz-date", "20261126T100000Z"),
            ("x-amz-security-token", "session/token+of=alice"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn judged(account: Account<'_>, uri: &'static str, headers: &HeaderMap, body: &'static str) -> Option<String> {
        let (uri, body) = (Uri::from_static(uri), Bytes::from_static(body.as_bytes()));
        account.refusal(&ProxiedRequest { method: &Method::POST, uri: &uri, headers, body: &body })
    }

    #[test]
    fn what_awss_own_signer_made_is_accepted_and_whatever_was_changed_is_not() {
        let (path, body) = ("/xapi-statements/_search?allow_partial_search_results=false", r#"{"size":0}"#);
        assert_eq!(judged(ACCOUNT, path, &headers(), body), None);
        let refused = |account, path, body| judged(account, path, &headers(), body).unwrap();
        assert!(refused(ACCOUNT, "/xapi-statements/_search", body).contains("signature"));
        assert!(refused(ACCOUNT, path, r#"{"size":1}"#).contains("body"));
        assert!(refused(Account { secret: "another", ..ACCOUNT }, path, body).contains("signature"));
        assert!(refused(Account { service: "aoss", ..ACCOUNT }, path, body).contains("aoss"));
        let mut without = headers();
        without.remove("authorization");
        assert!(judged(ACCOUNT, path, &without, body).unwrap().contains("authorization"));
    }

    #[test]
    fn a_query_is_compared_as_it_is_meant_and_not_as_it_is_spelled() {
        assert_eq!(query(Some("b=2&a=items.*.status%2Citems.*")), "a=items.%2A.status%2Citems.%2A&b=2");
        assert_eq!(path("/a%20b/_search"), "/a%2520b/_search");
    }
}
