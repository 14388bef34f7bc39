//! The labelled pairs: a table with the columns `a`, `b` and `same`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::csv::{Reader, Record};

/// Far more pairs than anybody waits for.
const MAX_BYTES: u64 = 512 << 20;
/// More groups than a table can show, and a sign that the wrong column was named.
const MAX_GROUPS: usize = 64;

/// What is to be compared.
#[derive(Debug)]
pub struct PairList {
    /// Each picture once.
    pub pictures: Vec<Listed>,
    /// Each pair once.
    pub pairs: Vec<Pair>,
    /// Values of the group column, in order of appearance; empty without one.
    pub groups: Vec<String>,
    /// Rows that repeat a pair.
    pub repeated: usize,
}

/// A picture of the list.
#[derive(Debug)]
pub struct Listed {
    /// As the list names it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Two pictures, and whether they are known to show one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The reference: index into the pictures.
    pub a: usize,
    /// The probe: index into the pictures.
    pub b: usize,
    /// The same person, by the list.
    pub genuine: bool,
    /// Index into the groups.
    pub group: Option<usize>,
}

impl PairList {
    /// Reads a list; its paths are relative to its own folder.
    ///
    /// # Errors
    /// The file cannot be read, a column is missing, or a row says something that cannot be; with its line.
    pub fn read(path: &Path, group: Option<&str>) -> anyhow::Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(context)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).with_context(context)?;
        ensure!(bytes.len() as u64 <= MAX_BYTES, "{}: more than {MAX_BYTES} bytes", path.display());
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&bytes, folder, group).with_context(|| path.display().to_string())
    }

    fn parse(bytes: &[u8], folder: &Path, group: Option<&str>) -> anyhow::Result<Self> {
        let mut reader = Reader::new(bytes)?;
        let header = reader.next_record()?.context("there is no header with the columns a, b and same")?;
        let columns = Columns::of(&header, group)?;
        let mut list = Self { pictures: Vec::new(), pairs: Vec::new(), groups: Vec::new(), repeated: 0 };
        let mut indexes = Indexes::default();
        while let Some(record) = reader.next_record()? {
            let line = record.line;
            list.row(&columns, &record, folder, &mut indexes).with_context(|| format!("line {line}"))?;
        }
        ensure!(!list.pairs.is_empty(), "there is no pair in it");
        Ok(list)
    }

    fn row(
        &mut self,
        columns: &Columns,
        record: &Record<'_>,
        folder: &Path,
        indexes: &mut Indexes,
    ) -> anyhow::Result<()> {
        ensure!(
            record.fields.len() == columns.count,
            "{} fields, but the header has {}",
            record.fields.len(),
            columns.count
        );
        let field = |at: usize| record.fields.get(at).map_or("", |field| field.trim());
        let (a, b) = (field(columns.a), field(columns.b));
        ensure!(!a.is_empty() && !b.is_empty(), "a picture is not named");
        let genuine = label(field(columns.same))?;
        let group = columns.group.map(|at| self.group(field(at), indexes)).transpose()?;
        let a = self.picture(a, folder, indexes);
        let b = self.picture(b, folder, indexes);
        ensure!(a != b, "a and b are the same picture, which says nothing about faces");
        match indexes.pairs.entry((a.min(b), a.max(b))) {
            Entry::Occupied(first) => {
                let First { line, genuine: before, group: in_group } = first.get();
                ensure!(
                    (*before, *in_group) == (genuine, group),
                    "the pair of line {line} again, with another label or group"
                );
                self.repeated += 1;
                return Ok(());
            }
            Entry::Vacant(place) => place.insert(First { line: record.line, genuine, group }),
        };
        self.pairs.push(Pair { a, b, genuine, group });
        Ok(())
    }

    fn picture(&mut self, name: &str, folder: &Path, indexes: &mut Indexes) -> usize {
        let path = folder.join(name);
        if let Some(index) = indexes.pictures.get(&path) {
            return *index;
        }
        let index = self.pictures.len();
        indexes.pictures.insert(path.clone(), index);
        self.pictures.push(Listed { name: name.to_owned(), path });
        index
    }

    fn group(&mut self, name: &str, indexes: &mut Indexes) -> anyhow::Result<usize> {
        if let Some(index) = indexes.groups.get(name) {
            return Ok(*index);
        }
        ensure!(self.groups.len() < MAX_GROUPS, "the group column has more than {MAX_GROUPS} different values");
        indexes.groups.insert(name.to_owned(), self.groups.len());
        self.groups.push(name.to_owned());
        Ok(self.groups.len() - 1)
    }
}

#[derive(Default)]
struct Indexes {
    pictures: HashMap<PathBuf, usize>,
    groups: HashMap<String, usize>,
    /// By the two pictures in either order.
    pairs: HashMap<(usize, usize), First>,
}

/// Where a pair stood first, and what it said there.
struct First {
    line: u64,
    genuine: bool,
    group: Option<usize>,
}

struct Columns {
    a: usize,
    b: usize,
    same: usize,
    group: Option<usize>,
    count: usize,
}

impl Columns {
    fn of(header: &Record<'_>, group: Option<&str>) -> anyhow::Result<Self> {
        let find = |name: &str| {
            let mut found = header.fields.iter().enumerate().filter(|(_, field)| field.trim() == name);
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok(at),
                (Some(_), Some(_)) => bail!("there are two columns `{name}`"),
                (None, _) => bail!(
                    "there is no column `{name}`; the header has: {} (columns are told apart by commas)",
                    header.fields.iter().map(|field| format!("`{}`", field.trim())).collect::<Vec<_>>().join(", ")
                ),
            }
        };
        Ok(Self {
            a: find("a")?,
            b: find("b")?,
            same: find("same")?,
            group: group.map(find).transpose()?,
            count: header.fields.len(),
        })
    }
}

fn label(text: &str) -> anyhow::Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => bail!("`same` is none of 1, true, yes, 0, false, no"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, group: Option<&str>) -> Result<PairList, String> {
        PairList::parse(text.as_bytes(), Path::new("/data"), group).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn columns_stand_in_any_order_and_pictures_are_listed_once() {
        let text =
            "same,age,b,a,note\nYes,young,y.jpg,x.jpg,\nfalse,old,\"z, 1.jpg\",x.jpg,n\n1,young,x.jpg,/abs/w.png,\n";
        let list = parse(text, Some("age")).unwrap();
        let names: Vec<_> = list.pictures.iter().map(|picture| picture.name.as_str()).collect();
        assert_eq!(names, ["x.jpg", "y.jpg", "z, 1.jpg", "/abs/w.png"]);
        assert_eq!(list.pictures[0].path, Path::new("/data/x.jpg"));
        assert_eq!(list.pictures[3].path, Path::new("/abs/w.png"));
        assert_eq!(list.groups, ["young", "old"]);
        assert_eq!(
            list.pairs,
            [
                Pair { a: 0, b: 1, genuine: true, group: Some(0) },
                Pair { a: 0, b: 2, genuine: false, group: Some(1) },
                Pair { a: 3, b: 0, genuine: true, group: Some(0) },
            ]
        );
    }

    #[test]
    fn a_pair_counts_once_in_either_order() {
        let list = parse("a,b,same\nx,y,1\ny,x,true\nx,y,yes\n", None).unwrap();
        assert_eq!((list.pairs.len(), list.repeated), (1, 2));
    }

    #[test]
    fn what_cannot_be_is_named_with_its_line() {
        let error = |text: &str, group| parse(text, group).unwrap_err();
        assert_eq!(error("", None), "there is no header with the columns a, b and same");
        assert!(error("a;b;same\nx;y;1\n", None).contains("there is no column `a`; the header has: `a;b;same`"));
        assert_eq!(error("a,b,same\n", None), "there is no pair in it");
        assert!(error("a,b,same\nx,y,1\n", Some("age")).contains("no column `age`"));
        assert_eq!(error("a,b,same,a\n", None), "there are two columns `a`");
        assert_eq!(error("a,b,same\nx,y,1\nx,z,maybe\n", None), "line 3: `same` is none of 1, true, yes, 0, false, no");
        assert_eq!(error("a,b,same\nx,y\n", None), "line 2: 2 fields, but the header has 3");
        assert_eq!(error("a,b,same\nx,,1\n", None), "line 2: a picture is not named");
        assert!(error("a,b,same\nx,x,1\n", None).starts_with("line 2: a and b are the same picture"));
        assert!(error("a,b,same\nx,y,1\ny,x,0\n", None).starts_with("line 3: the pair of line 2 again"));
        let many: String = (0..70).map(|i| format!("x,y{i},0,g{i}\n")).collect();
        assert!(error(&format!("a,b,same,g\n{many}"), Some("g")).contains("more than 64"));
    }
}
