//! What Apple has the browser post: `response_mode=form_post`
//! (<https://openid.net/specs/oauth-v2-form-post-response-mode-1_0.html>).

use std::{borrow::Cow, collections::HashMap, fmt, time::Duration};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use hyper::body::Incoming;
use url::form_urlencoded;

use super::super::whole_body::Readers;
use crate::authn::Rejection;

/// The fields that Apple sends; anybody may have written them. `Debug` shows which, and not what they hold.
pub(super) struct AppleForm(HashMap<&'static str, String>);

impl AppleForm {
    /// The longest form that is read, in bytes: a token, a code, a name and room to spare.
    const MAX_BYTES: usize = 32 << 10;
    /// How long it may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Every field that there is (APPLE documents no other); what else is posted is not looked at.
    const FIELDS: [&str; 5] = ["state", "code", "id_token", "user", "error"];

    /// Reads the form of a request with these `headers`.
    ///
    /// # Errors
    ///
    /// [`Rejection::BadRequest`] and those of a body that is too long or too slow.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: Incoming,
        readers: &Readers,
    ) -> Result<Self, Rejection> {
        if !is_form(headers.get(CONTENT_TYPE)) {
            return Err(Rejection::BadRequest("what is posted here is a form"));
        }
        let body = readers.read(body, Self::MAX_BYTES, Self::PATIENCE).await?;
        Self::parse(&body)
    }

    fn parse(body: &[u8]) -> Result<Self, Rejection> {
        let mut fields = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            let known = Self::FIELDS.into_iter().find(|known| *known == name);
            let Some(name) = known else { continue };
            if fields.insert(name, Cow::into_owned(value)).is_some() {
                // Two readers of one form must not find two states in it.
                return Err(Rejection::BadRequest("the form has a field twice"));
            }
        }
        Ok(Self(fields))
    }

    /// The field `name`, if it is there and not empty.
    pub(super) fn get(&self, name: &'static str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All of them, in the order in which Apple sends them.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        Self::FIELDS.into_iter().filter_map(|name| Some((name, self.0.get(name)?.as_str())))
    }
}

impl fmt::Debug for AppleForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields().map(|(name, _)| name)).finish()
    }
}

fn is_form(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_each_field_once() {
        let form = AppleForm::parse(b"state=a%2Bb&code=c+d&id_token=&x=1&x=2").unwrap();
        assert_eq!(form.get("state"), Some("a+b"));
        assert_eq!(form.get("code"), Some("c d"));
        assert_eq!(form.get("id_token"), None);
        assert_eq!(format!("{form:?}"), r#"["state", "code", "id_token"]"#);
        for twice in ["state=a&state=a", "state=a&code=b&st%61te=c"] {
            assert!(AppleForm::parse(twice.as_bytes()).is_err(), "{twice}");
        }
    }

    #[test]
    fn a_form_is_what_says_so() {
        for (content_type, expected) in [
            (Some("application/x-www-form-urlencoded"), true),
            (Some("Application/X-WWW-Form-Urlencoded; charset=utf-8"), true),
            (Some("application/json"), false),
            (Some("text/plain"), false),
            (Some("multipart/form-data; boundary=x"), false),
            (None, false),
        ] {
            let content_type = content_type.map(HeaderValue::from_static);
            assert_eq!(is_form(content_type.as_ref()), expected, "{content_type:?}");
        }
    }
}
