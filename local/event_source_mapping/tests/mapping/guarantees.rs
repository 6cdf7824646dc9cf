//! What holds whatever the function does and wherever the process dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use lyceum_core::record::{Position, header_text};
use lyceum_event_source_mapping::{Destination, Invoke, InvokeError, MappingConfig, Redelivery};
use proptest::prelude::*;

use crate::support::*;

/// The records for which the function said that all is well: by position, how often.
type Successes = Arc<Mutex<BTreeMap<(i32, i64), u32>>>;

/// How often each record fails before it succeeds, if it ever does, and in which way the function says so.
#[derive(Clone, Debug)]
struct Plan {
    /// By partition and offset.
    failures: Vec<Vec<u32>>,
    reports_items: bool,
    config: MappingConfig,
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let failures = prop::collection::vec(
        prop::collection::vec(prop_oneof![4 => Just(0u32), 2 => 1..4u32, 1 => Just(1_000)], 0..25),
        1..4,
    );
    let settings = (1..12usize, any::<bool>(), any::<bool>(), any::<bool>(), 0..4u32, 600..4_000usize);
    (failures, any::<bool>(), settings).prop_map(|(failures, reports_items, settings)| {
        let (batch_size, bisects, from_lowest, mix_partitions, retries, payload_limit_bytes) = settings;
        let config = MappingConfig {
            batch_size,
            payload_limit_bytes,
            mix_partitions,
            bisect_batch_on_function_error: bisects,
            report_batch_item_failures: reports_items,
            redelivery: if from_lowest { Redelivery::FromLowestFailed } else { Redelivery::OnlyFailed },
            maximum_retry_attempts: Some(retries),
            on_failure: Some(Destination::Topic(FAILED.into())),
            ..config()
        };
        Plan { failures, reports_items, config }
    })
}

impl Plan {
    fn log(&self) -> Arc<MemoryLog> {
        let log = MemoryLog::with_topics(self.failures.len());
        let longest = self.failures.iter().map(Vec::len).max().unwrap_or(0);
        for offset in 0..longest {
            for (partition, failures) in self.failures.iter().enumerate() {
                if offset < failures.len() {
                    log.append(partition as i32, format!("{partition}/{offset}"));
                }
            }
        }
        log
    }

    fn function(&self) -> (Arc<Function>, Successes) {
        let Self { failures, reports_items, .. } = self.clone();
        let succeeded = Arc::new(Mutex::new(BTreeMap::new()));
        let (delivered, noted) = (Mutex::new(BTreeMap::<(i32, i64), u32>::new()), succeeded.clone());
        let function = Function::new(move |records| {
            let mut delivered = delivered.lock().unwrap();
            let mut failed = Vec::new();
            for Position { partition, offset, .. } in records.iter().map(|record| &record.position) {
                let count = delivered.entry((*partition, *offset)).or_default();
                *count += 1;
                if *count <= failures[*partition as usize][*offset as usize] {
                    failed.push((*partition, *offset));
                }
            }
            if !reports_items && !failed.is_empty() {
                return Err(error());
            }
            let mut noted = noted.lock().unwrap();
            for Position { partition, offset, .. } in records.iter().map(|record| &record.position) {
                if !failed.contains(&(*partition, *offset)) {
                    *noted.entry((*partition, *offset)).or_default() += 1;
                }
            }
            Ok(Answer::Failing(failed))
        });
        (function, succeeded)
    }

    fn positions(&self) -> BTreeSet<(i32, i64)> {
        let partitions = (0..).zip(&self.failures);
        partitions.flat_map(|(partition, of)| (0..of.len() as i64).map(move |offset| (partition, offset))).collect()
    }
}

fn letters_of(log: &MemoryLog) -> Vec<(i32, i64)> {
    let source = |record: &lyceum_core::record::Record| {
        let position: Position = header_text(&record.headers, "lambda-source").unwrap().parse().unwrap();
        (position.partition, position.offset)
    };
    log.records_of(FAILED).iter().map(source).collect()
}

/// Runs the test's future to its end on virtual time.
fn on_virtual_time(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_record_is_settled_once_in_order_and_no_offset_passes_an_unsettled_one(plan in any_plan()) {
        on_virtual_time(async {
            let log = plan.log();
            let (function, succeeded) = plan.function();
            let running = Running::start(plan.config.clone(), &log, &function);
            running.settled().await;
            let counts = running.mapping.status().counts;
            running.stop().await;

            // Once: by success or by a letter. A success may be reported twice where records behind a failed one are redelivered.
            let letters = letters_of(&log);
            let succeeded = succeeded.lock().unwrap().clone();
            let given_up: BTreeSet<_> = letters.iter().copied().collect();
            prop_assert_eq!(given_up.len(), letters.len(), "a letter twice");
            let mut settled: BTreeSet<_> = succeeded.keys().copied().collect();
            prop_assert!(settled.is_disjoint(&given_up) || plan.config.redelivery == Redelivery::FromLowestFailed);
            settled.extend(&given_up);
            prop_assert_eq!(&settled, &plan.positions());
            prop_assert_eq!(counts.succeeded + counts.on_failure, settled.len() as u64);
            if plan.config.redelivery == Redelivery::OnlyFailed {
                prop_assert!(succeeded.values().all(|times| *times == 1));
            }

            // In order, within each event and among first deliveries.
            let firsts = first_deliveries(&function.invocations());
            for partition in 0..plan.failures.len() as i32 {
                let of_partition = |of: &Delivered| -> Vec<i64> {
                    of.iter().filter(|(number, _)| *number == partition).map(|(_, offset)| *offset).collect()
                };
                prop_assert!(of_partition(&firsts).is_sorted());
                for event in function.invocations() {
                    prop_assert!(of_partition(&event).is_sorted());
                }
            }
            prop_assert!(function.payload_sizes().iter().all(|size| *size <= plan.config.payload_limit_bytes));
            Ok(())
        })?;
    }
}

/// Knows the log, so that the process may die in the middle of an invocation, and checks at each that no offset ran ahead.
struct Witness {
    log: Arc<MemoryLog>,
    function: Arc<Function>,
    succeeded: Successes,
}

impl Witness {
    fn check(&self) {
        let succeeded = self.succeeded.lock().unwrap();
        let given_up: BTreeSet<_> = letters_of(&self.log).into_iter().collect();
        for (partition, committed) in self.log.committed_of("group") {
            for offset in 0..committed {
                let position = (partition, offset);
                assert!(
                    succeeded.contains_key(&position) || given_up.contains(&position),
                    "{committed} is committed, but {position:?} is not settled"
                );
            }
        }
    }
}

#[async_trait]
impl Invoke for Witness {
    async fn invoke(&self, payload: Bytes) -> Result<Bytes, InvokeError> {
        self.check();
        self.log.step().await;
        let answer = self.function.invoke(payload).await;
        self.log.step().await;
        answer
    }
}

/// The process dies at every instant there is, one after the other, and each time it goes on from what is committed.
#[test]
fn wherever_the_process_dies_nothing_is_lost() {
    for mix_partitions in [false, true] {
        for reports_items in [false, true] {
            let plan = Plan {
                failures: vec![vec![0, 1, 0, 1_000, 0, 0], vec![2, 0, 0, 1_000]],
                reports_items,
                config: MappingConfig {
                    batch_size: 3,
                    mix_partitions,
                    bisect_batch_on_function_error: true,
                    report_batch_item_failures: reports_items,
                    maximum_retry_attempts: Some(2),
                    on_failure: Some(Destination::Topic(FAILED.into())),
                    ..config()
                },
            };
            let mut steps = 0;
            while on_virtual_time_dies_after(steps, &plan) {
                steps += 1;
            }
            assert!(steps > 30, "it died {steps} times only");
        }
    }
}

/// Whether it died before it was done.
fn on_virtual_time_dies_after(steps: u64, plan: &Plan) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let log = plan.log();
        let (function, succeeded) = plan.function();
        let witness = Arc::new(Witness { log: log.clone(), function, succeeded: succeeded.clone() });
        log.set_steps_left(Some(steps));
        let running = Running::start_mapping(mapping_of(plan.config.clone(), &log, witness.clone()));
        let died = tokio::select! {
            () = log.died() => true,
            () = running.until(|status| status.counts.succeeded + status.counts.on_failure == 10) => false,
        };
        drop(running);
        tokio::task::yield_now().await;
        log.set_steps_left(None);
        witness.check();

        let running = Running::start_mapping(mapping_of(plan.config.clone(), &log, witness.clone()));
        running.settled().await;
        witness.check();
        let mut settled: BTreeSet<_> = succeeded.lock().unwrap().keys().copied().collect();
        settled.extend(letters_of(&log));
        assert_eq!(settled, plan.positions(), "after dying at step {steps}");
        died
    })
}
