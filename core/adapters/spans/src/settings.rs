//! What the environment says of spans, by the names that OpenTelemetry gives.
//!
//! Source: OpenTelemetry specification, "Environment Variable Specification" and "OpenTelemetry Protocol Exporter".

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lyceum_core::environment::{Reading, Table, Variable, choice, milliseconds, optional, text, whole};
use percent_encoding::percent_decode_str;

const DISABLED: Variable<bool> =
    choice("OTEL_SDK_DISABLED", &[("false", false), ("true", true)], "whether no span is made, whatever else is set");
const EXPORTER: Variable<Option<String>> = optional(
    "OTEL_TRACES_EXPORTER",
    "where spans go: `otlp`, to a collector; `xray`, to the X-Ray daemon, which Lambda has with active tracing; `none`; where it is not set, `otlp` if an endpoint is, else `none`",
);
const ENDPOINT: Variable<Option<String>> = optional(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "a collector that takes OTLP over HTTP, `http://host:4318`; spans go to `/v1/traces` there",
);
const TRACES_ENDPOINT: Variable<Option<String>> =
    optional("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "the same with its path, for spans alone");
const HEADERS: Variable<Option<String>> = optional(
    "OTEL_EXPORTER_OTLP_HEADERS",
    "what the collector is shown, `name=value` separated by commas, values percent-encoded; a secret",
);
const PROTOCOL: Variable<()> = choice("OTEL_EXPORTER_OTLP_PROTOCOL", &[("http/protobuf", ())], "the form of OTLP");
const TIMEOUT: Variable<Duration> = milliseconds(
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    10_000,
    1..=60_000,
    "how long the collector may take; a function waits for it no longer than a second, whatever is set",
);
const QUEUE: Variable<usize> =
    whole("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1..=1_000_000, "so many spans wait for being sent; further ones are lost");
const SERVICE: Variable<Option<String>> =
    optional("OTEL_SERVICE_NAME", "the name of the service in traces; without it the function's, else `lyceum`");
const RESOURCE: Variable<Option<String>> = optional(
    "OTEL_RESOURCE_ATTRIBUTES",
    "what spans say of the process, `name=value` separated by commas, values percent-encoded",
);
const SAMPLER: Variable<Sampling> = choice(
    "OTEL_TRACES_SAMPLER",
    &[
        ("parentbased_always_on", Sampling { obeys_parent: true, part: Part::All }),
        ("parentbased_traceidratio", Sampling { obeys_parent: true, part: Part::Argument }),
        ("parentbased_always_off", Sampling { obeys_parent: true, part: Part::None }),
        ("always_on", Sampling { obeys_parent: false, part: Part::All }),
        ("traceidratio", Sampling { obeys_parent: false, part: Part::Argument }),
        ("always_off", Sampling { obeys_parent: false, part: Part::None }),
    ],
    "which traces are kept: those that a record's sender keeps (`parentbased_…`), and of those that begin here all, a part or none",
);
const SAMPLER_ARGUMENT: Variable<String> =
    text("OTEL_TRACES_SAMPLER_ARG", "1", "of a sampler by ratio: the part of traces, from 0 to 1");
const DAEMON: Variable<String> =
    text("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000", "with `xray`: where its daemon listens; Lambda sets it");

/// What a process reads that may send spans.
pub const SPAN_VARIABLES: Table = &[
    &DAEMON,
    &QUEUE,
    &ENDPOINT,
    &HEADERS,
    &PROTOCOL,
    &TIMEOUT,
    &TRACES_ENDPOINT,
    &RESOURCE,
    &DISABLED,
    &SERVICE,
    &EXPORTER,
    &SAMPLER,
    &SAMPLER_ARGUMENT,
];

#[derive(Clone, Copy, Debug)]
struct Sampling {
    obeys_parent: bool,
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    All,
    Argument,
    None,
}

/// What a collector is shown: names and values of headers. Values may be secrets.
pub type Headers = Vec<(String, String)>;

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct SpansSettings {
    /// Where they go.
    pub way: Way,
    /// So many wait at most.
    pub queue: usize,
    /// How long one sending may take.
    pub timeout: Duration,
    /// Whether what a record's sender decided about its trace holds.
    pub obeys_parent: bool,
    /// The part that is kept of the traces that begin here, from 0 to 1.
    pub ratio: f64,
    /// The name of the service.
    pub service: String,
    /// What they say of the process.
    pub resource: Vec<(String, String)>,
}

/// Where spans go.
#[derive(Clone, PartialEq)]
pub enum Way {
    /// To a collector, by OTLP over HTTP.
    Otlp {
        /// Where, with its path.
        url: String,
        /// What it is shown at first.
        headers: Headers,
    },
    /// To the X-Ray daemon, as segment documents by UDP.
    XRay {
        /// Where it listens: an address and a port.
        daemon: String,
    },
}

/// Names of headers alone: a value may be a secret.
impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Otlp { url, headers } => {
                let names: Vec<&String> = headers.iter().map(|(name, _)| name).collect();
                f.debug_struct("Otlp").field("url", url).field("headers", &names).finish()
            }
            Self::XRay { daemon } => f.debug_struct("XRay").field("daemon", daemon).finish(),
        }
    }
}

impl SpansSettings {
    /// Reads what a collector is shown, and nothing else.
    pub fn headers(reading: &mut Reading<'_>) -> Headers {
        pairs(reading, &HEADERS)
    }

    /// Reads [`SPAN_VARIABLES`]; `None` where no span is to be made.
    pub fn read(reading: &mut Reading<'_>) -> Option<Self> {
        let is_disabled = reading.read(&DISABLED);
        let url = url(reading);
        let headers = Self::headers(reading);
        let daemon = daemon(reading);
        let mut resource = pairs(reading, &RESOURCE);
        let Sampling { obeys_parent, part } = reading.read(&SAMPLER);
        let argument = argument(reading);
        let ratio = match part {
            Part::All => 1.0,
            Part::Argument => argument,
            Part::None => 0.0,
        };
        reading.read(&PROTOCOL);
        let (queue, timeout) = (reading.read(&QUEUE), reading.read(&TIMEOUT));
        let service = reading.read(&SERVICE);
        let service = service.or_else(|| take(&mut resource, "service.name"));
        let service =
            service.or_else(|| reading.foreign("AWS_LAMBDA_FUNCTION_NAME")).unwrap_or_else(|| "lyceum".into());
        for (name, value) in of_lambda(reading) {
            if !resource.iter().any(|(given, _)| given == name) {
                resource.push((name.to_owned(), value));
            }
        }
        let way = match reading.read(&EXPORTER).as_deref() {
            Some("none") => None,
            Some("xray") => Some(Way::XRay { daemon }),
            // Where OpenTelemetry has a collector that nobody names, such as the one in a layer.
            Some("otlp") => {
                Some(Way::Otlp { url: url.unwrap_or_else(|| "http://localhost:4318/v1/traces".to_owned()), headers })
            }
            None => url.map(|url| Way::Otlp { url, headers }),
            Some(other) => {
                reading.refuse(format!("OTEL_TRACES_EXPORTER is {other:?}, and must be one of otlp, xray, none"));
                None
            }
        };
        way.filter(|_| !is_disabled).map(|way| Self { way, queue, timeout, obeys_parent, ratio, service, resource })
    }
}

/// The collector's, with its path.
fn url(reading: &mut Reading<'_>) -> Option<String> {
    let base = reading.read(&ENDPOINT);
    let own = reading.read(&TRACES_ENDPOINT);
    for (variable, given) in [(&ENDPOINT, &base), (&TRACES_ENDPOINT, &own)] {
        if given.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            reading.refuse(format!("{} must begin with http:// or https://", variable.name()));
        }
    }
    own.or_else(|| base.map(|base| format!("{}/v1/traces", base.trim_end_matches('/'))))
}

/// Of two forms, `address:port` and `tcp:address:port udp:address:port`. Source: AWS X-Ray developer guide, "Configuring the X-Ray
/// SDK", environment variables.
fn daemon(reading: &mut Reading<'_>) -> String {
    let given = reading.read(&DAEMON);
    let of_udp = given.split_whitespace().find_map(|word| word.strip_prefix("udp:")).unwrap_or(&given);
    let has_port =
        || of_udp.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if of_udp.parse::<SocketAddr>().is_err() && !has_port() {
        reading
            .refuse(format!("AWS_XRAY_DAEMON_ADDRESS is {given:?}, and must be an address and a port, 127.0.0.1:2000"));
    }
    of_udp.to_owned()
}

fn argument(reading: &mut Reading<'_>) -> f64 {
    let text = reading.read(&SAMPLER_ARGUMENT);
    let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    if ratio.is_none() {
        reading.refuse(format!("OTEL_TRACES_SAMPLER_ARG is {text:?}, and must be a number from 0 to 1"));
    }
    ratio.unwrap_or(1.0)
}

/// Names and values; what is wrong is told by its place, since a value may be a secret.
fn pairs(reading: &mut Reading<'_>, variable: &Variable<Option<String>>) -> Vec<(String, String)> {
    let text = reading.read(variable).unwrap_or_default();
    let mut pairs = Vec::new();
    for (number, pair) in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).enumerate() {
        let parts = pair.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        match parts.filter(|(name, _)| !name.is_empty()) {
            Some((name, value)) => {
                pairs.push((name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()));
            }
            None => reading.refuse(format!("{}, pair {}: it must be name=value", variable.name(), number + 1)),
        }
    }
    pairs
}

fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = pairs.iter().position(|(given, _)| given == name)?;
    Some(pairs.remove(at).1)
}

/// What Lambda says of a function. Source: OpenTelemetry's semantic conventions, "FaaS resource".
fn of_lambda<'a>(reading: &Reading<'_>) -> Vec<(&'a str, String)> {
    let Some(name) = reading.foreign("AWS_LAMBDA_FUNCTION_NAME") else { return Vec::new() };
    let bytes = |megabytes: String| Some((megabytes.parse::<u64>().ok()? << 20).to_string());
    let told = [
        ("cloud.provider", Some("aws".to_owned())),
        ("cloud.platform", Some("aws_lambda".to_owned())),
        ("cloud.region", reading.foreign("AWS_REGION")),
        ("faas.name", Some(name)),
        ("faas.version", reading.foreign("AWS_LAMBDA_FUNCTION_VERSION")),
        ("faas.instance", reading.foreign("AWS_LAMBDA_LOG_STREAM_NAME")),
        ("faas.max_memory", reading.foreign("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(bytes)),
    ];
    told.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use lyceum_core::environment::WrongEnvironment;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<SpansSettings>, WrongEnvironment> {
        lyceum_testing::environment::read(variables, SpansSettings::read)
    }

    fn way(variables: &[(&str, &str)]) -> Option<Way> {
        read(variables).unwrap().map(|settings| settings.way)
    }

    fn otlp(url: &str) -> Option<Way> {
        Some(Way::Otlp { url: url.to_owned(), headers: Vec::new() })
    }

    #[test]
    fn no_span_is_made_unless_somebody_says_where_it_goes() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        assert_eq!(way(&[]), None);
        assert_eq!(way(&[("OTEL_SERVICE_NAME", "x"), ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000")]), None);
        assert_eq!(way(&[endpoint]), otlp("http://collector:4318/v1/traces"));
        assert_eq!(way(&[endpoint, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(way(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), None);
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/of-us");
        assert_eq!(way(&[endpoint, own]), otlp("https://traces.example/of-us"));
        assert_eq!(way(&[("OTEL_TRACES_EXPORTER", "otlp")]), otlp("http://localhost:4318/v1/traces"));
        let xray = ("OTEL_TRACES_EXPORTER", "xray");
        let at = |daemon: &str| Some(Way::XRay { daemon: daemon.to_owned() });
        assert_eq!(way(&[xray]), at("127.0.0.1:2000"));
        let both = ("AWS_XRAY_DAEMON_ADDRESS", "tcp:127.0.0.1:3000 udp:127.0.0.2:3000");
        assert_eq!(way(&[xray, both]), at("127.0.0.2:3000"));
    }

    #[test]
    fn a_sampler_is_read_by_its_name() {
        let sampled = |sampler: &str| {
            let exporter = ("OTEL_TRACES_EXPORTER", "otlp");
            let ratio = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
            let settings = read(&[exporter, ratio, ("OTEL_TRACES_SAMPLER", sampler)]).unwrap().unwrap();
            (settings.obeys_parent, settings.ratio)
        };
        for (name, expected) in [
            ("", (true, 1.0)),
            ("parentbased_always_on", (true, 1.0)),
            ("parentbased_traceidratio", (true, 0.25)),
            ("parentbased_always_off", (true, 0.0)),
            ("always_on", (false, 1.0)),
            ("traceidratio", (false, 0.25)),
            ("always_off", (false, 0.0)),
        ] {
            assert_eq!(sampled(name), expected, "{name}");
        }
    }

    #[test]
    fn a_function_is_told_by_what_lambda_says_of_it_unless_somebody_says_otherwise() {
        let lambda = [
            ("OTEL_TRACES_EXPORTER", "xray"),
            ("AWS_LAMBDA_FUNCTION_NAME", "lyceum-survey"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ];
        let settings = read(&lambda).unwrap().unwrap();
        assert_eq!(settings.service, "lyceum-survey");
        assert!(settings.resource.contains(&("faas.max_memory".to_owned(), "536870912".to_owned())), "{settings:?}");
        let given =
            [("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20name, deployment.environment.name=prod,faas.name=f")];
        let settings = read(&[&lambda[..], &given].concat()).unwrap().unwrap();
        assert_eq!(settings.service, "a name");
        let named: Vec<_> = settings.resource.iter().filter(|(name, _)| name == "faas.name").collect();
        assert_eq!(named, [&("faas.name".to_owned(), "f".to_owned())]);
        let settings = read(&[&lambda[..], &given, &[("OTEL_SERVICE_NAME", "named")]].concat()).unwrap().unwrap();
        assert_eq!(settings.service, "named");
    }

    #[test]
    fn every_wrong_value_is_reported_and_no_header_is_told() {
        let wrong = [
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_TRACES_SAMPLER", "all"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("AWS_XRAY_DAEMON_ADDRESS", "here"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ];
        let text = read(&wrong).unwrap_err().to_string();
        for (name, _) in wrong {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2%21, x=y");
        let settings = read(&[("OTEL_TRACES_EXPORTER", "otlp"), headers]).unwrap().unwrap();
        let Way::Otlp { headers, .. } = &settings.way else { panic!("{settings:?}") };
        assert_eq!(headers[0], ("api-key".to_owned(), "hunter2!".to_owned()));
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }
}
