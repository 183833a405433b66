//! The query string: decoded as `QueryDict` decodes it, reduced by the rules of the site or the
//! view, and put in an order where that was asked for.
//!
//! Names and values enter the key decoded, so two spellings that a view cannot tell apart through
//! `request.GET` are one page (`%61` and `a`, `+` and `%20`). The separator is `&` alone
//! (CVE-2021-23336), and a blank value is a value. Sorting is stable and by name only, because
//! the order of repeated values means something to `getlist`.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::glob::Globs;

/// A name and its value, decoded.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What of the query enters the key.
#[derive(Debug, Default, Clone)]
pub struct Rules {
    /// Names that never matter, such as `utm_*`.
    pub ignored: Globs,
    /// Sort by name, for sites whose views do not look at the order of different names.
    pub sorted: bool,
}

/// The pairs that enter the key. `only` is the allow-list of a view: no other name matters then.
#[must_use]
pub fn canonical<'a>(query: &'a str, rules: &Rules, only: Option<&Globs>) -> Vec<Pair<'a>> {
    let mut pairs: Vec<Pair<'a>> = parse(query)
        .filter(|(name, _)| match only {
            Some(only) => only.matches(name),
            None => !rules.ignored.matches(name),
        })
        .collect();
    if rules.sorted || only.is_some() {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
    }
    pairs
}

/// The pairs as `urllib.parse.parse_qsl(query, keep_blank_values=True)` gives them.
pub fn parse(query: &str) -> impl Iterator<Item = Pair<'_>> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        })
}

fn decode(text: &str) -> Cow<'_, str> {
    let spaced = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    if !spaced.contains('%') {
        return spaced;
    }
    Cow::Owned(
        percent_decode(spaced.as_bytes())
            .decode_utf8_lossy()
            .into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str, rules: &Rules, only: Option<&Globs>) -> String {
        let pairs = canonical(query, rules, only);
        pairs
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn spellings_of_one_value_are_one() {
        let rules = Rules::default();
        assert_eq!(pairs("a=%61+b", &rules, None), "a=a b");
        assert_eq!(pairs("%61=1&&b", &rules, None), "a=1|b=");
        assert_eq!(
            pairs("a=%zz&b=%&c=%u0041", &rules, None),
            "a=%zz|b=%|c=%u0041"
        );
        assert_eq!(
            pairs("a=%f6", &rules, None),
            pairs("a=%ef%bf%bd", &rules, None)
        );
        assert_eq!(pairs("a=1;b=2", &rules, None), "a=1;b=2");
    }

    #[test]
    fn rules_match_the_decoded_name() {
        let rules = Rules {
            ignored: Globs::new(vec!["utm_*".into(), "fbclid".into()]),
            sorted: false,
        };
        assert_eq!(
            pairs(
                "utm%5fsource=1&p=2&fbclid=x&utm_a=1;callback=evil",
                &rules,
                None
            ),
            "p=2"
        );
        assert_eq!(pairs("UTM_SOURCE=1", &rules, None), "UTM_SOURCE=1");
    }

    #[test]
    fn sorting_is_stable_and_by_name_only() {
        let rules = Rules {
            sorted: true,
            ..Rules::default()
        };
        assert_eq!(pairs("b=1&a=2&a=1", &rules, None), "a=2|a=1|b=1");
        let only = Globs::new(vec!["page".into()]);
        assert_eq!(
            pairs("q=1&page=3", &Rules::default(), Some(&only)),
            "page=3"
        );
    }
}
