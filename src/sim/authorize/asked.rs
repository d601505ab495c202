//! An authorization request (RFC 6749 §4.1.1, OIDC Core §3.1.2.1), under Apple's rules.

use url::{Url, form_urlencoded};

use super::super::{
    clients::{Clients, Unregistered},
    consents::Scopes,
};

/// What a web app asks when it sends somebody here.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) client_id: String,
    /// To the letter, as the code will have to be redeemed with it.
    pub(super) redirect_uri: String,
    pub(super) return_url: Url,
    pub(super) response_type: ResponseType,
    pub(super) response_mode: ResponseMode,
    pub(super) scopes: Scopes,
    pub(super) state: Option<String>,
    pub(super) nonce: Option<String>,
}

/// `id_token` alone is not on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseType {
    Code,
    CodeIdToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseMode {
    Query,
    Fragment,
    FormPost,
    /// The popup of Apple's script: a message to the page that opened it.
    WebMessage,
}

/// What is wrong with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AskedFault {
    /// RFC 6749 §4.1.2.1.
    pub(super) error: &'static str,
    pub(super) description: &'static str,
}

const fn fault(error: &'static str, description: &'static str) -> AskedFault {
    AskedFault { error, description }
}

impl Asked {
    pub(super) fn parse(query: &str, clients: &Clients) -> Result<Self, AskedFault> {
        let parameters = Parameters::parse(query)?;
        let client_id = parameters.required("client_id", "Missing client_id.")?;
        let redirect_uri = parameters.required("redirect_uri", "Missing redirect_uri.")?;
        let return_url = clients.check(&client_id, &redirect_uri).map_err(unregistered)?;
        let asked = Self {
            client_id,
            redirect_uri,
            return_url,
            response_type: response_type(parameters.get("response_type"))?,
            response_mode: response_mode(parameters.get("response_mode"))?,
            scopes: scopes(query, parameters.get("scope").unwrap_or_default())?,
            state: parameters.get("state").map(str::to_owned),
            nonce: parameters.get("nonce").map(str::to_owned),
        };
        asked.check_mode()?;
        Ok(asked)
    }

    fn check_mode(&self) -> Result<(), AskedFault> {
        let is_posted =
            matches!(self.response_mode, ResponseMode::FormPost | ResponseMode::WebMessage);
        if self.scopes != Scopes::default() && !is_posted {
            const RULE: &str =
                "response_mode must be form_post when name or email scope is requested.";
            return Err(fault("invalid_request", RULE));
        }
        if (self.response_type, self.response_mode)
            == (ResponseType::CodeIdToken, ResponseMode::Query)
        {
            const RULE: &str = "response_mode must be fragment or form_post for an id_token.";
            return Err(fault("invalid_request", RULE));
        }
        Ok(())
    }
}

struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// No parameter may come twice (RFC 6749 §3.1).
    fn parse(query: &str) -> Result<Self, AskedFault> {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut names: Vec<&String> = pairs.iter().map(|(name, _)| name).collect();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(fault("invalid_request", "A parameter comes twice."));
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str, complaint: &'static str) -> Result<String, AskedFault> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| fault("invalid_request", complaint))
    }
}

fn unregistered(which: Unregistered) -> AskedFault {
    match which {
        Unregistered::Client => fault("invalid_client", "Unknown client_id."),
        Unregistered::ReturnUrl => fault("invalid_request", "Invalid web redirect url."),
    }
}

fn response_type(text: Option<&str>) -> Result<ResponseType, AskedFault> {
    match text {
        Some("code") => Ok(ResponseType::Code),
        Some("code id_token" | "id_token code") => Ok(ResponseType::CodeIdToken),
        _ => Err(fault("unsupported_response_type", "Use code, or code id_token.")),
    }
}

fn response_mode(text: Option<&str>) -> Result<ResponseMode, AskedFault> {
    match text {
        None | Some("query") => Ok(ResponseMode::Query),
        Some("fragment") => Ok(ResponseMode::Fragment),
        Some("form_post") => Ok(ResponseMode::FormPost),
        Some("web_message") => Ok(ResponseMode::WebMessage),
        Some(_) => Err(fault("invalid_request", "Unknown response_mode.")),
    }
}

/// Spaces must be `%20`: many a library writes `+`, and is not understood.
fn scopes(query: &str, text: &str) -> Result<Scopes, AskedFault> {
    let written = query.split('&').find_map(|pair| pair.strip_prefix("scope="));
    if written.is_some_and(|written| written.contains('+')) {
        return Err(fault("invalid_scope", "The space between scopes is written %20."));
    }
    let mut scopes = Scopes::default();
    for word in text.split_whitespace() {
        match word {
            "name" => scopes.name = true,
            "email" => scopes.email = true,
            "openid" => {}
            _ => return Err(fault("invalid_scope", "Use name and email.")),
        }
    }
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<Asked, AskedFault> {
        let query = format!("client_id=com.example.web&redirect_uri=https://app.example/cb&{rest}");
        Asked::parse(&query, &Clients::default())
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let asked = parse(
            "response_type=code%20id_token&response_mode=form_post&scope=name%20email&state=a%2Bb+c&nonce=n%26",
        )
        .unwrap();
        assert_eq!(asked.redirect_uri, "https://app.example/cb");
        assert_eq!(
            (asked.response_type, asked.response_mode, asked.scopes),
            (ResponseType::CodeIdToken, ResponseMode::FormPost, Scopes::NAME_AND_EMAIL)
        );
        assert_eq!((asked.state.as_deref(), asked.nonce.as_deref()), (Some("a+b c"), Some("n&")));
        assert_eq!(parse("response_type=code").unwrap().response_mode, ResponseMode::Query);
    }

    #[test]
    fn what_apple_refuses_is_refused() {
        for (rest, error, word) in [
            ("", "unsupported_response_type", "code"),
            ("response_type=id_token&response_mode=form_post", "unsupported_response_type", "code"),
            ("response_type=code&response_mode=pigeon", "invalid_request", "response_mode"),
            ("response_type=code%20id_token", "invalid_request", "fragment or form_post"),
            ("response_type=code&scope=email", "invalid_request", "must be form_post"),
            (
                "response_type=code&response_mode=fragment&scope=name",
                "invalid_request",
                "must be form_post",
            ),
            (
                "response_type=code&response_mode=form_post&scope=phone",
                "invalid_scope",
                "name and email",
            ),
            ("response_type=code&response_mode=form_post&scope=name+email", "invalid_scope", "%20"),
            ("response_type=code&state=a&state=b", "invalid_request", "twice"),
        ] {
            let refused = parse(rest).unwrap_err();
            assert!(
                refused.error == error && refused.description.contains(word),
                "{rest}: {refused:?}"
            );
        }
        for query in [
            "",
            "client_id=a",
            "client_id=&redirect_uri=https://a.example/",
            "client_id=a&redirect_uri=ftp://a",
        ] {
            assert_eq!(
                Asked::parse(query, &Clients::default()).unwrap_err().error,
                "invalid_request"
            );
        }
    }
}
