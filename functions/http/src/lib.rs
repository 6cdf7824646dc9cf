//! The page and the HTTP API behind AWS API Gateway and function URLs: the very router of the local runner and the container, by invocations.
//!
//! [`Api::answer`] takes the JSON of one invocation (payload format 2.0) and gives the JSON of its answer; [`open`] connects what the router
//! asks. Nothing here polls or follows: the index of dead letters reads on at each question that needs it, from where the environment's last
//! one stopped, and begins at the beginning in a new environment.

pub mod config;
pub mod groups;
pub mod machine;
pub mod path;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::header::{HOST, SET_COOKIE};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Response, uri};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Adapter, LambdaEvent, Request, Service, service_fn};
use lyceum_core::clock::Clock;
use lyceum_core::metrics::Metrics;
use lyceum_core::subscription::Subscription;
use lyceum_deployed::Given;
use lyceum_deployed::keys::KeysByLook;
use lyceum_deployed::release::{Lives, Made, Release};
use lyceum_deployed::work::Here;
use lyceum_functions::Ports;
use lyceum_server::access::{Access, Claims};
use lyceum_server::alerts::window::Window;
use lyceum_server::config::Config;
use lyceum_server::connect::{Connecting, Places, Purpose, Stores};
use lyceum_server::http::{Part, Services, router_by_invocation};
use lyceum_server::live::Live;
use lyceum_server::replay::HandOver;
use serde_json::{Value, json};

use crate::config::HttpConfig;
use crate::groups::Groups;
use crate::machine::Machine;

/// The end of the names that Lambda gives to function URLs.
const OF_FUNCTION_URLS: &str = ".on.aws";

/// The router, ready for invocations.
#[derive(Clone)]
pub struct Api {
    router: Router,
}

impl Api {
    /// Of these services, for a part of the routes.
    pub fn new(services: Services, part: Part) -> Self {
        Self { router: router_by_invocation(services, part) }
    }

    /// The answer to one request, both as payload format 2.0 has them.
    ///
    /// # Errors
    /// Where the invocation is no request: whoever called the function by hand is told what it takes.
    pub async fn answer(&self, payload: &str, context: lambda_http::Context) -> Result<Value> {
        let request: LambdaRequest = serde_json::from_str(payload).context(
            "this function answers requests of an HTTP API of API Gateway or of a function URL, payload format 2.0",
        )?;
        let LambdaRequest::ApiGatewayV2(request) = request else {
            anyhow::bail!("this function answers payload format 2.0 alone: set PayloadFormatVersion to \"2.0\"")
        };
        let request = match readable(request) {
            Ok(request) => LambdaRequest::ApiGatewayV2(request),
            Err(told) => return Ok(refusal(told)),
        };
        let router = self.router.clone();
        let serve = service_fn(move |request: Request| answered(router.clone(), request));
        let answer = Adapter::from(serve).call(LambdaEvent::new(request, context)).await?;
        serde_json::to_value(answer).context("an answer is JSON")
    }
}

/// A page or an answer is told from what it holds by its content type; all of it is at hand, since an invocation has one answer.
async fn answered(mut router: Router, mut request: Request) -> Result<Response<lambda_http::Body>, axum::Error> {
    let verified = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => {
            context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref())
        }
        _ => None,
    };
    if let Some(jwt) = verified {
        let claims = Claims(jwt.claims.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
        request.extensions_mut().insert(claims);
    }
    let Ok(answer) = router.call(request).await;
    let (mut parts, body) = answer.into_parts();
    combine(&mut parts.headers);
    let bytes = axum::body::to_bytes(body, usize::MAX).await?;
    Ok(Response::from_parts(parts, lambda_http::Body::from(bytes.to_vec())))
}

/// Payload format 2.0 has one value of a header: several are one with commas between (RFC 9110, 5.3), cookies apart, which have a place of
/// their own.
fn combine(headers: &mut HeaderMap) {
    let several: Vec<HeaderName> = headers
        .keys()
        .filter(|name| **name != SET_COOKIE && headers.get_all(*name).iter().count() > 1)
        .cloned()
        .collect();
    for name in several {
        let values: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(combined) = HeaderValue::from_bytes(&values.join(&b", "[..])) {
            headers.insert(name, combined);
        }
    }
}

/// A request of which lambda_http can make one of Rust's: where it cannot it panics. The path is the one that was sent.
fn readable(mut request: ApiGatewayV2httpRequest) -> Result<ApiGatewayV2httpRequest, &'static str> {
    let is_url = request.request_context.domain_name.as_deref().is_some_and(|name| name.ends_with(OF_FUNCTION_URLS));
    let raw = request.raw_path.take().unwrap_or_default();
    request.raw_path = Some(if is_url { path::encoded(&raw) } else { path::restored(&raw) });
    request.raw_query_string = request.raw_query_string.map(|raw| path::query(&raw));
    request.headers.remove(HeaderName::from_static("x-forwarded-proto"));
    if !host_is_readable(&request.headers) {
        return Err("the request's Host header is no name of a host");
    }
    let body = request.body.as_deref().filter(|_| request.is_base64_encoded).unwrap_or_default();
    if !is_base64(body) {
        return Err("the request's body is said to be base64, and is not");
    }
    Ok(request)
}

fn host_is_readable(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let host = host.to_str().ok().filter(|host| !host.contains('@'));
    host.is_some_and(|host| host.parse::<uri::Authority>().is_ok())
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    text.len().is_multiple_of(4)
        && padding <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn refusal(detail: &str) -> Value {
    let problem = json!({
        "type": "urn:problem-type:lyceum:bad-request", "title": "The request cannot be read", "status": 400,
        "detail": detail,
    });
    json!({
        "statusCode": 400, "headers": {"content-type": "application/problem+json"}, "body": problem.to_string(),
        "isBase64Encoded": false, "cookies": [],
    })
}

/// Asks a router in this process.
pub async fn call(router: &mut Router, request: lambda_http::http::Request<Body>) -> Response<Body> {
    match Service::<lambda_http::http::Request<Body>>::call(router, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The API of these settings, connected.
///
/// # Errors
/// As [`services`].
pub async fn open(config: &HttpConfig, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Result<Api> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let machine = Machine::new(config.replay_machine.clone(), variable)?;
    let services = services(&config.server, config.access.clone(), Some(Arc::new(machine)), clock, metrics).await?;
    Ok(Api::new(services, config.part))
}

/// Connects what the router asks: no service is called before a request needs it, and what is missing in one stays missing. `hand_over` is who
/// goes on with replays, where this process only begins them.
///
/// # Errors
/// Where a client cannot be made, and why.
pub async fn services(
    config: &Config,
    access: Access,
    hand_over: Option<Arc<dyn HandOver>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> Result<Services> {
    let catalog = Arc::new(lyceum_catalog::catalog());
    let of = &config.stores;
    let mut connecting = Connecting::new(of, Purpose::Look, Places::of(of, "nowhere"), &metrics);
    let event_log = connecting.event_log().await?.context("the settings name no Kafka")?;
    let ledger = connecting.ledger(&clock, &catalog).await?.context("the settings name no ledger")?;
    let statements = connecting.statements().await?.context("the settings name no statement store")?;
    let audit = connecting.audit().await?.context("the settings name no audit log")?;
    let stores = connecting.finish(event_log, ledger, statements, audit, &catalog).await?;
    let generator = lyceum_connect::generator::connect(&config.generator, of.secrets.as_ref())?;
    let live = Arc::new(Live::new(clock.clone(), access.tenants()));
    let services = lyceum_core::process::Services {
        event_log: stores.event_log.clone(),
        ledger: stores.ledger.clone(),
        statements: stores.statements.clone(),
        schemas: stores.schemas.clone(),
        clock: clock.clone(),
        observer: metrics.clone(),
    };
    let ports = Ports { services, generator, audit: stores.audit.clone() };
    let Stores { event_log, .. } = &stores;
    let groups = Groups::new(&config.group, event_log.clone(), clock.clone());
    let prefix = config.group.clone();
    let all: Vec<_> = lyceum_functions::functions().collect();
    // It is built by a process that stays; here is told how far it is.
    let group = move |of: &Subscription, topic: &str| format!("{prefix}-{}", of.mapping_group(topic));
    let release = Release {
        config,
        stores: &stores,
        ports: &ports,
        catalog: &catalog,
        metrics: &metrics,
        functions: &all,
        made: &all,
        group: Arc::new(group),
        alone_since_ms: None,
        lives: Lives::ByInvocation(hand_over),
    };
    let Made { functions, rebuilds, replays } = release.make();
    let work = Here {
        functions: functions.clone(),
        groups: groups.by_topic(),
        event_log: event_log.clone(),
        endings: Arc::default(),
        clock: clock.clone(),
    };
    let given = Given {
        catalog,
        metrics,
        live,
        window: Arc::new(Window::new(clock.clone())),
        usage: Arc::default(),
        functions,
        keys: Arc::new(KeysByLook::new(config.process.envelope.clone())),
        consumers: Arc::new(groups),
        work: Arc::new(work),
        rebuilds,
        replays,
        access,
        at: "localhost".to_owned(),
        clock,
        stores,
    };
    Ok(given.services(config))
}
