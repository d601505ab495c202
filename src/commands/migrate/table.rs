//! Reading and writing CSV (RFC 4180).

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use csv::{Reader, ReaderBuilder, StringRecord, Writer};

use super::Misused;

/// What is in the column `name` of the file, each once and in its order. A file without a header is a list, in the first
/// column.
pub(super) fn read_keys(path: &Path, name: &str) -> anyhow::Result<Vec<String>> {
    let cannot = || format!("`{}` cannot be read", path.display());
    let mut reader = reader(File::open(path).with_context(cannot)?);
    let (mut keys, mut seen, mut column) = (Vec::new(), HashSet::new(), 0);
    for (number, record) in reader.records().enumerate() {
        let record = record.with_context(cannot)?;
        if number == 0
            && let Some(place) = column_of(&record, name)
        {
            column = place;
            continue;
        }
        let key = record.get(column).unwrap_or_default();
        if key.is_empty() {
            continue;
        }
        let line = record.position().map_or(0, csv::Position::line);
        let is_identifier = key.bytes().all(|byte| byte.is_ascii_graphic()) && key.len() <= 255;
        // A first line that is neither header nor user is some other table's.
        if !is_identifier || (number == 0 && !key.contains('.')) {
            let what = format!("that is no {name}, and there is no column of that name");
            return Err(Misused(format!("`{}`, line {line}: {what}", path.display())).into());
        }
        if seen.insert(key.to_owned()) {
            keys.push(key.to_owned());
        }
    }
    if keys.is_empty() {
        return Err(Misused(format!("`{}` holds nobody", path.display())).into());
    }
    Ok(keys)
}

fn column_of(header: &StringRecord, name: &str) -> Option<usize> {
    header.iter().position(|column| column.trim_start_matches('\u{feff}') == name)
}

/// A reader that takes lines as they come: what is missing is found out where it is looked for.
pub(super) fn reader<R: io::Read>(from: R) -> Reader<R> {
    ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(from)
}

/// One line.
pub(super) fn line(fields: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// A file for nobody else: it holds addresses.
pub(super) fn create(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().write(true).create(true).truncate(true)).open(path)
}

/// The same, to add to what is there.
pub(super) fn append(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().append(true).create(true)).open(path)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Writes `lines` to `path`, whole or not at all.
pub(super) fn replace(path: &Path, lines: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = io::BufWriter::new(create(beside.as_ref())?);
    for line in lines {
        file.write_all(&line)?;
    }
    file.into_inner()?.sync_all()?;
    std::fs::rename(beside, path)
}
