//! The HTTP client that others are called with: [`reqwest`], which trusts the certificate authorities of the machine as its other
//! programs do (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), and where it has none, as in a container without any, Mozilla's, which
//! are built in.
//!
//! A client of `reqwest` that is not begun here has no TLS: `clippy.toml` refuses it.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, LazyLock};

use reqwest::{Client, ClientBuilder};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Read once: a file of the machine's authorities has hundreds.
static AUTHORITIES: LazyLock<Arc<RootCertStore>> =
    LazyLock::new(|| Arc::new(authorities(rustls_native_certs::load_native_certs().certs)));

/// Why nobody could be trusted beside the machine's authorities. No text of the certificates is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnusableAuthorities {
    /// It is no PEM, or is cut off.
    Unreadable,
    /// No certificate is in it.
    Empty,
    /// A certificate in it is none of an authority.
    Malformed,
}

impl fmt::Display for UnusableAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "it is no PEM, or a part of it is missing",
            Self::Empty => "no certificate is in it: one begins with -----BEGIN CERTIFICATE-----",
            Self::Malformed => "it holds no certificate authority",
        })
    }
}

impl Error for UnusableAuthorities {}

/// A client without settings of its own.
pub fn client() -> Client {
    builder().build().expect("nothing was set that could be wrong")
}

/// Begins a client.
pub fn builder() -> ClientBuilder {
    begin(AUTHORITIES.clone())
}

/// Begins a client that trusts the authorities of this PEM, too.
///
/// # Errors
/// The PEM holds none.
pub fn trusting(pem: &[u8]) -> Result<ClientBuilder, UnusableAuthorities> {
    let mut trusted = RootCertStore::clone(&AUTHORITIES);
    let before = trusted.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| UnusableAuthorities::Unreadable)?;
        trusted.add(certificate).map_err(|_| UnusableAuthorities::Malformed)?;
    }
    if trusted.len() == before {
        return Err(UnusableAuthorities::Empty);
    }
    Ok(begin(Arc::new(trusted)))
}

#[expect(clippy::disallowed_methods, reason = "here it is given its TLS")]
fn begin(trusted: Arc<RootCertStore>) -> ClientBuilder {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of both versions of TLS")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    // Whoever wants compressed answers says so: one that comes as a stream would wait in the compressor.
    Client::builder().tls_backend_preconfigured(tls).no_gzip()
}

/// An error with its causes: the outermost only says that something was sent.
pub fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(of) = cause {
        text += &format!(": {of}");
        cause = of.source();
    }
    text
}

/// Those of the machine, or where none of them can be read, those that are built in.
fn authorities(of_machine: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut trusted = RootCertStore::empty();
    // Among hundreds one may be of a kind that nobody reads any more.
    trusted.add_parsable_certificates(of_machine);
    if trusted.is_empty() {
        trusted.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    trusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_machine_has_no_authority_those_that_are_built_in_are_trusted() {
        let built_in = authorities(Vec::new());
        assert_eq!(built_in.len(), webpki_roots::TLS_SERVER_ROOTS.len());
        assert_eq!(authorities(vec![CertificateDer::from(b"none".to_vec())]).len(), built_in.len());
    }

    #[test]
    fn a_client_is_made_though_nobody_installed_a_provider() {
        drop(client());
    }

    #[test]
    fn what_holds_no_authority_is_refused_without_its_text() {
        for (pem, why) in [
            ("", UnusableAuthorities::Empty),
            ("hush", UnusableAuthorities::Empty),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", UnusableAuthorities::Empty),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", UnusableAuthorities::Unreadable),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", UnusableAuthorities::Malformed),
        ] {
            assert_eq!(trusting(pem.as_bytes()).err(), Some(why), "{pem}");
        }
    }
}
