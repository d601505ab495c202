//! A body, JSON or a form, as texts below names. Unlike a map it keeps what is there twice: which of two tokens is meant is
//! not ours to guess.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use url::form_urlencoded;

/// Something below a name.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Tree {
    /// A text.
    Text(String),
    /// More names, in their order, any of them as often as it was written.
    Members(Vec<(String, Self)>),
    /// `null`: as good as not there.
    Nothing,
    /// A number, a list, or what else no field of ours holds.
    Other,
}

impl Tree {
    /// Reads JSON; `None` if it is none.
    pub(super) fn of_json(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Reads a form (<https://url.spec.whatwg.org/#application/x-www-form-urlencoded>). `a[b]=c` is `c` below `b` below `a`.
    pub(super) fn of_form(bytes: &[u8]) -> Self {
        let mut members = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            let (name, value) = nested(name.into_owned(), Self::Text(value.into_owned()));
            add(&mut members, name, value);
        }
        Self::Members(members)
    }

    /// All that is directly below `name`.
    pub(super) fn below<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        let members = match self {
            Self::Members(members) => &members[..],
            Self::Text(_) | Self::Nothing | Self::Other => &[],
        };
        members.iter().filter(move |(found, _)| found == name).map(|(_, tree)| tree)
    }
}

/// How deep names are below names in a form; further brackets are part of a name. Who nests without end, or frees what is
/// nested so, runs out of stack.
const DEEPEST: usize = 4;

/// `value` below the last part of `name`, that below the one before, and so on.
fn nested(mut name: String, mut value: Tree) -> (String, Tree) {
    for _ in 0..DEEPEST {
        let Some((outer, inner)) = name.strip_suffix(']').and_then(|it| it.rsplit_once('[')) else {
            break;
        };
        value = Tree::Members(vec![(inner.to_owned(), value)]);
        name = outer.to_owned();
    }
    (name, value)
}

/// Adds a member. One with members of its own joins that of the same name right before it: they were written as one.
fn add(members: &mut Vec<(String, Tree)>, name: String, value: Tree) {
    match (members.last_mut(), value) {
        (Some((last, Tree::Members(inside))), Tree::Members(more)) if *last == name => {
            for (name, value) in more {
                add(inside, name, value);
            }
        }
        (_, value) => members.push((name, value)),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Tree::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = entries.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Tree {
        Tree::Text(text.to_owned())
    }

    #[test]
    fn json_keeps_what_is_there_twice() {
        let tree = Tree::of_json(br#"{"a":"1","b":{"a":null},"a":"2","c":[{"a":"3"}]}"#).unwrap();
        assert_eq!(tree.below("a").collect::<Vec<_>>(), [&text("1"), &text("2")]);
        let inner = tree.below("b").next().unwrap();
        assert_eq!(inner.below("a").collect::<Vec<_>>(), [&Tree::Nothing]);
        assert_eq!(tree.below("c").collect::<Vec<_>>(), [&Tree::Other]);
        assert_eq!(tree.below("d").count(), 0);
    }

    #[test]
    fn what_is_no_json_is_none_and_nesting_has_an_end() {
        let deep = "[".repeat(60_000);
        for text in ["", "{", "a=b", "{}{}", "{\"a\":1,}", &deep, &"{\"a\":".repeat(9_000)] {
            assert!(Tree::of_json(text.as_bytes()).is_none(), "{text:.20}");
        }
    }

    #[test]
    fn a_form_has_names_and_names_below_names() {
        let tree = Tree::of_form(b"code=a%20b&authorization[code]=c&user[name][firstName]=J&x[=y");
        assert_eq!(tree.below("code").collect::<Vec<_>>(), [&text("a b")]);
        let inner = tree.below("authorization").next().unwrap();
        assert_eq!(inner.below("code").collect::<Vec<_>>(), [&text("c")]);
        let name = tree.below("user").next().unwrap().below("name").next().unwrap();
        assert_eq!(name.below("firstName").collect::<Vec<_>>(), [&text("J")]);
        assert_eq!(tree.below("x[").collect::<Vec<_>>(), [&text("y")]);
    }

    #[test]
    fn what_a_form_says_below_one_name_is_together_and_still_there_twice() {
        let tree = Tree::of_form(b"user[name][a]=1&user[name][b]=2&user[name][b]=3&user[c]=4");
        let users: Vec<_> = tree.below("user").collect();
        assert_eq!(users.len(), 1);
        let name = users[0].below("name").next().unwrap();
        assert_eq!(name.below("b").collect::<Vec<_>>(), [&text("2"), &text("3")]);
        assert_eq!(users[0].below("c").count(), 1);
    }

    #[test]
    fn brackets_without_end_are_part_of_a_name() {
        let name = format!("a{}", "[b]".repeat(20_000));
        let Tree::Members(members) = Tree::of_form(format!("{name}=1").as_bytes()) else {
            unreachable!("a form has members")
        };
        assert_eq!(members[0].0.len(), name.len() - DEEPEST * "[b]".len());
    }
}
