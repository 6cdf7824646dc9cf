//! How much of what production does is provoked in one run.

/// The variable that says it.
pub const VARIABLE: &str = "LYCEUM_FAULTS";

/// Whether every row runs, with all its records; else one row of each kind of fault.
///
/// # Panics
/// Where the variable has a value that it does not know.
pub fn is_everything() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("" | "each-kind") => false,
        Ok("all") => true,
        Ok(other) => panic!("{VARIABLE} is {other:?}: it is `all`, or `each-kind` as where it is not set"),
    }
}
