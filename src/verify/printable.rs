//! Foreign values in messages.

use std::fmt;

/// A foreign value in a form that is safe to show: at most 100 characters, visible ASCII only, and no `@`, so that nobody
/// can have an email address written to a log by putting it where none belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printable(Box<str>);

impl Printable {
    const LONGEST: usize = 100;

    /// Shows of `foreign` what can be shown.
    pub(crate) fn new(foreign: &str) -> Self {
        let is_safe = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '@');
        let visible = |c: char| if is_safe(c) { c } else { '?' };
        let mut shown: String = foreign.chars().take(Self::LONGEST).map(visible).collect();
        if foreign.chars().nth(Self::LONGEST).is_some() {
            shown.push_str("...");
        }
        Self(if shown.is_empty() { "(nothing)".into() } else { shown.into() })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_value_is_shown_short_and_in_visible_ascii() {
        assert_eq!(Printable::new("com.example.app").as_str(), "com.example.app");
        assert_eq!(Printable::new("a\r\nb\"é").as_str(), "a??b??");
        assert_eq!(Printable::new("jane@example.com").as_str(), "jane?example.com");
        assert_eq!(Printable::new("").as_str(), "(nothing)");
        assert_eq!(Printable::new(&"x".repeat(500)).as_str().len(), 103);
    }
}
