//! Luck from a seed: the same on every machine and whatever else the program is built with. Only sums, products and comparisons of
//! floating-point numbers are used, which IEEE 754 rounds in one way; logarithms and sines are the platform's own.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A source of luck.
#[derive(Clone, Debug)]
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// Of a name: whoever asks for the same one gets the same luck.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(Xoshiro256PlusPlus::from_seed(digest.finalize().into()))
    }

    /// 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 up to and without `end`, which is at least 1; the bias is below 2⁻⁴⁰ for what is asked here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end.max(1))) >> 64) as u64
    }

    /// From the first to the last, both included.
    pub(crate) fn between(&mut self, first: i64, last: i64) -> i64 {
        first + self.below((last - first).max(0) as u64 + 1) as i64
    }

    /// From 0 up to and without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Whether something of that probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// About normal, of mean 0 and variance 1: a sum of twelve uniform numbers.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).fold(-6.0, |sum, _| sum + self.unit())
    }

    /// One of them.
    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// One of them, the first ones more often.
    pub(crate) fn early_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64).min(self.below(of.len() as u64)) as usize]
    }

    /// A UUID of version 4.
    pub(crate) fn uuid(&mut self) -> Uuid {
        let bytes = (u128::from(self.bits()) << 64 | u128::from(self.bits())).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// `sha256:` and 64 hex digits, of nothing.
    pub(crate) fn hash(&mut self) -> String {
        let [a, b, c, d] = [(); 4].map(|()| self.bits());
        format!("sha256:{a:016x}{b:016x}{c:016x}{d:016x}")
    }
}

/// `1 / (1 + e⁻ˣ)`, by products alone: (1 + x/1024)¹⁰²⁴, within 0.002 of the true value.
pub(crate) fn logistic(x: f64) -> f64 {
    let mut power = 1.0 - x.clamp(-12.0, 12.0) / 1024.0;
    for _ in 0..10 {
        power *= power;
    }
    1.0 / (1.0 + power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_gives_the_same_luck_and_another_one_another() {
        let bits = |parts: &[&[u8]]| Random::of(parts).bits();
        assert_eq!(bits(&[b"a", b"b"]), bits(&[b"a", b"b"]));
        assert_ne!(bits(&[b"a", b"b"]), bits(&[b"ab"]));
    }

    #[test]
    fn the_logistic_function_is_close_to_the_true_one() {
        for step in -80..=80 {
            let x = f64::from(step) / 10.0;
            let truly = 1.0 / (1.0 + (-x).exp());
            assert!((logistic(x) - truly).abs() < 0.002, "{x}: {} {truly}", logistic(x));
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let mut random = Random::of(&[b"normal"]);
        let numbers: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = numbers.iter().sum::<f64>() / 20_000.0;
        let variance = numbers.iter().map(|number| (number - mean) * (number - mean)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }
}
