//! Functions that run elsewhere, behind Lambda's invoke endpoint: AWS's runtime interface emulator, `cargo lambda watch`,
//! `sam local start-lambda`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};
use bytes::Bytes;
use lyceum_event_source_mapping::{HttpFunction, Invoke, InvokeError};
use lyceum_server::connect::StoresConfig;
use tokio::sync::Mutex;

/// Stands for the family in a function's name: `lyceum-{family}`.
const FAMILY_PLACE: &str = "{family}";
/// What the emulator calls its only function.
const ONLY_FUNCTION: &str = "function";

/// Where a function runs, or several: `--functions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFunctions {
    /// The family; `None` is each that no other names.
    family: Option<String>,
    base: String,
    /// The function's name there, with a place for the family's; `None` is the family's alone.
    name: Option<String>,
}

impl FromStr for RemoteFunctions {
    type Err = String;

    /// Reads `URL` or `family=URL`. A URL that goes on behind host and port names the function: by its last part, or as
    /// the whole invoke endpoint; `{family}` in it stands for the family. Of a URL alone the function is called as the
    /// family is, and of one for a single family as the emulator calls its only one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (family, url) = match text.split_once('=') {
            Some((family, url)) if !family.contains("://") => (Some(family.to_owned()), url),
            _ => (None, text),
        };
        let wrong = || {
            format!(
                "{text:?} is no function's address: write http://host:port, or family=http://host:port/function-name"
            )
        };
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() || family.as_ref().is_some_and(String::is_empty) {
            return Err(wrong());
        }
        let path = path.trim_end_matches('/').trim_end_matches("/invocations");
        let named = path.rsplit('/').next().filter(|name| !name.is_empty()).map(str::to_owned);
        let has_place = named.as_ref().is_some_and(|name| name.contains(FAMILY_PLACE));
        if family.is_none() && named.is_some() && !has_place {
            return Err(format!("{text:?} names one function: write family={text}, or {FAMILY_PLACE} in its name"));
        }
        let name = match family {
            Some(_) => Some(named.unwrap_or_else(|| ONLY_FUNCTION.to_owned())),
            None => named,
        };
        Ok(Self { family, base: format!("http://{host}"), name })
    }
}

/// A function under AWS's emulator, which takes one invocation at a time: it ends where a second one comes.
struct Emulated {
    function: HttpFunction,
    turn: Arc<Mutex<()>>,
}

#[async_trait::async_trait]
impl Invoke for Emulated {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        let turn = self.turn.clone().lock_owned().await;
        let function = self.function.clone();
        // By itself: the emulator goes on with an invocation whose caller has given up, and so the turn is not over.
        let invocation = tokio::spawn(async move {
            let answer = function.invoke(payload).await;
            drop(turn);
            answer
        });
        invocation.await.unwrap_or_else(|error| Err(InvokeError::function("Ended", error.to_string())))
    }
}

/// What calls each function that runs elsewhere, by its subscription.
pub(crate) fn connect(remote: &[RemoteFunctions]) -> Result<BTreeMap<&'static str, Arc<dyn Invoke>>> {
    let families: Vec<&'static str> = lyceum_functions::functions().map(|of| of.subscription.name).collect();
    for RemoteFunctions { family, .. } in remote {
        if let Some(family) = family.as_ref().filter(|family| !families.contains(&family.as_str())) {
            bail!("--functions names the function {family:?}; there are {}", families.join(", "));
        }
    }
    let mut connected: BTreeMap<&'static str, Arc<dyn Invoke>> = BTreeMap::new();
    for family in families {
        let own = remote.iter().rev().find(|of| of.family.as_deref() == Some(family));
        let Some(at) = own.or_else(|| remote.iter().rev().find(|of| of.family.is_none())) else { continue };
        let name = at.name.as_deref().unwrap_or(FAMILY_PLACE).replace(FAMILY_PLACE, family);
        let function = HttpFunction::new(&at.base, &name)?;
        let invoked: Arc<dyn Invoke> = match name.as_str() {
            ONLY_FUNCTION => Arc::new(Emulated { function, turn: Arc::default() }),
            _ => Arc::new(function),
        };
        connected.insert(family, invoked);
    }
    Ok(connected)
}

/// A function elsewhere opens stores of its own: an embedded one has one owner, this process.
pub(crate) fn check_stores(remote: &[RemoteFunctions], stores: &StoresConfig) -> Result<()> {
    if remote.is_empty() {
        return Ok(());
    }
    let embedded: Vec<&str> = [
        (
            "the ledger (set DYNAMODB_TABLE, and AWS_ENDPOINT_URL_DYNAMODB where it is not AWS's)",
            stores.dynamodb.is_none(),
        ),
        ("the statements (set ELASTICSEARCH_URL)", stores.elasticsearch.is_none()),
    ]
    .into_iter()
    .filter_map(|(store, is_embedded)| is_embedded.then_some(store))
    .collect();
    if embedded.is_empty() {
        return Ok(());
    }
    bail!(
        "--functions calls functions in other processes, and an embedded store belongs to one process alone. Embedded are \
         {}: take services for them, the same ones that the functions have",
        embedded.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_which_function_is_meant() {
        let read = |text: &str| {
            let RemoteFunctions { family, base, name } = text.parse().unwrap();
            (family.unwrap_or_default(), base, name.unwrap_or_default())
        };
        let base = "http://127.0.0.1:9000";
        for (text, family, name) in [
            (base.to_owned(), "", ""),
            (format!("{base}/"), "", ""),
            (format!("{base}/lyceum-{{family}}"), "", "lyceum-{family}"),
            (format!("training={base}"), "training", "function"),
            (format!("training={base}/TrainingFunction"), "training", "TrainingFunction"),
            (format!("training={base}/2015-03-31/functions/t/invocations"), "training", "t"),
        ] {
            assert_eq!(read(&text), (family.to_owned(), base.to_owned(), name.to_owned()), "{text}");
        }
        for text in ["training", "=http://x", "https://x", "http://", "http://x/f"] {
            assert!(text.parse::<RemoteFunctions>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_family_of_its_own_goes_before_the_address_for_all() {
        let remote: Vec<RemoteFunctions> =
            ["survey=http://a:1", "http://b:2"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(connect(&remote).unwrap().len(), lyceum_functions::functions().count());
        assert_eq!(connect(&remote[..1]).unwrap().keys().collect::<Vec<_>>(), [&"survey"]);
        let unknown = ["surveys=http://a:1".parse().unwrap()];
        assert!(connect(&unknown).err().unwrap().to_string().contains("survey, "));
    }

    #[tokio::test]
    async fn the_emulator_is_called_by_one_at_a_time_also_where_a_caller_gives_up() {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
        use std::time::Duration;

        static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let invoked = || async {
            MOST.fetch_max(UNDER_WAY.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            UNDER_WAY.fetch_sub(1, SeqCst);
            "{}"
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = [format!("survey=http://{}", listener.local_addr().unwrap()).parse().unwrap()];
        let path = "/2015-03-31/functions/function/invocations";
        let emulator = axum::Router::new().route(path, axum::routing::post(invoked));
        tokio::spawn(async move { axum::serve(listener, emulator).await });
        let function = connect(&remote).unwrap().remove("survey").unwrap();
        let given_up = tokio::time::timeout(Duration::from_millis(10), function.invoke(Bytes::new())).await;
        assert!(given_up.is_err());
        let answers = futures::future::join_all((0..4).map(|_| function.invoke(Bytes::new()))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(MOST.load(SeqCst), 1);
    }

    #[test]
    fn embedded_stores_are_refused_by_name() {
        let remote = ["http://b:2".parse().unwrap()];
        let error = check_stores(&remote, &StoresConfig::default()).unwrap_err().to_string();
        assert!(error.contains("DYNAMODB_TABLE") && error.contains("ELASTICSEARCH_URL"), "{error}");
        check_stores(&[], &StoresConfig::default()).unwrap();
    }
}
