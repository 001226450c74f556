//! The JSON Schema of a station file, and the way through it.

use schemars::{Schema, SchemaGenerator, json_schema, schema_for};
use serde_json::Value;

use crate::station::Station;

/// The JSON Schema (draft 2020-12) of a station file: every key with its
/// meaning, unit, range and default. Editors use it to complete and check a
/// file while it is written.
pub fn station_schema() -> Value {
    schema_for!(Station).to_value()
}

/// Schema of the thresholds: any class name, with a probability.
pub(crate) fn thresholds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": {
            "description": "Least probability, 0 to 1, at which this class is flagged.",
            "type": "number",
            "minimum": 0.0,
            "maximum": 1.0
        }
    })
}

/// One place in a schema.
#[derive(Clone, Copy)]
pub(crate) struct Node<'s> {
    root: &'s Value,
    value: &'s Value,
    description: Option<&'s str>,
}

impl<'s> Node<'s> {
    /// The top of the schema `root`.
    pub(crate) fn top(root: &'s Value) -> Self {
        Self {
            root,
            value: root,
            description: None,
        }
    }

    /// The place `value` of this schema, after references and "or nothing",
    /// which a TOML file says by leaving the key out. The description nearest
    /// to the key stays.
    fn at(self, mut value: &'s Value) -> Self {
        let mut description = None;
        loop {
            description = description.or_else(|| value["description"].as_str());
            let reference = value["$ref"]
                .as_str()
                .and_then(|path| path.strip_prefix('#'));
            let something = value["anyOf"]
                .as_array()
                .and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"));
            match reference
                .and_then(|path| self.root.pointer(path))
                .or(something)
            {
                Some(next) => value = next,
                None => break,
            }
        }
        Self {
            root: self.root,
            value,
            description,
        }
    }

    /// What the key means, in one line.
    pub(crate) fn description(self) -> String {
        let words = self.description.unwrap_or_default().split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    }

    /// The keyword `name`, [`Value::Null`] where it is absent.
    pub(crate) fn keyword(self, name: &str) -> &'s Value {
        &self.value[name]
    }

    /// The type that is asked for, leaving aside "or nothing".
    pub(crate) fn kind(self) -> Option<&'s str> {
        match self.keyword("type") {
            Value::String(kind) => Some(kind),
            Value::Array(kinds) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|k| *k != "null"),
            _ => None,
        }
    }

    /// The JSON types that the value may have, where they are several.
    pub(crate) fn several_kinds(self) -> Vec<&'s str> {
        let kinds = self.keyword("type").as_array().into_iter().flatten();
        let kinds: Vec<&str> = kinds
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect();
        if kinds.len() > 1 { kinds } else { Vec::new() }
    }

    /// The values that a text may have; empty when any text will do.
    pub(crate) fn choices(self) -> Vec<&'s str> {
        let described = self.keyword("oneOf").as_array().into_iter().flatten();
        let described = described.filter_map(|choice| choice["const"].as_str());
        let listed = self.keyword("enum").as_array().into_iter().flatten();
        described.chain(listed.filter_map(Value::as_str)).collect()
    }

    /// The forms that a table may take, each with the key that tells which and
    /// the value of that key.
    pub(crate) fn variants(self) -> Vec<(&'s str, &'s str, Node<'s>)> {
        let forms = self.keyword("oneOf").as_array().into_iter().flatten();
        forms
            .filter_map(|form| {
                let (tag, value) =
                    form["properties"]
                        .as_object()?
                        .iter()
                        .find_map(|(key, property)| {
                            property["const"]
                                .as_str()
                                .map(|value| (key.as_str(), value))
                        })?;
                Some((tag, value, self.at(form)))
            })
            .collect()
    }

    /// The keys of a table, in alphabetical order.
    pub(crate) fn properties(self) -> Vec<(&'s str, Node<'s>)> {
        let properties = self.keyword("properties").as_object().into_iter().flatten();
        properties
            .map(|(key, value)| (key.as_str(), self.at(value)))
            .collect()
    }

    /// The schema of `key` in a table: that of its own, or that of any key.
    pub(crate) fn property(self, key: &str) -> Option<Node<'s>> {
        let any = Some(self.keyword("additionalProperties")).filter(|any| any.is_object());
        self.keyword("properties")
            .get(key)
            .or(any)
            .map(|value| self.at(value))
    }

    /// Keys that a table must have.
    pub(crate) fn required(self) -> Vec<&'s str> {
        let keys = self.keyword("required").as_array().into_iter().flatten();
        keys.filter_map(Value::as_str).collect()
    }

    /// The schema of the elements of a list.
    pub(crate) fn items(self) -> Option<Node<'s>> {
        self.value.get("items").map(|value| self.at(value))
    }

    /// Whether the place is a table whose keys do not depend on one another.
    pub(crate) fn is_plain_table(self) -> bool {
        self.kind() == Some("object")
    }

    /// A value that the place accepts, to stand in for one that it does not.
    pub(crate) fn placeholder(self) -> toml::Value {
        let text = self.keyword("const").as_str();
        if let Some((_, _, form)) = self.variants().first() {
            return form.placeholder();
        }
        match self.kind() {
            Some("object") => {
                let keys = self.required().into_iter();
                let entries = keys.filter_map(|key| {
                    let below = self.property(key)?;
                    Some((key.to_owned(), below.placeholder()))
                });
                toml::Value::Table(entries.collect())
            }
            Some("array") => toml::Value::Array(Vec::new()),
            Some("boolean") => toml::Value::Boolean(false),
            Some("integer") => self.keyword("minimum").as_i64().unwrap_or(0).into(),
            Some("number") => self.keyword("minimum").as_f64().unwrap_or(0.0).into(),
            _ => text
                .or(self.choices().first().copied())
                .unwrap_or("x")
                .into(),
        }
    }

    /// Dotted names of all keys under this place.
    pub(crate) fn keys(self) -> Vec<String> {
        let forms = self.variants().into_iter().map(|(_, _, form)| form);
        let mut keys: Vec<String> = forms
            .chain([self])
            .flat_map(Node::properties)
            .flat_map(|(key, node)| {
                let below = node
                    .keys()
                    .into_iter()
                    .map(move |rest| format!("{key}.{rest}"));
                std::iter::once(key.to_owned()).chain(below)
            })
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

/// A number as one writes it: without a decimal point where there is nothing
/// after it.
pub(crate) fn plain(number: &serde_json::Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
