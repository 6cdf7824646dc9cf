//! What reading Avro promises, of bytes that proptest makes.

use lyceum_avro_tests::check;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn reading_keeps_its_promises_whatever_the_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }
}
