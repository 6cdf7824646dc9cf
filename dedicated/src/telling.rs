//! The metrics of the process as lines of its log, once a minute, for CloudWatch: where `METRICS_NAMESPACE` is set.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::clock::Clock;
use lyceum_core::metrics::{Combine, Metrics, Sample, Unit};
use lyceum_log::emf;
use lyceum_server::consumers::{ConsumerStatus, Consumers};

use crate::status::Status;

/// How often what was observed is put together, so that it takes little memory whatever is processed.
const FOLD_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is told: after so many foldings.
const FOLDINGS: u32 = 60;

/// What is told, and as whose.
pub struct Telling {
    /// `METRICS_NAMESPACE`
    pub namespace: String,
    /// `OTEL_SERVICE_NAME`: the dimension `service` of the lag that the service is scaled by.
    pub service: String,
    /// What is observed.
    pub metrics: Arc<Metrics>,
    /// How far the subscriptions are.
    pub status: Arc<Status>,
    /// The time of the lines.
    pub clock: Arc<dyn Clock>,
}

/// A metric with its labels.
type Series = (&'static str, Vec<(&'static str, Cow<'static, str>)>);

/// What was observed of each series since it was told last.
#[derive(Default)]
struct Folded(BTreeMap<Series, Vec<Sample>>);

impl Folded {
    fn add(&mut self, samples: Vec<Sample>) {
        for sample in samples {
            let of = self.0.entry((sample.name, sample.labels.clone())).or_default();
            let is_full = of.len() >= emf::MOST_VALUES;
            match (sample.combine, of.last_mut()) {
                (Combine::Sum, Some(sum)) => sum.value += sample.value,
                (Combine::Last, Some(last)) => last.value = sample.value,
                // Of each minute the first hundred: a document takes no more, and a thousand batches are told by them as well.
                (Combine::Each, _) if is_full => {}
                (Combine::Each, _) | (_, None) => of.push(sample),
            }
        }
    }

    fn take(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.0).into_values().flatten().collect()
    }
}

/// For how many seconds the oldest record of any subscription has waited.
fn longest_lag(consumers: &[ConsumerStatus]) -> Duration {
    consumers.iter().map(|of| of.waited().max(of.silent())).max().unwrap_or_default()
}

impl Telling {
    /// Tells, every minute.
    pub async fn tell_for_ever(self) {
        let mut folded = Folded::default();
        loop {
            for _ in 0..FOLDINGS {
                self.clock.sleep(FOLD_INTERVAL).await;
                folded.add(self.metrics.take_samples());
            }
            let Ok(consumers) = self.status.status().await else { continue };
            for of in &consumers {
                self.metrics.set_consumer_lag_seconds(&of.topic, &of.function, of.waited());
            }
            folded.add(self.metrics.take_samples());
            folded.add(vec![self.of_service(longest_lag(&consumers))]);
            let version = env!("CARGO_PKG_VERSION");
            for line in emf::documents(&self.namespace, version, self.clock.now_ms(), folded.take()) {
                println!("{line}");
            }
        }
    }

    fn of_service(&self, lag: Duration) -> Sample {
        Sample {
            name: "lyceum_consumer_lag_seconds",
            unit: Unit::Seconds,
            combine: Combine::Last,
            labels: vec![("service", self.service.clone().into())],
            value: lag.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lines(folded: &mut Folded) -> Vec<Value> {
        let lines = emf::documents("Lyceum", "0", 0, folded.take());
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn whatever_is_observed_in_a_minute_takes_little_room_and_counts_are_whole() {
        let (metrics, mut folded) = (Metrics::with_samples(), Folded::default());
        for _ in 0..20 {
            for _ in 0..500 {
                metrics.count_retry("survey");
                metrics.observe_batch_size(7);
            }
            folded.add(metrics.take_samples());
        }
        assert!(folded.0.values().map(Vec::len).sum::<usize>() <= 1 + emf::MOST_VALUES);
        let lines = lines(&mut folded);
        let value = |name: &str| lines.iter().find_map(|line| line.get(name)).cloned();
        assert_eq!(value("lyceum_retries_total"), Some(json!(10_000.0)));
        assert_eq!(value("lyceum_batch_size").and_then(|of| of.as_array().map(Vec::len)), Some(emf::MOST_VALUES));
        assert!(folded.take().is_empty(), "told once");
    }

    #[test]
    fn the_lag_of_the_service_has_that_dimension_and_no_other() {
        let telling = Telling {
            namespace: "Lyceum".into(),
            service: "lyceum-prod-dedicated".into(),
            metrics: Arc::new(Metrics::new()),
            status: Arc::new(Status::new(Vec::new(), Arc::new(lyceum_testing::clock::ManualClock::at(0)))),
            clock: Arc::new(lyceum_testing::clock::ManualClock::at(0)),
        };
        let mut folded = Folded::default();
        folded.add(vec![telling.of_service(Duration::from_millis(1_500))]);
        let lines = lines(&mut folded);
        assert_eq!(lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["service"]]));
        assert_eq!(
            (&lines[0]["service"], &lines[0]["lyceum_consumer_lag_seconds"]),
            (&json!("lyceum-prod-dedicated"), &json!(1.5))
        );
    }
}
