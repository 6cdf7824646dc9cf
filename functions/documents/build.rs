//! Takes the valid samples of `events/` along, since documents show them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").canonicalize()?;
    let mut list = String::from("&[\n");
    for family in folders(&events)? {
        let folder = family.join("valid");
        if !folder.is_dir() {
            continue;
        }
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut files: Vec<PathBuf> =
            fs::read_dir(&folder)?.map(|of| of.map(|of| of.path())).collect::<io::Result<_>>()?;
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".json") else { continue };
            if name.ends_with(".expected") || name.ends_with(".record") {
                continue;
            }
            let family = family.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = file.display().to_string();
            writeln!(list, "    ({family:?}, {name:?}, include_str!({file:?})),").map_err(io::Error::other)?;
        }
    }
    list.push_str("]\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo names no OUT_DIR"))?;
    fs::write(Path::new(&out).join("samples.rs"), list)
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = fs::read_dir(of)?.map(|of| of.map(|of| of.path())).collect::<io::Result<_>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders)
}
