//! The form of a request, read as strictly as Apple reads it.

use http::{HeaderMap, header::CONTENT_TYPE};
use url::form_urlencoded;

use super::refusal::Refusal;

/// The fields of a form, each there once.
#[derive(Clone, Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        if !kind.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded") {
            return Err(Refusal::invalid_request("the content type is no form"));
        }
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(Refusal::invalid_request(format!("{name} is there twice")));
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(fields))
    }

    /// An empty field is none (RFC 6749 §3.2).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        let (_, value) = fields.find(|(other, _)| other == name)?;
        (!value.is_empty()).then_some(value)
    }

    pub(super) fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::invalid_request(format!("{name} is missing")))
    }

    /// Refuses what is neither a client's own name and secret nor one of `names`.
    pub(super) fn allow(&self, names: &[&str]) -> Result<(), Refusal> {
        let known =
            |name: &str| matches!(name, "client_id" | "client_secret") || names.contains(&name);
        match self.0.iter().find(|(name, _)| !known(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::invalid_request(format!("{name} is not supported"))),
        }
    }

    pub(super) fn into_fields(self) -> Vec<(String, String)> {
        self.0
    }
}
