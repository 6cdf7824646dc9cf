//! The bucket of what was given up: objects are read, and nothing else is done with them.

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use lyceum_aws::call::Service;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands for itself in a key of a path. Source: S3's API reference, "object key naming", and RFC 3986, 2.3.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Where objects are read.
#[async_trait]
pub trait ReadObjects: Send + Sync {
    /// What an object holds; `None` where it is there no more.
    ///
    /// # Errors
    /// Where it is not given, and why.
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>>;
}

/// One bucket of S3.
pub struct Bucket {
    s3: Service,
    name: String,
}

impl Bucket {
    /// A bucket in the region that the environment names.
    ///
    /// # Errors
    /// Where the name is none that S3 gives.
    pub fn new(name: &str, region: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        if name.len() < 3 || !is_name(name) {
            bail!("FAILED_BUCKET is {name:?}, which is no bucket's name");
        }
        Ok(Self { s3: Service::new("s3", region, variable), name: name.to_owned() })
    }
}

#[async_trait]
impl ReadObjects for Bucket {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = format!("/{}/{}", self.name, utf8_percent_encode(key, KEY));
        let answer = self.s3.send("GET", &path, &[], "").await?;
        match answer.status {
            200 => Ok(Some(answer.body.into_bytes())),
            404 => Ok(None),
            403 => {
                bail!("the role needs s3:GetObject for {key} of the bucket {}, and kms:Decrypt for its key", self.name)
            }
            status => {
                Err(anyhow::anyhow!("S3 answers {status}: {}", answer.body.chars().take(300).collect::<String>()))
                    .with_context(|| format!("{key} of the bucket {} cannot be read", self.name))
            }
        }
    }
}
