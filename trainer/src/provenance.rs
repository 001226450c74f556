//! Where a run comes from.

/// Git revision of the sources from which this program was built, with
/// `-dirty` when they had changes that were not committed; the package's version
/// where they did not lie in a repository.
pub fn git_revision() -> String {
    match env!("MILLSIGHT_GIT_REVISION") {
        "" => format!("millsight-trainer {}", env!("CARGO_PKG_VERSION")),
        revision => revision.to_owned(),
    }
}

/// A command line as a shell would take it, with the program's name alone.
pub fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let quoted = |(position, argument): (usize, String)| {
        let argument = match position {
            0 => argument.rsplit(['/', '\\']).next().unwrap_or("").to_owned(),
            _ => argument,
        };
        let plain =
            |character: char| character.is_alphanumeric() || "-_=./:,+@%".contains(character);
        if !argument.is_empty() && argument.chars().all(plain) {
            argument
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    };
    arguments
        .enumerate()
        .map(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let arguments = ["/opt/bin/millsight-train", "train", "a b.csv", "it's", ""];
        assert_eq!(
            command_line(arguments.into_iter().map(str::to_owned)),
            r"millsight-train train 'a b.csv' 'it'\''s' ''"
        );
    }

    #[test]
    fn there_is_always_a_revision() {
        assert!(!git_revision().is_empty());
    }
}
