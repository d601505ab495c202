//! Whose addresses are meant: one address, one domain, or everything below a domain.

use std::{fmt, str::FromStr};

use url::Host;

/// A pattern for email addresses, compared without regard to case. `Debug` does not show it.
///
/// | text | matches |
/// |---|---|
/// | `jane@example.com` | that address |
/// | `example.com` | every address at exactly that domain |
/// | `*.example.com` | every address at a domain below it, at any depth, and not at the domain itself |
///
/// Local parts are compared without regard to case too: RFC 5321 §2.4 lets a host tell `Jane` from `jane`, and no provider
/// of mailboxes does, so that nobody leaves a deny list by typing differently.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailPattern(Pattern);

#[derive(Clone, PartialEq, Eq)]
enum Pattern {
    Address { local: Box<str>, domain: Box<str> },
    Domain(Box<str>),
    Below(Box<str>),
}

/// Why a text is no [`EmailPattern`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEmailPattern {
    /// It has none of the three forms.
    #[error(
        "must be an address (jane@example.com), a domain (example.com) or what is below one (*.example.com)"
    )]
    Malformed,
    /// There is a `*`, or nothing, where an address has its local part. It would match nobody.
    #[error(
        "is no address, as there is a `*` or nothing before the `@`: write `{domain}` for a whole domain"
    )]
    NoLocalPart {
        /// What stands behind the `@`.
        domain: Box<str>,
    },
}

impl FromStr for EmailPattern {
    type Err = InvalidEmailPattern;

    fn from_str(text: &str) -> Result<Self, InvalidEmailPattern> {
        let malformed = InvalidEmailPattern::Malformed;
        let pattern = if let Some((local, domain)) = text.rsplit_once('@') {
            if local.contains(char::is_whitespace) {
                return Err(malformed);
            }
            let domain = canonical(domain).ok_or(malformed)?;
            // RFC 5322 §3.2.3 allows a star there, and no provider of mailboxes does.
            if local.is_empty() || local.contains('*') {
                return Err(InvalidEmailPattern::NoLocalPart { domain });
            }
            Pattern::Address { local: local.to_ascii_lowercase().into(), domain }
        } else if let Some(domain) = text.strip_prefix("*.") {
            Pattern::Below(canonical(domain).ok_or(malformed)?)
        } else {
            Pattern::Domain(canonical(text).ok_or(malformed)?)
        };
        Ok(Self(pattern))
    }
}

impl EmailPattern {
    /// Whether one of `patterns` matches `address`. Something without a domain is matched by none.
    pub(super) fn any_matches(patterns: &[Self], address: &str) -> bool {
        let Some((local, domain)) = address.rsplit_once('@') else { return false };
        let Some(domain) = canonical(domain) else { return false };
        let local = local.to_ascii_lowercase();
        patterns.iter().any(|pattern| pattern.matches(&local, &domain))
    }

    fn matches(&self, local: &str, domain: &str) -> bool {
        match &self.0 {
            Pattern::Address { local: mine, domain: at } => **mine == *local && **at == *domain,
            Pattern::Domain(at) => **at == *domain,
            Pattern::Below(above) => {
                domain.strip_suffix(&**above).is_some_and(|rest| rest.ends_with('.'))
            }
        }
    }
}

impl fmt::Debug for EmailPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailPattern(..)")
    }
}

/// The one spelling of a domain: lower case, international names as A-labels (RFC 5890 §2.3.2.1), no final dot.
fn canonical(domain: &str) -> Option<Box<str>> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let labels_are_plain = domain.split('.').all(|label| !label.is_empty())
        && !domain.contains(['%', '*', '@', '/', ' ']);
    if !labels_are_plain {
        return None;
    }
    match Host::parse(domain).ok()? {
        Host::Domain(domain) => Some(domain.into()),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, address: &str) -> bool {
        EmailPattern::any_matches(&[pattern.parse().unwrap()], address)
    }

    #[test]
    fn an_address_matches_itself_in_any_case() {
        assert!(matches("jane@example.com", "Jane@Example.COM"));
        assert!(!matches("jane@example.com", "jane@example.org"));
        assert!(!matches("jane@example.com", "jane+x@example.com"));
        assert!(!matches("jane@example.com", "jane@sub.example.com"));
    }

    #[test]
    fn a_domain_is_exact_and_what_is_below_it_is_asked_for_with_a_star() {
        for (address, at, below) in [
            ("a@example.com", true, false),
            ("a@EXAMPLE.com.", true, false),
            ("\"a@b\"@example.com", true, false),
            ("a@mail.example.com", false, true),
            ("a@x.y.example.com", false, true),
            ("a@notexample.com", false, false),
            ("a@example.com.evil.org", false, false),
            ("example.com", false, false),
            ("a@", false, false),
            ("a@example.com@evil.org", false, false),
        ] {
            assert_eq!(matches("example.com", address), at, "{address}");
            assert_eq!(matches("*.example.com", address), below, "{address}");
        }
    }

    #[test]
    fn an_international_domain_has_two_spellings_and_one_meaning() {
        assert!(matches("münchen.example", "a@xn--mnchen-3ya.example"));
        assert!(matches("xn--mnchen-3ya.example", "a@MÜNCHEN.example"));
    }

    #[test]
    fn a_star_or_nothing_before_the_at_sign_matches_nobody_and_is_refused() {
        for text in ["*@example.com", "@example.com", "jane*@Example.com", "*+x@example.com."] {
            let error = text.parse::<EmailPattern>().unwrap_err().to_string();
            assert!(error.ends_with("write `example.com` for a whole domain"), "{error}");
        }
    }

    #[test]
    fn other_texts_are_no_pattern() {
        for text in [
            "",
            "@",
            "@example.com",
            "*",
            "*.",
            "a b@example.com",
            "exa mple.com",
            "a@",
            ".",
            "a..b",
            "*@example.com/",
            " example.com",
            "*@",
            "*@*.example.com",
            "jane@*.example.com",
            "127.0.0.1",
            "*.*.example.com",
        ] {
            assert!(text.parse::<EmailPattern>().is_err(), "{text}");
        }
    }
}
