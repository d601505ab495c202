//! The name that a client hands on. Apple tells it once, unsigned, to the client: it may be anything.

use serde::Serialize;

use super::tree::Tree;

/// A name that nobody vouches for, cleaned of what is no part of a name. The members are `OpenID` Connect's
/// (<https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims>) where it has them.
#[derive(Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(Debug))]
pub(in crate::endpoints) struct UnverifiedName {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    middle_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_suffix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nickname: Option<String>,
}

impl UnverifiedName {
    /// The longest part of a name that is handed on, in characters.
    const LONGEST: usize = 100;

    /// The name in `user`, the JSON text that Apple has a browser post beside the token.
    pub(in crate::endpoints) fn of_user(user: &str) -> Option<Self> {
        Tree::of_json(user.as_bytes())?.below("name").next().and_then(Self::of)
    }

    /// What is below `tree`: the parts of a name, by the names that clients give them, or the whole of it as one text.
    pub(super) fn of(tree: &Tree) -> Option<Self> {
        let name = match tree {
            Tree::Text(text) => Self { name: cleaned(text), ..Self::default() },
            Tree::Members(_) => Self {
                name: None,
                given_name: part(tree, &["givenName", "given_name", "firstName", "first_name"]),
                middle_name: part(tree, &["middleName", "middle_name"]),
                family_name: part(tree, &["familyName", "family_name", "lastName", "last_name"]),
                name_prefix: part(tree, &["namePrefix", "name_prefix"]),
                name_suffix: part(tree, &["nameSuffix", "name_suffix"]),
                nickname: part(tree, &["nickname"]),
            },
            Tree::Nothing | Tree::Other => Self::default(),
        };
        (name != Self::default()).then_some(name)
    }
}

fn part(tree: &Tree, names: &[&str]) -> Option<String> {
    let mut texts = names.iter().flat_map(|name| tree.below(name));
    texts.find_map(|found| if let Tree::Text(text) = found { cleaned(text) } else { None })
}

/// `text` without what does not show or turns around what does, its spaces single, and no longer than it may be.
fn cleaned(text: &str) -> Option<String> {
    let visible: String = text.chars().filter(|c| c.is_whitespace() || !is_invisible(*c)).collect();
    let spaced = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = spaced.chars().take(UnverifiedName::LONGEST).collect();
    let trimmed = short.trim_end();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Control characters, what sets the direction of writing, and marks that only begin files. Joiners stay: names in Persian
/// and in the scripts of India are spelt with them.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(json: &str) -> Option<serde_json::Value> {
        let name = UnverifiedName::of(&Tree::of_json(json.as_bytes()).unwrap())?;
        Some(serde_json::to_value(name).unwrap())
    }

    #[test]
    fn a_name_has_parts_under_several_names() {
        let native = r#"{"givenName":"Jane","familyName":"Doe","middleName":"Q","namePrefix":"Dr","nameSuffix":"Jr","nickname":"J"}"#;
        let expected = serde_json::json!({
            "given_name": "Jane", "family_name": "Doe", "middle_name": "Q", "name_prefix": "Dr", "name_suffix": "Jr",
            "nickname": "J",
        });
        assert_eq!(name(native), Some(expected));
        let web = r#"{"firstName":"Jane","lastName":"Doe"}"#;
        let expected = serde_json::json!({"given_name": "Jane", "family_name": "Doe"});
        assert_eq!(name(web), Some(expected));
        assert_eq!(name(r#""Jane Doe""#), Some(serde_json::json!({"name": "Jane Doe"})));
    }

    #[test]
    fn what_names_nobody_is_no_name() {
        for nothing in [
            "null",
            "{}",
            "[]",
            "7",
            r#""""#,
            r#"" \u0000 ""#,
            r#"{"givenName":null,"familyName":""}"#,
            r#"{"givenName":7}"#,
            r#"{"email":"jane@example.com"}"#,
        ] {
            assert_eq!(name(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_name_loses_what_does_not_print_and_what_is_too_long() {
        for (sent, kept) in [
            ("  Jane \t\r\n Doe ", "Jane Doe"),
            ("Ja\u{0}ne\u{7f}\u{9b}\u{1b}[31m", "Jane[31m"),
            ("\u{202e}eoD\u{202c} \u{2066}x\u{2069}\u{feff}", "eoD x"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("O'Brien-Łukasiewicz 🙂", "O'Brien-Łukasiewicz 🙂"),
        ] {
            assert_eq!(cleaned(sent).as_deref(), Some(kept));
        }
        let long = cleaned(&"é".repeat(5_000)).unwrap();
        assert_eq!(long.chars().count(), UnverifiedName::LONGEST);
    }
}
