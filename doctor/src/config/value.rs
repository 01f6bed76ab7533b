//! TOML values, each with its place.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::finding::{Code, Finding, Location, Severity};

/// Names and what they stand for.
pub type Table = BTreeMap<String, Node>;

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it is set.
    pub at: Location,
    /// The value.
    pub value: Value,
}

/// A value, as far as the doctor tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// An integer that fits.
    Integer(i64),
    /// A list.
    List(Vec<Node>),
    /// Anything else: a float, a moment, an integer that does not fit.
    Other,
    /// A table.
    Table(Table),
    /// A string.
    Text(String),
}

impl Node {
    /// The boolean that it is.
    pub fn bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value { Some(value) } else { None }
    }

    /// The integer that it is.
    pub fn integer(&self) -> Option<i64> {
        if let Value::Integer(value) = self.value { Some(value) } else { None }
    }

    /// The string that it is.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// The table that it is.
    pub fn table(&self) -> Option<&Table> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }
}

/// The field `name` of a table that becomes a structure: in whatever case of letters it is written, as
/// go-toml reads it. Of several spellings, the one that sorts last counts, since containerd writes
/// the table anew, sorted, before it reads it.
pub fn field<'a>(table: &'a Table, name: &str) -> Option<&'a Node> {
    table.iter().rev().find(|(key, _)| key.to_lowercase() == name).map(|(_, node)| node)
}

/// The field `name` of a table that becomes a structure, where that is a table itself: of several
/// spellings containerd reads all, one after the other. `Err` is what is no table.
pub fn field_table<'a>(table: &'a Table, name: &str) -> Result<Table, &'a Node> {
    let mut merged = Table::new();
    for (_, node) in table.iter().filter(|(key, _)| key.to_lowercase() == name) {
        merge(&mut merged, node.table().ok_or(node)?.clone());
    }
    Ok(merged)
}

/// Merges `from` into `to`: tables by their entries, all else by replacing it.
pub fn merge(to: &mut Table, from: Table) {
    for (key, node) in from {
        match (to.get_mut(&key), node) {
            (
                Some(Node { value: Value::Table(to), .. }),
                Node { value: Value::Table(from), .. },
            ) => merge(to, from),
            (_, node) => {
                to.insert(key, node);
            }
        }
    }
}

/// What of one file concerns the doctor.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) version: Option<Node>,
    pub(super) imports: Vec<Node>,
    pub(super) disabled: Vec<Node>,
    pub(super) address: Option<Node>,
    pub(super) plugins: Table,
    /// Fields of another type than containerd accepts.
    pub(super) findings: Vec<Finding>,
}

/// Why a file is no TOML.
#[derive(Debug, thiserror::Error)]
pub(super) enum ParseError {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("{problem}")]
    Toml { line: usize, problem: String },
}

impl ParseError {
    /// The line, as far as there is one.
    pub(super) fn line(&self) -> Option<usize> {
        if let Self::Toml { line, .. } = self { Some(*line) } else { None }
    }
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<File, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::NotUtf8)?;
    let lines = Lines::of(path, text);
    let document = DeTable::parse(text).map_err(|error| ParseError::Toml {
        line: lines.number(error.span().map_or(0, |span| span.start)),
        problem: error.message().to_owned(),
    })?;
    let document = lines.table(document.get_ref());
    let mut file = File::default();
    // Not by `field`: the file itself is read in its own order, and both spellings are heeded.
    for (key, node) in document {
        match (key.to_lowercase().as_str(), node) {
            ("plugins", Node { value: Value::Table(table), .. }) => merge(&mut file.plugins, table),
            ("imports", Node { value: Value::List(list), .. }) => file.imports.extend(list),
            ("disabled_plugins", Node { value: Value::List(list), .. }) => {
                file.disabled.extend(list);
            }
            ("version", node @ Node { value: Value::Integer(_), .. }) => file.version = Some(node),
            ("grpc", Node { value: Value::Table(table), .. }) => {
                file.address = field(&table, "address").cloned();
            }
            (name @ ("plugins" | "imports" | "disabled_plugins" | "version" | "grpc"), node) => {
                let fact = format_args!("containerd does not start: {name} is of another type");
                let finding = Finding::new(Severity::Failure, Code::ConfigInvalid, fact);
                let accepted = match name {
                    "plugins" | "grpc" => "a table",
                    "version" => "an integer",
                    _ => "a list of strings",
                };
                file.findings.push(finding.at(node.at).mend(format_args!("make it {accepted}")));
            }
            _ => {}
        }
    }
    Ok(file)
}

/// The lines of a file.
struct Lines<'a> {
    path: &'a Path,
    /// Where lines end, in bytes.
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(path: &'a Path, text: &str) -> Self {
        Self { path, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// The line that holds the byte at `offset`.
    fn number(&self, offset: usize) -> usize {
        1 + self.ends.partition_point(|end| *end < offset)
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            (key.get_ref().to_string(), self.node(key.span().start, value.get_ref()))
        };
        table.iter().map(entry).collect()
    }

    fn node(&self, offset: usize, value: &DeValue<'_>) -> Node {
        let at = Location { file: self.path.to_owned(), line: Some(self.number(offset)) };
        let value = match value {
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or(Value::Other, Value::Integer),
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Array(array) => Value::List(
                array.iter().map(|item| self.node(item.span().start, item.get_ref())).collect(),
            ),
            DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
        };
        Node { at, value }
    }
}
