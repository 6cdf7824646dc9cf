//! Capacity units as lines for people. DynamoDB counts in them; the embedded ledger says what it would have counted.

use lyceum_core::capacity::Capacity;

/// A line for all that was consumed in that span of time, and one for each family with what an event cost; none for what
/// consumed nothing.
pub(super) fn lines(span: &str, capacity: &Capacity) -> Vec<String> {
    let units = capacity.units;
    if units.read_units + units.write_units == 0.0 {
        return Vec::new();
    }
    let all = format!(
        "capacity{span}: {:.1} read units, {:.1} write units (as DynamoDB counts)",
        units.read_units, units.write_units
    );
    let families = capacity.families.iter().filter_map(|(family, of)| {
        let per = of.per_event()?;
        let (read, write) = (per.read_units, per.write_units);
        (read + write > 0.0)
            .then(|| format!("  {family:<12} {read:>10.2} read units and {write:.2} write units an event"))
    });
    std::iter::once(all).chain(families).collect()
}
