//! Where a run comes from.

use std::process::Command;

/// Git revision of the sources beside which this program was built, as they are
/// now, with `-dirty` when they have changes that are not committed; the
/// package's version where the sources are not there any more. Who changes the
/// sources without building the program again gets the wrong one.
pub fn git_revision() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(env!("CARGO_MANIFEST_DIR"))
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let version = || format!("millsight-trainer {}", env!("CARGO_PKG_VERSION"));
    let Some(revision) = git(&["rev-parse", "HEAD"]) else {
        return version();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{revision}-dirty"),
        _ => revision,
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
