//! Patterns of names in the settings: `*` stands for any run of characters, everything else for
//! itself. That is what `IGNORE_COOKIES` and `IGNORE_QUERY` need, and it is linear in practice.

/// A list of patterns, compiled once from the settings.
#[derive(Debug, Default, Clone)]
pub struct Globs(Vec<String>);

impl Globs {
    #[must_use]
    pub fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does any of the patterns match the whole name?
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, mut rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    // Between two stars the leftmost occurrence is as good as any other; after the last star the
    // rest must be the end.
    while let Some((part, more)) = rest.split_once('*') {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
        rest = more;
    }
    name.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, name, expected) in [
            ("_ga", "_ga", true),
            ("_ga", "_gat", false),
            ("_ga*", "_ga_X1", true),
            ("utm_*", "utm_", true),
            ("utm_*", "xutm_a", false),
            ("*_id", "visitor_id", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} on {name:?}");
        }
    }
}
