//! The path of a rule, and whether the path of a request is one of its paths.

use std::cmp::Reverse;

use super::ambiguity::{ambiguity_of, decoded};

/// The paths that a rule speaks of.
///
/// | written | matches |
/// |---|---|
/// | `/a/b` | this path alone; `/a/b/` is another |
/// | `/users/{id}/posts` | any one segment, which is not empty, in place of `{id}` |
/// | `/api/*` | `/api`, `/api/` and everything below; `/apis` is another |
/// | `/*` | every path |
///
/// Letters are compared exactly. Escapes are compared by what they stand for (RFC 3986 §6.2.2.2): `/%40me` is `/@me`, as
/// most applications read it; an escape that two of them could read differently is the business of [`ambiguity_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern {
    segments: Vec<Segment>,
    /// Whether anything may follow the segments.
    open: bool,
    /// What all its paths begin with that are written without an escape.
    beginning: Vec<u8>,
}

/// The path of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedPath<'a> {
    path: &'a str,
    has_escapes: bool,
}

impl<'a> AskedPath<'a> {
    pub(super) fn of(path: &'a str) -> Self {
        Self { path, has_escapes: path.contains('%') }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// These bytes, escapes resolved.
    Literal(Vec<u8>),
    /// Anything but nothing.
    Any,
}

impl PathPattern {
    /// Every path.
    pub(crate) const EVERYTHING: &'static str = "/*";

    /// Reads a pattern as an operator writes it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for an operator.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_prefix('/').ok_or("must begin with `/`")?;
        if text.contains(['?', '#']) {
            return Err("must be a path: queries and fragments are not looked at");
        }
        if ambiguity_of(text).is_some() {
            return Err(
                "must be written in the one way that nobody can read differently: without `.` and `..` segments, `//`, `;` and \
                 escapes of letters, and with escapes for what is not ASCII",
            );
        }
        let (path, open) = match path.strip_suffix('*') {
            Some("") => return Ok(Self::of(Vec::new(), true)),
            Some(path) => (path.strip_suffix('/').ok_or(STAR)?, true),
            None => (path, false),
        };
        let segments = path.split('/').map(Segment::parse).collect::<Result<_, _>>()?;
        Ok(Self::of(segments, open))
    }

    fn of(segments: Vec<Segment>, open: bool) -> Self {
        let beginning =
            segments.iter().map_while(Segment::bytes).fold(Vec::new(), |mut path, segment| {
                path.push(b'/');
                path.extend_from_slice(segment);
                path
            });
        Self { segments, open, beginning }
    }

    /// Whether `path` is one of its paths.
    pub(super) fn matches(&self, AskedPath { path, has_escapes }: AskedPath<'_>) -> bool {
        // Of many rules nearly all are left at the first bytes that differ.
        if !has_escapes && !path.as_bytes().starts_with(&self.beginning) {
            return false;
        }
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut left = path.split('/');
        let all = self.segments.iter().all(|segment| left.next().is_some_and(|s| segment.is(s)));
        all && (self.open || left.next().is_none())
    }

    /// Whether every path is one of its paths.
    pub(super) const fn is_everything(&self) -> bool {
        self.open && self.segments.is_empty()
    }

    /// Lesser patterns are asked first: exact ones, then those with a `{…}`, then prefixes, the longest first. Among
    /// equals the one that has a name where the other has a `{…}` comes first. Two that both match some path and rank
    /// alike are the same pattern.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let kinds: Vec<bool> = self.segments.iter().map(|s| *s == Segment::Any).collect();
        let class = if self.open { 2 } else { u8::from(kinds.contains(&true)) };
        (class, Reverse(self.segments.len()), kinds)
    }
}

const STAR: &str = "may have a `*` only as its last segment, as in `/api/*`";

impl Segment {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let name = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match name {
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Ok(Self::Any),
            None if text.contains('*') => Err(STAR),
            None if !text.contains(['{', '}']) => Ok(Self::Literal(decoded(text).collect())),
            _ => Err("may have a `{name}` only as a whole segment, as in `/users/{id}`"),
        }
    }

    /// What it is, if it is always the same.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Literal(bytes) => Some(bytes),
            Self::Any => None,
        }
    }

    fn is(&self, segment: &str) -> bool {
        match self {
            Self::Literal(bytes) => decoded(segment).eq(bytes.iter().copied()),
            Self::Any => !segment.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_paths_and_no_others() {
        for (pattern, matching, others) in [
            ("/", &["/"][..], &["", "*", "//", "/a"][..]),
            ("/a", &["/a", "/%61"], &["/A", "/a/", "/ab", "/", "a"]),
            ("/a/", &["/a/"], &["/a", "/a//", "/a/b"]),
            ("/a/b", &["/a/b"], &["/a/B", "/a", "/a%2Fb", "/a/b/c"]),
            (
                "/users/{id}",
                &["/users/1", "/users/%2F", "/users/a.b"],
                &["/users/", "/users", "/users/1/"],
            ),
            ("/users/{id}/posts", &["/users/1/posts"], &["/users//posts", "/users/1/posts/2"]),
            ("/{a}/{b}", &["/x/y"], &["/x", "/x/", "/x/y/z"]),
            ("/api/*", &["/api", "/api/", "/api/x/y", "/api//"], &["/apis", "/ap", "/", "/API/x"]),
            ("/u/{id}/*", &["/u/1", "/u/1/", "/u/1/x"], &["/u", "/u/"]),
            ("/*", &["/", "/a/b", "//"], &["*", ""]),
            ("/@me", &["/@me", "/%40me"], &["/%2540me"]),
            ("/caf%C3%A9", &["/caf%c3%a9", "/café"], &["/cafe"]),
            ("/100%25", &["/100%25", "/100%"], &["/100"]),
        ] {
            let pattern = PathPattern::parse(pattern).unwrap();
            for path in matching {
                assert!(pattern.matches(AskedPath::of(path)), "{pattern:?} {path}");
            }
            for path in others {
                assert!(!pattern.matches(AskedPath::of(path)), "{pattern:?} {path}");
            }
        }
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused() {
        for text in [
            "", "a", "*", "/a*", "/*/a", "/a/*/b", "/a/**", "/{}", "/{a", "/a}", "/x{a}",
            "/{a}{b}", "/{a{b}}", "/a?b", "/a#b", "/a/../b", "/a//b", "/a;b", "/%2e", "/a%2Fb",
            "/%61", "/%zz", "/café", "/a\\b", "/a b",
        ] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
    }
}
