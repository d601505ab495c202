//! The ways back to the app: in the query, in the fragment, as a form that posts itself, as a message from a popup.

use http::{HeaderValue, Response, StatusCode, header::LOCATION};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::{
    super::{
        answer::{Body, respond},
        sign_in::SignedIn,
    },
    asked::{Asked, ResponseMode, ResponseType},
    html::{document, escape},
};

/// What goes back, in order.
type Fields = Vec<(&'static str, String)>;

impl Asked {
    /// The person has agreed.
    pub(super) fn agreed(&self, signed_in: SignedIn) -> Response<Body> {
        let SignedIn { code, identity_token, user } = signed_in;
        let mut fields = vec![("code", code)];
        if self.response_type == ResponseType::CodeIdToken {
            fields.push(("id_token", identity_token));
        }
        self.send(fields, user)
    }

    /// The person would rather not: the one error that ever goes back.
    pub(super) fn cancelled(&self) -> Response<Body> {
        self.send(vec![("error", "user_cancelled_authorize".to_owned())], None)
    }

    fn send(&self, mut fields: Fields, user: Option<Value>) -> Response<Body> {
        fields.extend(self.state.clone().map(|state| ("state", state)));
        match self.response_mode {
            ResponseMode::WebMessage => self.message(fields, user),
            ResponseMode::FormPost => {
                fields.extend(user.map(|user| ("user", user.to_string())));
                self.form(&fields)
            }
            ResponseMode::Query => self.redirect(|url| {
                url.query_pairs_mut().extend_pairs(&fields);
            }),
            ResponseMode::Fragment => self.redirect(|url| {
                let fragment =
                    form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
                url.set_fragment(Some(&fragment));
            }),
        }
    }

    fn redirect(&self, add: impl FnOnce(&mut url::Url)) -> Response<Body> {
        let mut url = self.return_url.clone();
        add(&mut url);
        let mut response = respond(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
        if let Ok(location) = HeaderValue::try_from(String::from(url)) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    /// OAuth 2.0 Form Post Response Mode §2.
    fn form(&self, fields: &Fields) -> Response<Body> {
        let inputs: String = fields
            .iter()
            .map(|(name, value)| {
                format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n", escape(value))
            })
            .collect::<Vec<_>>()
            .concat();
        let body = format!(
            "<form method=\"post\" action=\"{action}\">\n{inputs}\
             <noscript><button class=\"primary\">Continue to the app</button></noscript>\n</form>\n\
             <script>document.forms[0].submit()</script>",
            action = escape(&self.redirect_uri),
        );
        document("Back to the app", &body)
    }

    /// As JSON to whoever opened the window, if that is a page of the app's own origin.
    fn message(&self, fields: Fields, user: Option<Value>) -> Response<Body> {
        let told: Map<String, Value> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let data = match (told.contains_key("error"), user) {
            (true, _) => Value::Object(told),
            (false, None) => json!({ "authorization": told }),
            (false, Some(user)) => json!({ "authorization": told, "user": user }),
        };
        let message = json!({ "method": "oauthDone", "data": data }).to_string();
        let origin = self.return_url.origin().ascii_serialization();
        let body = format!(
            "<p id=\"told\" data-message=\"{}\" data-origin=\"{}\">This window can be closed.</p>\n\
             <script>\n\
             const {{ message, origin }} = document.getElementById('told').dataset;\n\
             if (window.opener) window.opener.postMessage(message, origin);\n\
             </script>",
            escape(&message),
            escape(&origin),
        );
        document("Back to the app", &body)
    }
}
