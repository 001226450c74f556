//! Whether a document has the shape of a station: known keys, right types,
//! values in range. All that is asked of a single value is read from the JSON
//! Schema.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::entry_span;
use crate::schema::{Node, plain};
use crate::suggestion::closest;
use crate::wording::{dotted, kind_of, quoted, ticked, wanted, with_meaning};

/// A place where the document and the schema differ.
pub(crate) struct Mismatch {
    /// Keys from the top to the place; an element of a list is `[index]`.
    pub(crate) path: Vec<String>,
    /// Place in the text.
    pub(crate) span: Range<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What is written at the place.
    pub(crate) label: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Mismatch {
    /// The path as a dotted key.
    pub(crate) fn key(&self) -> String {
        dotted(&self.path)
    }
}

/// What makes the rest of a document readable although one value is not.
pub(crate) struct Repair {
    /// Keys from the top to the value.
    pub(crate) path: Vec<String>,
    /// What stands in for the value; nothing for a key that is unknown.
    pub(crate) value: Option<toml::Value>,
}

/// Everywhere that `root`, the document of `text`, differs from `schema`, and
/// what to do, in this order, to read the rest.
pub(crate) fn check(
    root: &DeTable<'_>,
    schema: &Value,
    text: &str,
) -> (Vec<Mismatch>, Vec<Repair>) {
    let top = Node::top(schema);
    let mut walk = Walk {
        text,
        all_keys: top.keys(),
        path: Vec::new(),
        mismatches: Vec::new(),
        repairs: Vec::new(),
    };
    walk.table(root, top, 0..0);
    (walk.mismatches, walk.repairs)
}

/// A walk through document and schema side by side.
struct Walk<'t> {
    text: &'t str,
    all_keys: Vec<String>,
    path: Vec<String>,
    mismatches: Vec<Mismatch>,
    repairs: Vec<Repair>,
}

impl Walk<'_> {
    /// Checks one value; `span` is what a label marks.
    fn value(&mut self, value: &Spanned<DeValue<'_>>, node: Node<'_>, span: Range<usize>) {
        let variants = node.variants();
        let choices = node.choices();
        let own = match value.get_ref() {
            DeValue::Boolean(_) => "boolean",
            DeValue::Integer(_) => "integer",
            DeValue::Float(_) => "number",
            DeValue::String(_) => "string",
            _ => "",
        };
        if node.several_kinds().contains(&own) {
            return;
        }
        match (value.get_ref(), node.kind()) {
            (DeValue::Table(table), _) if !variants.is_empty() => {
                self.variant(table, &variants, node, span);
            }
            (DeValue::Table(table), Some("object")) => self.table(table, node, span),
            (DeValue::Array(elements), Some("array")) => self.list(elements, node, span),
            (DeValue::String(text), _) if !choices.is_empty() => {
                self.choice(text, &choices, value, node, span);
            }
            (DeValue::String(text), Some("string")) => self.length(text, value, node, span),
            (DeValue::Boolean(_), Some("boolean")) => {}
            (DeValue::Integer(number), Some("integer")) => {
                match i128::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => self.integer(number, value, node, span),
                    Err(_) => self.out_of_range(value, node, span),
                }
            }
            (DeValue::Integer(number), Some("number")) => {
                match i128::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => self.number(number as f64, value, node, span),
                    Err(_) => self.out_of_range(value, node, span),
                }
            }
            (DeValue::Float(number), Some("number")) => {
                self.number(
                    number.as_str().parse().unwrap_or(f64::NAN),
                    value,
                    node,
                    span,
                );
            }
            (found, _) => {
                let wanted = wanted(node);
                let message = format!(
                    "`{}` is {}, but must be {wanted}",
                    self.assignment(value),
                    kind_of(found)
                );
                let write = match variants.first() {
                    Some((tag, _, _)) => {
                        let names: Vec<&str> = variants.iter().map(|(_, name, _)| *name).collect();
                        format!("Write a section with `{tag}`, one of {}.", quoted(&names))
                    }
                    None => format!("Write {wanted}."),
                };
                let remedy = with_meaning(write, node);
                self.report(span, message, format!("must be {wanted}"), remedy);
            }
        }
    }

    /// Checks a table whose keys depend on one of them.
    fn variant(
        &mut self,
        table: &DeTable<'_>,
        variants: &[(&str, &str, Node<'_>)],
        node: Node<'_>,
        span: Range<usize>,
    ) {
        let Some((tag, first, _)) = variants.first() else {
            return;
        };
        let names: Vec<&str> = variants.iter().map(|(_, name, _)| *name).collect();
        let Some((key, value)) = table.get_key_value(*tag) else {
            let message = format!("`{}` is missing", self.key_below(tag));
            let remedy = with_meaning(
                format!(
                    "Add `{tag} = \"{first}\"`; possible are {}.",
                    quoted(&names)
                ),
                node,
            );
            self.path.push((*tag).to_owned());
            self.report(span, message, format!("has no `{tag}`"), remedy);
            self.path.pop();
            return;
        };
        let named = value.get_ref().as_str();
        if let Some((_, _, form)) = variants.iter().find(|(_, name, _)| Some(*name) == named) {
            return self.table(table, *form, span);
        }
        self.path.push((*tag).to_owned());
        let span = entry_span(key.span(), value);
        match named {
            Some(text) => self.choice(text, &names, value, node, span),
            None => {
                let message = format!("`{}` must be text", self.assignment(value));
                let remedy = format!("Choose one of {}.", quoted(&names));
                self.report(span, message, "must be text".to_owned(), remedy);
            }
        }
        self.path.pop();
    }

    /// Checks the keys of a table, then the value of each.
    fn table(&mut self, table: &DeTable<'_>, node: Node<'_>, span: Range<usize>) {
        for key in node.required() {
            if !table.contains_key(key) {
                self.missing(key, node, span.clone());
            }
        }
        for (key, value) in table {
            let span = entry_span(key.span(), value);
            self.path.push(key.get_ref().to_string());
            match node.property(key.get_ref()) {
                Some(below) => {
                    let before = self.mismatches.len();
                    self.value(value, below, span);
                    let is_plain_table = value.get_ref().is_table() && below.is_plain_table();
                    if self.mismatches.len() > before && !is_plain_table {
                        self.repair(Some(below.placeholder()));
                    }
                }
                None => {
                    self.unknown(key.get_ref(), node, span);
                    self.repair(None);
                }
            }
            self.path.pop();
        }
    }

    fn missing(&mut self, key: &str, node: Node<'_>, span: Range<usize>) {
        let message = format!("`{}` is missing", self.key_below(key));
        let below = node.property(key);
        let is_table = below.is_some_and(|b| b.is_plain_table() || !b.variants().is_empty());
        let what = match (is_table, self.path.is_empty()) {
            (true, true) => format!("Add a section `[{key}]`."),
            (_, true) => format!("Add `{key} = …` before the first section."),
            (_, false) => format!("Add `{key} = …` to `[{}]`.", dotted(&self.path)),
        };
        let remedy = below.map_or(what.clone(), |below| with_meaning(what, below));
        self.path.push(key.to_owned());
        self.report(span, message, format!("has no `{key}`"), remedy);
        self.repair(below.map(Node::placeholder));
        self.path.pop();
    }

    fn unknown(&mut self, key: &str, node: Node<'_>, span: Range<usize>) {
        let here: Vec<&str> = node
            .properties()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let own = dotted(&self.path);
        let elsewhere = self
            .all_keys
            .iter()
            .filter(|known| **known != own && known.rsplit('.').next() == Some(key));
        let section = &self.path[..self.path.len().saturating_sub(1)];
        let remedy = if let Some(near) = closest(key, here.iter().copied()) {
            format!("Did you mean `{near}`?")
        } else if let Some(near) = elsewhere.min_by_key(|known| known.len()) {
            format!("Did you mean `{near}`?")
        } else if section.is_empty() {
            format!(
                "Remove it. At the top of a station stand {}.",
                ticked(&here)
            )
        } else {
            format!(
                "Remove it. `[{}]` has the keys {}.",
                dotted(section),
                ticked(&here)
            )
        };
        let message = format!("unknown key `{own}`");
        self.report(span, message, "there is no such key".to_owned(), remedy);
    }

    fn list(&mut self, elements: &[Spanned<DeValue<'_>>], node: Node<'_>, span: Range<usize>) {
        let least = node.keyword("minItems").as_u64().unwrap_or(0);
        if (elements.len() as u64) < least {
            let message = format!("`{}` is empty", dotted(&self.path));
            let remedy = with_meaning("Write at least one.".to_owned(), node);
            self.report(span, message, "must not be empty".to_owned(), remedy);
        }
        let Some(below) = node.items() else { return };
        for (index, element) in elements.iter().enumerate() {
            self.path.push(format!("[{index}]"));
            self.value(element, below, element.span());
            self.path.pop();
        }
    }

    fn choice(
        &mut self,
        text: &str,
        choices: &[&str],
        value: &Spanned<DeValue<'_>>,
        node: Node<'_>,
        span: Range<usize>,
    ) {
        if choices.contains(&text) {
            return;
        }
        let message = format!(
            "`{}` is not one of the possible values",
            self.assignment(value)
        );
        let choose = match closest(text, choices.iter().copied()) {
            Some(near) => format!("Did you mean \"{near}\"? Possible are {}.", quoted(choices)),
            None => format!("Choose one of {}.", quoted(choices)),
        };
        let remedy = with_meaning(choose, node);
        self.report(span, message, "no such value".to_owned(), remedy);
    }

    fn length(
        &mut self,
        text: &str,
        value: &Spanned<DeValue<'_>>,
        node: Node<'_>,
        span: Range<usize>,
    ) {
        let length = text.chars().count() as u64;
        let least = node.keyword("minLength").as_u64().unwrap_or(0);
        let most = node.keyword("maxLength").as_u64().unwrap_or(u64::MAX);
        let (wrong, label, choose) = if length < least {
            (
                "is empty",
                "must not be empty".to_owned(),
                "Write at least one character.".to_owned(),
            )
        } else if length > most {
            let at_most = format!("at most {most} characters");
            (
                "is too long",
                format!("{length} characters"),
                format!("Write {at_most}."),
            )
        } else {
            return;
        };
        let message = format!("`{}` {wrong}", self.assignment(value));
        self.report(span, message, label, with_meaning(choose, node));
    }

    fn integer(
        &mut self,
        number: i128,
        value: &Spanned<DeValue<'_>>,
        node: Node<'_>,
        span: Range<usize>,
    ) {
        let least = node
            .keyword("minimum")
            .as_i64()
            .map_or(i128::MIN, i128::from);
        let most = node
            .keyword("maximum")
            .as_i64()
            .map_or(i128::MAX, i128::from);
        if number < least || number > most {
            return self.out_of_range(value, node, span);
        }
        let step = node.keyword("multipleOf").as_i64().map_or(1, i128::from);
        if number % step != 0 {
            let below = number - number % step;
            let choices: Vec<String> = [below, below + step]
                .into_iter()
                .filter(|choice| (least..=most).contains(choice))
                .map(|choice| choice.to_string())
                .collect();
            let message = format!("`{}` is not a multiple of {step}", self.assignment(value));
            let remedy = with_meaning(format!("Choose {}.", choices.join(" or ")), node);
            self.report(span, message, format!("not a multiple of {step}"), remedy);
        }
    }

    fn number(
        &mut self,
        number: f64,
        value: &Spanned<DeValue<'_>>,
        node: Node<'_>,
        span: Range<usize>,
    ) {
        let least = node.keyword("minimum").as_f64().unwrap_or(f64::MIN);
        let most = node.keyword("maximum").as_f64().unwrap_or(f64::MAX);
        // A number that is none fails both comparisons.
        if !(number >= least && number <= most) {
            self.out_of_range(value, node, span);
        }
    }

    fn out_of_range(&mut self, value: &Spanned<DeValue<'_>>, node: Node<'_>, span: Range<usize>) {
        let bound = |name: &str| match node.keyword(name) {
            Value::Number(number) => plain(number),
            _ => "any value".to_owned(),
        };
        let range = format!("{} to {}", bound("minimum"), bound("maximum"));
        let message = format!("`{}` is out of range", self.assignment(value));
        let remedy = with_meaning(format!("Choose a value from {range}."), node);
        self.report(span, message, format!("must be {range}"), remedy);
    }

    fn report(&mut self, span: Range<usize>, message: String, label: String, remedy: String) {
        self.mismatches.push(Mismatch {
            path: self.path.clone(),
            span,
            message,
            label,
            remedy,
        });
    }

    fn repair(&mut self, value: Option<toml::Value>) {
        let path = self.path.clone();
        self.repairs.push(Repair { path, value });
    }

    /// `key = value` as it stands in the text, cut where it is long.
    fn assignment(&self, value: &Spanned<DeValue<'_>>) -> String {
        const LONGEST: usize = 40;
        let written = self.text.get(value.span()).unwrap_or_default();
        let line = written.lines().next().unwrap_or_default();
        let mut shown: String = line.chars().take(LONGEST).collect();
        if shown.len() < written.len() {
            shown.push('…');
        }
        format!("{} = {shown}", dotted(&self.path))
    }

    fn key_below(&self, key: &str) -> String {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        dotted(&path)
    }
}
