//! ministack: AWS's API, in one Python process.

use std::fs;

use anyhow::Result;

use super::{Launch, Place, Ready};
use crate::{Endpoints, Service, download, pinned};

pub(super) fn name() -> String {
    format!("ministack-{}", pinned::MINISTACK)
}

pub(super) fn prepare(place: &Place<'_>) -> Result<Launch> {
    let program = download::python(place.cache, &name(), &format!("ministack[full]=={}", pinned::MINISTACK))?;
    let data = place.folder.join("data");
    fs::create_dir_all(data.join("tmp"))?;
    let url = format!("http://127.0.0.1:{}", place.ports[0]);
    Ok(Launch {
        program: program.join("bin/python"),
        arguments: vec!["-m".into(), "ministack".into()],
        environment: vec![
            ("GATEWAY_PORT", place.ports[0].to_string().into()),
            ("S3_DATA_DIR", data.join("s3").into()),
            ("STATE_DIR", data.join("state").into()),
            ("TMPDIR", data.join("tmp").into()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ],
        refuses_root: false,
        ready: Ready::ListTables { url: url.clone() },
        endpoints: Endpoints::of(Service::Aws, url),
    })
}
