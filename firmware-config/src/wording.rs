//! How keys, values and what they must be are said.

use toml::de::DeValue;

use crate::schema::Node;

/// A path as one writes it: keys with dots between, and quotes where TOML asks
/// for them.
pub(crate) fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for key in path {
        let is_bare = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if key.starts_with('[') {
            text.push_str(key);
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        if is_bare {
            text.push_str(key);
        } else {
            text.push_str(&format!("{key:?}"));
        }
    }
    text
}

/// `remedy` with what the key means.
pub(crate) fn with_meaning(remedy: String, node: Node<'_>) -> String {
    match node.description() {
        meaning if meaning.is_empty() => remedy,
        meaning => format!("{remedy}\nMeaning: {meaning}"),
    }
}

/// What a value must be.
pub(crate) fn wanted(node: Node<'_>) -> String {
    let choices = node.choices();
    if !choices.is_empty() {
        return format!("one of {}", quoted(&choices));
    }
    match node.kind() {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        Some("string") => "text in quotes",
        Some("array") => "a list in brackets",
        _ => "a section",
    }
    .to_owned()
}

/// What a value is.
pub(crate) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// `words` as a list of TOML texts.
pub(crate) fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    words.join(", ")
}

/// `words` as a list of keys.
pub(crate) fn ticked(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}
