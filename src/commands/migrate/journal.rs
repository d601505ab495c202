//! What was found out so far, kept line by line so that an interruption loses nothing.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    Direction,
    table::{append, line, reader, replace},
};

/// What was found out about somebody: a field for each column, or why nothing was.
pub(super) type Outcome = Result<Vec<String>, String>;

/// The outcomes so far: those of earlier runs, and of this one.
#[derive(Debug)]
pub(super) struct Journal {
    output: PathBuf,
    part: PathBuf,
    file: File,
    columns: (&'static str, &'static [&'static str]),
    found: HashMap<String, Outcome>,
}

impl Journal {
    /// Reads what an earlier run has left at `output`, whole or in part.
    pub(super) fn open(output: &Path, direction: &Direction) -> anyhow::Result<Self> {
        let mut name = OsString::from(output);
        name.push(".part");
        let part = PathBuf::from(name);
        let columns = direction.columns();
        let mut found = HashMap::new();
        for path in [output, &part] {
            let cannot = || format!("`{}` cannot be read", path.display());
            found.extend(read(path, columns).with_context(cannot)?);
        }
        let cannot = || format!("`{}` cannot be written", part.display());
        end_last_line(&part).with_context(cannot)?;
        let file = append(&part).with_context(cannot)?;
        Ok(Self { output: output.to_owned(), part, file, columns, found })
    }

    /// Whether something is known about `key`.
    pub(super) fn knows(&self, key: &str) -> bool {
        matches!(self.found.get(key), Some(Ok(_)))
    }

    /// Keeps what was found out about `key`. What was refused is not kept beyond this run: it is asked for again.
    pub(super) fn keep(&mut self, key: String, outcome: Outcome) -> anyhow::Result<()> {
        if let Ok(fields) = &outcome {
            self.file.write_all(&row(&key, fields, "")?).context("the result cannot be kept")?;
        }
        self.found.insert(key, outcome);
        Ok(())
    }

    /// Writes the output, in the order of `keys`.
    pub(super) fn finish(self, keys: &[String]) -> anyhow::Result<()> {
        let Self { output, part, file, columns: (key, columns), found } = self;
        drop(file);
        let header = [&[key], columns, &["error"]].concat();
        let mut lines = vec![line(&header)?];
        for key in keys {
            lines.push(match found.get(key) {
                Some(Ok(fields)) => row(key, fields, "")?,
                Some(Err(error)) => row(key, &vec![String::new(); columns.len()], error)?,
                None => continue,
            });
        }
        let cannot = || format!("`{}` cannot be written", output.display());
        replace(&output, lines.into_iter()).with_context(cannot)?;
        Ok(fs::remove_file(part)?)
    }
}

fn row(key: &str, fields: &[String], error: &str) -> anyhow::Result<Vec<u8>> {
    let fields = fields.iter().map(String::as_str);
    line(&std::iter::once(key).chain(fields).chain([error]).collect::<Vec<_>>())
}

/// What stands in a file of ours without an error, if there is such a file. A last line that was cut off is none.
fn read(
    path: &Path,
    (key, columns): (&str, &[&str]),
) -> io::Result<impl Iterator<Item = (String, Outcome)>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(mut file) => drop(file.read_to_end(&mut text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    text.truncate(whole);
    let mut known = Vec::new();
    for record in reader(&*text).records() {
        let record = record.map_err(io::Error::other)?;
        let mut fields = record.iter().map(str::to_owned);
        let first = fields.next().unwrap_or_default();
        let fields: Vec<String> = fields.collect();
        let (found, error) = fields.split_at(columns.len().min(fields.len()));
        let is_one = found.len() == columns.len() && error == [""] && first != key;
        if is_one {
            known.push((first, Ok(found.to_vec())));
        }
    }
    Ok(known.into_iter())
}

/// Cuts off what a run was writing when it ended.
fn end_last_line(path: &Path) -> io::Result<()> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let whole = u64::try_from(whole).unwrap_or(u64::MAX);
    File::options().write(true).open(path)?.set_len(whole)
}
