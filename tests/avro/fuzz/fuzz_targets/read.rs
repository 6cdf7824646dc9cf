//! Reading Avro keeps its promises, whatever the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lyceum_avro_tests::check(bytes));
