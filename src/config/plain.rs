//! What libraries say about a value that cannot be read, in the words of somebody who writes settings and no Rust.

/// The endings of messages that need other words, and those.
const WORDS: [(&str, &str); 12] = [
    ("a nonzero usize", "a whole number, at least 1"),
    ("a nonzero u64", "a whole number, at least 1"),
    ("a nonzero u32", "a whole number, at least 1"),
    ("a nonzero u16", "a whole number, at least 1"),
    ("usize", "a whole number, at least 0"),
    ("u64", "a whole number, at least 0"),
    ("u32", "a whole number, at least 0"),
    ("u16", "a whole number, at least 0"),
    ("a sequence", "a list"),
    ("a map", "a table"),
    ("a boolean", "true or false"),
    ("path string", "a path"),
];

/// What [`url::Url`] says of `example.com` and of `/path`.
const NO_SCHEME: &str = "relative URL without a base";

/// `message` in plain words, and without the password that may be in a URL.
pub(super) fn plain(message: &str) -> String {
    let message =
        message.split_once(": \"").filter(|(_, url)| url.contains('@')).map_or(message, |it| it.0);
    if let Some(url) = message.strip_prefix(NO_SCHEME) {
        let url = url.trim_start_matches(": ");
        return format!("{url} has no scheme in front, such as http:// or https://");
    }
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let found = found.replacen("invalid type: sequence", "invalid type: list", 1);
    if expected.starts_with("struct ") {
        return format!("{found}, expected a table");
    }
    let words = WORDS.iter().find(|(theirs, _)| *theirs == expected);
    format!("{found}, expected {}", words.map_or(expected, |(_, ours)| ours))
}

#[cfg(test)]
mod tests {
    use super::super::Settings;

    /// What is said of `more` beside what every file needs.
    fn problem_of(more: &str) -> String {
        let text = format!("apple.client_ids = ['com.a']\n{more}");
        Settings::from_toml(&text).unwrap_err().to_string()
    }

    #[test]
    fn what_may_be_a_secret_is_not_told() {
        for more in [
            "store.redis_url = 'redis://user:hunter2@h:99999'",
            "upstream.url = 'http://user:hunter2@h:99999'",
            "upstream.url = 'user:hunter2@h'",
            "sessions.key_files = 'hunter2'",
            "webhooks.secret_files = 'hunter2'",
        ] {
            let problem = problem_of(more);
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn no_word_of_the_language_is_left_in_what_is_said_of_values() {
        for (more, words) in [
            ("server.max_connections = 0", "expected a whole number, at least 1; write it like"),
            ("server.max_connections = 'x'", "expected a whole number, at least 1; write it like"),
            ("verdicts.capacity = -1", "expected a whole number, at least 0; write it like"),
            ("policy.allow_emails = 'a'", "a string, expected a list"),
            ("policy.require_email = 'yes'", "expected true or false; write it like"),
            ("upstream.url = 'example.com'", "has no scheme in front"),
            ("jwks.url = 'example.com/keys'", "\"example.com/keys\" has no scheme in front"),
            ("jwks.url = 'https://a:99999'", "invalid port number"),
            ("jwks.additional = [['a']]", "invalid type: list, expected a table"),
            ("jwks.file = ['a']", "invalid type: list, expected a path"),
        ] {
            let problem = problem_of(more);
            assert!(problem.contains(words), "{more}: {problem}");
            for word in ["usize", "u64", "u32", "sequence", "boolean", "without a base", "struct"] {
                assert!(!problem.contains(word), "{more}: {problem}");
            }
        }
    }
}
