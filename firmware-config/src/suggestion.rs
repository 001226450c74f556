//! "Did you mean": the known word that a mistyped one is closest to.

/// The candidate closest to `word`, if one is close: at most a third of its
/// letters differ, or one of the two begins with the other.
pub(crate) fn closest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = normalised(word);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let known = normalised(candidate);
            let distance = strsim::osa_distance(&word, &known);
            let allowed = (word.chars().count() / 3).max(1);
            let begins = word.len() >= 3 && (known.starts_with(&word) || word.starts_with(&known));
            (distance <= allowed || begins).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn normalised(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

#[cfg(test)]
mod tests {
    use super::closest;

    const KEYS: [&str; 4] = ["line_rate_hz", "pixels_per_line", "cpu", "cuda"];

    #[test]
    fn near_words_are_found() {
        assert_eq!(closest("line_rat_hz", KEYS), Some("line_rate_hz"));
        assert_eq!(closest("line-rate-hz", KEYS), Some("line_rate_hz"));
        assert_eq!(closest("line_rate", KEYS), Some("line_rate_hz"));
        assert_eq!(closest("CPU", KEYS), Some("cpu"));
        assert_eq!(closest("coda", KEYS), Some("cuda"));
    }

    #[test]
    fn far_words_are_not() {
        assert_eq!(closest("colour", KEYS), None);
        assert_eq!(closest("", KEYS), None);
    }
}
