//! Services as containers.

use std::sync::mpsc::Receiver;

use anyhow::{Result, bail};

use crate::guard::{Assignment, Order};

/// What is missing for containers, as a sentence.
pub(crate) fn missing() -> Option<String> {
    Some("no container engine answers".to_owned())
}

/// A guard whose service is a container.
pub(crate) fn guard(assignment: &Assignment, _orders: &Receiver<Order>) -> Result<()> {
    bail!("{}: no container engine", assignment.service)
}
