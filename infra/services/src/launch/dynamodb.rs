//! dynoxide as a server: a process of this program's own.

use anyhow::Result;

use super::{Launch, Place, Ready};
use crate::{Endpoints, Service, program};

pub(super) fn prepare(place: &Place<'_>) -> Result<Launch> {
    let port = place.ports[0];
    let url = format!("http://127.0.0.1:{port}");
    let (program, mut arguments) = program::again();
    arguments.extend(["serve-dynamodb".into(), "--port".into(), port.to_string().into()]);
    arguments.extend(["--data".into(), place.folder.join("tables.sqlite").into()]);
    Ok(Launch {
        program,
        arguments,
        environment: Vec::new(),
        refuses_root: false,
        ready: Ready::ListTables { url: url.clone() },
        endpoints: Endpoints::of(Service::DynamoDb, url),
    })
}
