//! Certificates of one folder: an authority, a broker on `localhost`, a client.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Writes `ca.pem`, `broker.pem` (key and certificates), `client.pem` and `client.key`, and for who is both `node.pem` and `node.key`.
pub(crate) fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "services of one machine");
    params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature]);
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);

    let (client, client_key) = leaf(&issuer, "alice", &[ExtendedKeyUsagePurpose::ClientAuth])?;
    let (broker, broker_key) = leaf(&issuer, "localhost", &[ExtendedKeyUsagePurpose::ServerAuth])?;
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let (node, node_key) = leaf(&issuer, "node", &both)?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    fs::write(folder.join("client.pem"), client)?;
    fs::write(folder.join("client.key"), client_key)?;
    fs::write(folder.join("node.pem"), node)?;
    fs::write(folder.join("node.key"), node_key)?;
    Ok(fs::write(folder.join("broker.pem"), format!("{broker_key}{broker}{}", authority.pem()))?)
}

/// Certificate and key, PEM.
fn leaf(issuer: &Issuer<'_, KeyPair>, name: &str, usages: &[ExtendedKeyUsagePurpose]) -> Result<(String, String)> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    params.extended_key_usages.extend_from_slice(usages);
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}
