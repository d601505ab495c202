//! The names of identity headers, as they are written: ours, a preset's, or the application's own.

use std::fmt;

use http::HeaderName;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::super::problems::Problems;
use crate::authn::{IdentityHeader, IdentityHeaders, OwnHeaders};

/// Several names; a single one may be written without the brackets.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct HeaderNames(Vec<String>);

/// What they settle to.
#[derive(Debug, Default)]
pub(super) struct SettledHeaders {
    pub(super) ours: Vec<IdentityHeader>,
    pub(super) own: OwnHeaders,
}

/// What many applications believe already, by the program that used to tell them.
struct Preset {
    name: &'static str,
    subject: &'static str,
    email: &'static str,
    /// What that program can say besides.
    kin: &'static [&'static str],
}

/// <https://oauth2-proxy.github.io/oauth2-proxy/configuration/overview#header-options>,
/// <https://www.authelia.com/integration/trusted-header-sso/introduction/#response-headers>
const PRESETS: [Preset; 2] = [
    Preset {
        name: "oauth2-proxy",
        subject: "x-forwarded-user",
        email: "x-forwarded-email",
        kin: &[
            "x-forwarded-groups",
            "x-forwarded-preferred-username",
            "x-forwarded-access-token",
            "x-auth-request-user",
            "x-auth-request-email",
            "x-auth-request-groups",
            "x-auth-request-preferred-username",
            "x-auth-request-access-token",
        ],
    },
    Preset {
        name: "authelia",
        subject: "remote-user",
        email: "remote-email",
        kin: &["remote-name", "remote-groups"],
    },
];

/// The preset that stands for our own default.
const APPLE: &str = "apple";

impl Default for HeaderNames {
    fn default() -> Self {
        Self(IdentityHeaders::DEFAULT.map(spelled).into())
    }
}

impl HeaderNames {
    pub(super) fn check(self, problems: &mut Problems, key: &str) -> SettledHeaders {
        let mut settled = SettledHeaders::default();
        for written in &self.0 {
            if let Err(what) = settled.add(written) {
                problems.note(key, format!("`{written}` {what}"));
            }
        }
        settled
    }
}

impl SettledHeaders {
    fn add(&mut self, written: &str) -> Result<(), String> {
        let preset = PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(written));
        if let Some(preset) = preset {
            return self.add_preset(preset);
        }
        if written.eq_ignore_ascii_case(APPLE) {
            for header in IdentityHeaders::DEFAULT {
                self.add_ours(header);
            }
            return Ok(());
        }
        if let Some((name, value)) = written.split_once('=') {
            return self.add_own(name.trim(), told_by(value.trim())?);
        }
        let named = |header: &IdentityHeader| header.name().eq_ignore_ascii_case(written);
        match IdentityHeader::ALL.into_iter().find(named) {
            Some(IdentityHeader::Assertion) => Err("is reserved: remove it".to_owned()),
            Some(header) => {
                self.add_ours(header);
                Ok(())
            }
            None => Err(format!(
                "is no identity header: there are {}, the presets apple, oauth2-proxy and authelia, and NAME=VALUE",
                settable().map(spelled).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    fn add_ours(&mut self, header: IdentityHeader) {
        if !self.ours.contains(&header) {
            self.ours.push(header);
        }
    }

    fn add_preset(&mut self, preset: &Preset) -> Result<(), String> {
        self.own.stripped.extend(preset.kin.iter().copied().map(HeaderName::from_static));
        self.set(HeaderName::from_static(preset.subject), IdentityHeader::Subject)?;
        self.set(HeaderName::from_static(preset.email), IdentityHeader::Email)
    }

    fn add_own(&mut self, name: &str, value: IdentityHeader) -> Result<(), String> {
        let legal = name.parse::<HeaderName>().ok().filter(|name| may_be_own(name.as_str()));
        let name = legal.ok_or(
            "gives no name of your own: begin it with `X-` or `Remote-`, and take none that a proxy or siwa-proxy sets",
        )?;
        self.set(name, value)
    }

    fn set(&mut self, name: HeaderName, value: IdentityHeader) -> Result<(), String> {
        match self.own.set.iter().find(|(other, _)| *other == name) {
            Some((_, said)) if *said == value => Ok(()),
            Some(_) => Err("gives a second meaning to a name".to_owned()),
            None => {
                self.own.set.push((name, value));
                Ok(())
            }
        }
    }
}

/// Whether an application may take `name`, which is in lower case, for an identity: nobody else sets it, ourselves included,
/// and a request means the same without it.
fn may_be_own(name: &str) -> bool {
    const OTHERS: [&str; 6] =
        ["x-apple-", "x-siwa-", "x-original-", "x-real-ip", "x-request-id", "x-http-method"];

    let is_forwarding = name.starts_with("x-forwarded-")
        && !PRESETS.iter().any(|preset| [preset.subject, preset.email].contains(&name));
    let is_plain = name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric());
    is_plain
        && (name.starts_with("x-") || name.starts_with("remote-"))
        && !is_forwarding
        && !OTHERS.iter().any(|other| name.starts_with(other))
}

/// What a name of the application's own says: `sub` is what `X-Apple-Sub` says.
fn told_by(value: &str) -> Result<IdentityHeader, String> {
    let found = settable().find(|header| short(*header).eq_ignore_ascii_case(value));
    found.ok_or_else(|| {
        let all: Vec<_> = settable().map(short).collect();
        format!("says nothing that there is: behind the `=` there may be {}", all.join(", "))
    })
}

/// The assertion goes by its own name alone: whoever checks it reads it there.
fn settable() -> impl Iterator<Item = IdentityHeader> {
    IdentityHeader::ALL.into_iter().filter(|header| *header != IdentityHeader::Assertion)
}

fn short(header: IdentityHeader) -> &'static str {
    header.name().trim_start_matches("x-apple-")
}

/// The name as people write it: `X-Apple-Sub`.
fn spelled(header: IdentityHeader) -> String {
    let mut at_start = true;
    let spell = |c: char| {
        let spelled = if at_start { c.to_ascii_uppercase() } else { c };
        at_start = c == '-';
        spelled
    };
    header.name().chars().map(spell).collect()
}

impl<'de> Deserialize<'de> for HeaderNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> de::Visitor<'de> for OneOrMany {
    type Value = HeaderNames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header name or a preset, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HeaderNames, E> {
        Ok(HeaderNames(vec![text.to_owned()]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<HeaderNames, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        Ok(HeaderNames(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `written` settles to: `NAME=VALUE` for each that is set.
    fn settled(written: &[&str]) -> Result<Vec<String>, String> {
        let mut headers = SettledHeaders::default();
        written.iter().try_for_each(|name| headers.add(name))?;
        let ours = headers.ours.iter().map(|header| header.name().to_owned());
        let own = headers.own.set.iter().map(|(name, it)| format!("{name}={}", short(*it)));
        Ok(ours.chain(own).collect())
    }

    #[test]
    fn a_preset_stands_for_what_its_applications_believe() {
        for (written, expected) in [
            (&["apple"][..], &["x-apple-sub", "x-apple-email"][..]),
            (&["oauth2-proxy"], &["x-forwarded-user=sub", "x-forwarded-email=email"]),
            (&["Authelia"], &["remote-user=sub", "remote-email=email"]),
            (&["X-User=sub", "X-Mail = email"], &["x-user=sub", "x-mail=email"]),
            (&["X-App=client-id", "x-apple-sub"], &["x-apple-sub", "x-app=client-id"]),
            (&["authelia", "Remote-User=sub"], &["remote-user=sub", "remote-email=email"]),
        ] {
            assert_eq!(settled(written).unwrap(), expected);
        }
    }

    #[test]
    fn a_name_of_your_own_is_nobody_elses() {
        for written in [
            "Host=sub",
            "Authorization=sub",
            "X-Forwarded-For=sub",
            "X-Forwarded-Groups=sub",
            "X-Apple-Name=sub",
            "X-Siwa-Assertion=sub",
            "X-Original-URI=sub",
            "X-Request-Id=sub",
            "X-Real-IP=sub",
            "X_User=sub",
            "=sub",
            "X-User=",
            "X-User=siwa-assertion",
            "X-User",
        ] {
            assert!(settled(&[written]).is_err(), "{written}");
        }
        assert!(settled(&["X-User=sub", "x-user=email"]).is_err());
    }
}
