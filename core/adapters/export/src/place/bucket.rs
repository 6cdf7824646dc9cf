//! A bucket of S3, and a prefix in it. An object is there as a whole or not at all.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use lyceum_core::replay::SinkError;
use tokio::sync::OnceCell;

use super::Place;

/// How long one attempt of a call may take: an object has a few MiB.
const ATTEMPT: Duration = Duration::from_secs(60);
/// So many objects are removed at once.
const AT_ONCE: usize = 16;

/// S3, connected by the first call: as the environment says, unless a client is given.
#[derive(Clone, Default)]
pub(crate) struct S3(Arc<OnceCell<Client>>);

impl From<Client> for S3 {
    fn from(client: Client) -> Self {
        Self(Arc::new(OnceCell::new_with(Some(client))))
    }
}

impl S3 {
    async fn client(&self) -> &Client {
        let connect = || async {
            let config = lyceum_aws::load().await;
            let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
            let has_endpoint = names.iter().any(|name| std::env::var_os(name).is_some());
            let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build();
            // Stand-ins answer at one host, so the bucket goes into the path.
            let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(has_endpoint);
            Client::from_conf(config.timeout_config(timeouts).build())
        };
        self.0.get_or_init(connect).await
    }
}

pub(crate) struct Bucket {
    bucket: String,
    /// Empty, or with a `/` at its end.
    prefix: String,
    s3: S3,
}

impl Bucket {
    /// What stands behind `s3://`.
    pub(crate) fn parse(text: &str, s3: &S3) -> Result<Self, SinkError> {
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        if bucket.is_empty() {
            return Err(SinkError::Refused("the bucket's name is missing: write s3://bucket/prefix".to_owned()));
        }
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: bucket.to_owned(), prefix, s3: s3.clone() })
    }

    async fn remove_one(&self, name: &str) -> Result<(), SinkError> {
        let delete = self.s3.client().await.delete_object().bucket(&self.bucket).key(self.key(name));
        delete.send().await.map(drop).map_err(|error| self.failed("remove", name, &error))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn failed<E>(&self, what: &str, name: &str, error: &SdkError<E>) -> SinkError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let place = self.show(name);
        let causes = std::iter::successors(Some(error as &dyn Error), |error| (**error).source());
        let why = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        judge(what, &place, &self.bucket, code, status, why)
    }
}

/// What an answer of S3 means.
fn judge(what: &str, place: &str, bucket: &str, code: &str, status: u16, why: String) -> SinkError {
    match (code, status) {
        ("NoSuchBucket", _) => SinkError::Refused(format!(
            "there is no bucket {bucket}: make it, or name another one; {place} was asked for"
        )),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) | (_, 301) => SinkError::Refused(format!(
            "cannot {what} {place}: the bucket is in another region; set AWS_REGION to it ({why})"
        )),
        // Whoever is throttled waits.
        ("SlowDown" | "RequestTimeout" | "OperationAborted", _) | (_, 429) => {
            SinkError::Unavailable(format!("cannot {what} {place}: {why}"))
        }
        (_, 401 | 403) => SinkError::Refused(format!(
            "cannot {what} {place}: S3 refuses the credentials, or they lack a right; it takes s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject ({why})"
        )),
        (_, 400..=499) => SinkError::Refused(format!("cannot {what} {place}: {why}")),
        _ => SinkError::Unavailable(format!("cannot {what} {place}: {why}")),
    }
}

#[async_trait]
impl Place for Bucket {
    async fn list(&self) -> Result<Vec<String>, SinkError> {
        let listing = self.s3.client().await.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix);
        let mut pages = listing.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("list", "", &error))?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            found.extend(keys.filter_map(|key| key.strip_prefix(&self.prefix)).map(str::to_owned));
        }
        Ok(found)
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>, SinkError> {
        let got = self.s3.client().await.get_object().bucket(&self.bucket).key(self.key(name)).send().await;
        match got {
            Ok(object) => {
                let body = object.body.collect().await;
                let cut_off = |error| SinkError::Unavailable(format!("{} was cut off: {error}", self.show(name)));
                Ok(Some(body.map_err(cut_off)?.into_bytes()))
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => Ok(None),
            Err(error) => Err(self.failed("read", name, &error)),
        }
    }

    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), SinkError> {
        let put = self.s3.client().await.put_object().bucket(&self.bucket).key(self.key(name)).body(bytes.into());
        put.send().await.map(drop).map_err(|error| self.failed("write", name, &error))
    }

    async fn remove(&self, names: &[String]) -> Result<(), SinkError> {
        let mut each = Vec::with_capacity(names.len());
        for name in names {
            each.push(self.remove_one(name));
        }
        futures::stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn look(&self) -> Result<(), SinkError> {
        let listing = self.s3.client().await.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(1);
        listing.send().await.map(drop).map_err(|error| self.failed("list", "", &error))
    }

    fn show(&self, name: &str) -> String {
        format!("s3://{}/{}{name}", self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Bucket::parse(text, &S3::default()).expect("it is a place").show("manifest.json")
    }

    #[test]
    fn a_prefix_has_one_slash_behind_it_however_it_is_written() {
        for text in ["b/a/c", "b/a/c/", "b//a/c//"] {
            assert_eq!(parsed(text), "s3://b/a/c/manifest.json");
        }
        assert_eq!(parsed("b"), "s3://b/manifest.json");
        assert_eq!(parsed("b/"), "s3://b/manifest.json");
        assert!(
            Bucket::parse("/a", &S3::default()).is_err_and(|error| error.to_string().contains("s3://bucket/prefix"))
        );
    }

    #[test]
    fn what_a_person_must_mend_is_refused_and_what_may_pass_is_not() {
        let judged = |code: &str, status: u16| judge("write", "s3://b/x", "b", code, status, "why".to_owned());
        for (code, status, says) in [
            ("NoSuchBucket", 404, "no bucket b"),
            ("AccessDenied", 403, "s3:PutObject"),
            ("InvalidAccessKeyId", 403, "credentials"),
            ("PermanentRedirect", 301, "AWS_REGION"),
            ("EntityTooLarge", 400, "why"),
        ] {
            let error = judged(code, status);
            assert!(!error.is_transient() && error.to_string().contains(says), "{code}: {error}");
        }
        for (code, status) in [("SlowDown", 503), ("InternalError", 500), ("", 0), ("RequestTimeout", 400), ("", 429)] {
            assert!(judged(code, status).is_transient(), "{code} {status}");
        }
    }
}
