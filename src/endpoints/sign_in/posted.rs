//! What an app posts. Every client library has names of its own for the same few things.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};

use super::{super::grant::Code, name::UnverifiedName, tree::Tree};
use crate::{
    apple::{AuthorizationCode, RedirectUri},
    authn::{Rejection, SignInFault},
};

/// A request to sign in, read and not judged. Who it is comes out of the token alone: a subject or an email address beside it
/// is not even read.
pub(super) struct Posted {
    /// Apple's identity token.
    pub(super) token: String,
    /// The nonce that the sign-in was started with, before any hashing.
    pub(super) nonce: Option<String>,
    /// The authorization code that came beside the token.
    pub(super) code: Option<Code>,
    /// The name, if this is a first sign-in and the client hands it on.
    pub(super) name: Option<UnverifiedName>,
}

/// On Apple's own systems, in Expo and React Native; in Apple JS and forms; in Supabase; in Parse.
const TOKEN: Field = Field {
    names: &["identityToken", "identity_token", "id_token", "idToken", "token"],
    twice: "there are two different identity tokens",
    no_text: "the identity token is no text",
};

const CODE: Field = Field {
    names: &["authorizationCode", "authorization_code", "code"],
    twice: "there are two different authorization codes",
    no_text: "the authorization code is no text",
};

const NONCE: Field = Field {
    names: &["nonce", "rawNonce", "raw_nonce"],
    twice: "there are two different nonces",
    no_text: "the nonce is no text",
};

/// As Apple JS calls it in its options, and as Apple's endpoints do.
const REDIRECT_URI: Field = Field {
    names: &["redirectURI", "redirectUri", "redirect_uri"],
    twice: "there are two different redirect URIs",
    no_text: "the redirect URI is no text",
};

const REFRESH_TOKEN: Field = Field {
    names: &["refresh_token", "refreshToken"],
    twice: "there are two different refresh tokens",
    no_text: "the refresh token is no text",
};

/// Our refresh token, out of the `body` of a request with these `headers`.
///
/// # Errors
///
/// [`Rejection::NoCredential`] if there is none, and [`Rejection::BadRequest`] if it is not clear what is meant.
pub(super) fn refresh_token_of(headers: &HeaderMap, body: &Bytes) -> Result<String, Rejection> {
    let whole = tree_of(headers, body)?;
    let token = REFRESH_TOKEN.find(&[&whole])?.ok_or(Rejection::NoCredential)?;
    Ok(token.to_owned())
}

/// One thing, and how clients call it.
struct Field {
    names: &'static [&'static str],
    twice: &'static str,
    no_text: &'static str,
}

impl Posted {
    /// Reads the `body` of a request with these `headers`.
    ///
    /// # Errors
    ///
    /// [`SignInFault::TokenMissing`] if there is no token, and [`Rejection::BadRequest`] if it is not clear what is meant.
    pub(super) fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Self, Rejection> {
        let whole = tree_of(headers, body)?;
        let places = places_in(&whole);
        let token = TOKEN.find(&places)?.ok_or(SignInFault::TokenMissing)?;
        Ok(Self {
            token: token.to_owned(),
            nonce: NONCE.find(&places)?.map(str::to_owned),
            code: code_in(&places)?,
            name: name_in(&places),
        })
    }
}

fn code_in(places: &[&Tree]) -> Result<Option<Code>, Rejection> {
    let Some(code) = CODE.find(places)? else { return Ok(None) };
    let no_code = Rejection::BadRequest("the authorization code is none of Apple's");
    let code = AuthorizationCode::parse(code).ok_or(no_code)?;
    let redirect_uri = REDIRECT_URI.find(places)?.map(RedirectUri::new).transpose();
    let no_uri = |_told| Rejection::BadRequest("the redirect URI is none that Apple takes");
    Ok(Some(Code { code, redirect_uri: redirect_uri.map_err(no_uri)? }))
}

impl Field {
    /// The text that is there, if one is; several must agree.
    fn find<'a>(&self, places: &[&'a Tree]) -> Result<Option<&'a str>, Rejection> {
        let mut one = None;
        for found in
            places.iter().flat_map(|place| self.names.iter().flat_map(|it| place.below(it)))
        {
            let text = match found {
                Tree::Text(text) if text.is_empty() => continue,
                Tree::Text(text) => text.as_str(),
                Tree::Nothing => continue,
                Tree::Members(_) | Tree::Other => return Err(Rejection::BadRequest(self.no_text)),
            };
            if one.replace(text).is_some_and(|other| other != text) {
                return Err(Rejection::BadRequest(self.twice));
            }
        }
        Ok(one)
    }
}

/// What `body` is, by its type; by its first character, if it comes without one, or with that which browsers give a text.
fn tree_of(headers: &HeaderMap, body: &[u8]) -> Result<Tree, Rejection> {
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    let is_json = match &*essence {
        b"application/json" => true,
        b"application/x-www-form-urlencoded" => false,
        b"" | b"text/plain" => body.trim_ascii_start().starts_with(b"{"),
        _ => return Err(Rejection::BadRequest("the body is neither JSON nor a form")),
    };
    if !is_json {
        return Ok(Tree::of_form(body));
    }
    match Tree::of_json(body) {
        Some(object @ Tree::Members(_)) => Ok(object),
        _ => Err(Rejection::BadRequest("the body is no JSON object")),
    }
}

/// Where fields may be: on top, in Apple JS's `authorization`, in Capacitor's `response`, and where Parse has them.
fn places_in(whole: &Tree) -> Vec<&Tree> {
    let parse = whole.below("authData").flat_map(|it| it.below("apple"));
    let nested = whole.below("authorization").chain(whole.below("response")).chain(parse);
    std::iter::once(whole).chain(nested).collect()
}

/// The first name that is anywhere.
fn name_in(places: &[&Tree]) -> Option<UnverifiedName> {
    places.iter().find_map(|place| {
        let mut full = place.below("fullName").chain(place.below("full_name"));
        let full = full.find_map(UnverifiedName::of);
        full.or_else(|| place.below("user").find_map(name_of_user))
            .or_else(|| UnverifiedName::of(place))
    })
}

/// On the web `user` is an object, or one as text in a form: `{"name":{"firstName":…,"lastName":…},"email":…}`. On Apple's own
/// systems it is the subject.
fn name_of_user(user: &Tree) -> Option<UnverifiedName> {
    let parsed = match user {
        Tree::Text(text) => Tree::of_json(text.as_bytes()),
        Tree::Members(_) | Tree::Nothing | Tree::Other => None,
    };
    parsed.as_ref().unwrap_or(user).below("name").find_map(UnverifiedName::of)
}
