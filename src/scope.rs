//! [`Scope`]: a set of scope tokens (RFC 6749 §3.3), and the catalogue of the scopes that a server offers.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text_form::text_form;

/// A set of one or more scope tokens in the grammar of RFC 6749 §3.3.
///
/// The tokens are sorted and without repetitions, so `"b a"` and `"a b"` are the same scope. Cloning is cheap (a
/// reference count).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Arc<str>);

/// A scope token that the server offers, see [`Builder::scope`](crate::Builder::scope).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DescribedScope<'a> {
    /// The scope token.
    pub token: &'a str,
    /// The description for users.
    pub description: &'a str,
}

/// The text is not a list of scope tokens separated by spaces (RFC 6749 §3.3, Appendix A.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the scope is malformed: use a list of scope tokens separated by spaces")]
#[non_exhaustive]
pub struct ScopeError;

impl Scope {
    /// Reads a list of scope tokens separated by spaces. Leading, trailing and repeated spaces are ignored, because
    /// lists are often joined by hand.
    ///
    /// # Errors
    /// The list has no token, or has a character outside of `%x20-21 / %x23-5B / %x5D-7E`, such as a tab.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let is_empty = text.bytes().all(|byte| byte == b' ');
        if is_empty || !text.bytes().all(|byte| byte == b' ' || is_scope_byte(byte)) {
            return Err(ScopeError);
        }
        if text.split(' ').all(|token| !token.is_empty()) && text.split(' ').is_sorted_by(|a, b| a < b) {
            return Ok(Self(text.into()));
        }
        let mut tokens: Vec<&str> = text.split(' ').filter(|token| !token.is_empty()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Ok(Self(tokens.join(" ").into()))
    }

    /// Returns the scope tokens in ascending order, each once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        tokens(&self.0)
    }

    /// Returns the tokens in ascending order, separated by single spaces, as in requests and responses.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the set contains a token. The comparison is case-sensitive.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|own| own == token)
    }

    /// Returns whether `other` contains every token of this set.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let mut others = other.iter();
        self.iter().all(|own| others.find(|theirs| *theirs >= own) == Some(own))
    }

    /// Returns the tokens that are in both sets, or `None` if there is none.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        if self.is_subset(other) {
            return Some(self.clone());
        }
        self.retain(|token| other.contains(token))
    }

    /// Returns the tokens that are in at least one of the two sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if other.is_subset(self) {
            return self.clone();
        }
        let mut tokens: Vec<&str> = self.iter().chain(other.iter()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Self(tokens.join(" ").into())
    }

    /// Returns the tokens for which `keep` returns true, or `None` if there is none.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&str) -> bool) -> Option<Self> {
        let kept: Vec<&str> = self.iter().filter(|token| keep(token)).collect();
        (!kept.is_empty()).then(|| Self(kept.join(" ").into()))
    }
}

/// Splits a list at its spaces. The pattern is an array, because a search by `memchr` is slower for such short texts.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split([' '])
}

const fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

text_form!(Scope, ScopeError, Scope::parse);

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.0)
    }
}

/// The scope tokens that a server offers, in the order of their declaration, with their descriptions.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    entries: Vec<(Scope, Arc<str>)>,
    all: Scope,
    default: Option<Scope>,
    /// Pairs of a token and tokens that it includes, directly or through others.
    includes: Vec<(Scope, Scope)>,
}

impl Catalogue {
    /// `entries` are pairs of a scope token and its description. Returns `None` if there are none.
    pub(crate) fn new(entries: Vec<(Scope, Arc<str>)>, default: Option<Scope>) -> Option<Self> {
        let names: Vec<&str> = entries.iter().map(|(token, _)| token.as_str()).collect();
        let all = Scope::parse(&names.join(" ")).ok()?;
        Some(Self { entries, all, default, includes: Vec::new() })
    }

    /// Sets which token includes which other, directly. `Err` is a token that includes itself.
    pub(crate) fn with_includes(mut self, direct: &[(Scope, Scope)]) -> Result<Self, Scope> {
        let with_narrower = |scope: &Scope| {
            let narrower = direct.iter().filter(|(broader, _)| broader.is_subset(scope)).map(|(_, narrower)| narrower);
            narrower.fold(scope.clone(), |all, narrower| all.union(narrower))
        };
        for (broader, narrower) in direct {
            let mut included = narrower.clone();
            loop {
                let more = with_narrower(&included);
                if more == included {
                    break;
                }
                included = more;
            }
            if broader.is_subset(&included) {
                return Err(broader.clone());
            }
            self.includes.push((broader.clone(), included));
        }
        Ok(self)
    }

    /// Adds the tokens that the tokens of `scope` include and that are in `allowed`.
    pub(crate) fn expand(&self, scope: Scope, allowed: &Scope) -> Scope {
        let broader = self.includes.iter().filter(|(broader, _)| broader.is_subset(&scope));
        let included = broader.filter_map(|(_, included)| included.intersection(allowed));
        match included.reduce(|all, more| all.union(&more)) {
            Some(included) => scope.union(&included),
            None => scope,
        }
    }

    pub(crate) const fn all(&self) -> &Scope {
        &self.all
    }

    pub(crate) const fn default_scope(&self) -> Option<&Scope> {
        self.default.as_ref()
    }

    /// Returns the tokens of `scope` with their descriptions, in the order of declaration.
    pub(crate) fn describe<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = DescribedScope<'a>> {
        self.iter().filter(|declared| scope.contains(declared.token))
    }

    /// Returns all tokens with their descriptions, in the order of declaration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = DescribedScope<'_>> {
        self.entries.iter().map(|(token, description)| DescribedScope { token: token.as_str(), description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_subset_compares_whole_tokens_in_any_order() {
        let scope = |text: &str| Scope::parse(text).unwrap();
        for (inner, outer, expected) in [
            ("a", "a b c", true),
            ("c a", "a b c", true),
            ("a b c", "a b c", true),
            ("a d", "a b c", false),
            ("user", "user:read", false),
            ("user:read", "user", false),
            ("0", "a b", false),
            ("z", "a b", false),
        ] {
            assert_eq!(scope(inner).is_subset(&scope(outer)), expected, "{inner} of {outer}");
        }
        assert_eq!(scope("a b c").intersection(&scope("c d a")), Some(scope("a c")));
        assert_eq!(scope("a").intersection(&scope("b")), None);
    }

    fn hierarchy(pairs: &[(&str, &str)]) -> Result<Catalogue, Scope> {
        let entry = |token: &str| (Scope::parse(token).unwrap(), "".into());
        let pairs: Vec<_> = pairs.iter().map(|(one, other)| (entry(one).0, entry(other).0)).collect();
        Catalogue::new(["a", "b", "c", "d", "e"].map(entry).into(), None).unwrap().with_includes(&pairs)
    }

    // covers: MC-15 (MCP Step-Up Authorization Flow)
    #[test]
    fn inclusion_is_transitive_and_limited() {
        let scope = |text: &str| Scope::parse(text).unwrap();
        let catalogue = hierarchy(&[("a", "b"), ("b", "c"), ("a", "d"), ("d", "c")]).unwrap();
        for (requested, allowed, expected) in [
            ("a", "a b c d e", "a b c d"),
            ("b", "a b c d e", "b c"),
            ("c", "a b c d e", "c"),
            ("e", "a b c d e", "e"),
            ("a e", "a c e", "a c e"),
            ("a", "a", "a"),
        ] {
            assert_eq!(catalogue.expand(scope(requested), &scope(allowed)), scope(expected), "{requested}");
        }
        assert_eq!(hierarchy(&[]).unwrap().expand(scope("a"), &scope("a b")), scope("a"));
    }

    #[test]
    fn token_that_includes_itself_is_found() {
        for cycle in [&[("a", "a")][..], &[("a", "b"), ("b", "a")], &[("e", "a"), ("a", "b"), ("b", "c"), ("c", "b")]] {
            assert!(hierarchy(cycle).is_err(), "{cycle:?}");
        }
    }

    // covers: SC-02 (RFC 6749 §3.3, Appendix A.4)
    #[test]
    fn scope_outside_the_grammar_is_refused() {
        for byte in 0..=u8::MAX {
            let text = char::from(byte).to_string();
            let allowed = byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
            assert_eq!(Scope::parse(&text).is_ok(), allowed, "byte {byte:#x}");
        }
        for text in ["", " ", "  ", "a\tb", "a\nb", "\ta", "a\r", "a\u{a0}b", "a\u{2003}b", "sc\u{f6}pe"] {
            assert_eq!(Scope::parse(text), Err(ScopeError), "{text:?}");
        }
    }

    // covers: B53
    #[test]
    fn extra_spaces_are_ignored() {
        for text in ["a b", " a b", "a b ", "a  b", "   b   a  a  ", "b a b "] {
            let scope = Scope::parse(text).unwrap();
            assert_eq!((scope.as_str(), scope.iter().collect::<Vec<_>>()), ("a b", vec!["a", "b"]), "{text:?}");
        }
        assert_eq!(Scope::parse(" a ").unwrap(), Scope::parse("a").unwrap());
    }
}
