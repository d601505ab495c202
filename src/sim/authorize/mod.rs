//! `/auth/authorize`: the page on which people sign in on the web, in small, and the ways back from it.

mod asked;
mod back;
mod html;
mod page;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use url::form_urlencoded;

use super::{
    State,
    answer::{Body, Refusal, read_body},
    consents::EmailChoice,
    people::Person,
    sign_in::SignIn,
};
use asked::Asked;
use page::{Page, Remark, error_page};

/// Shows the page, or does what its form says.
pub(super) async fn answer(state: &State, request: Request<Incoming>) -> Response<Body> {
    let answered = match *request.method() {
        Method::GET => Ok(show(state, request.uri().query().unwrap_or_default())),
        Method::POST => submit(state, request.into_body()).await,
        _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the page takes GET and POST")),
    };
    answered.unwrap_or_else(Refusal::render)
}

/// The page for the request that `query` makes. What is wrong with it is told to the person, as nobody is to be trusted
/// with sending them anywhere.
fn show(state: &State, query: &str) -> Response<Body> {
    match Asked::parse(query, &state.clients) {
        Ok(asked) => Page { asked: &asked, query, consents: &state.consents }.render(None),
        Err(fault) => error_page(&fault),
    }
}

async fn submit(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let form = Form::parse(&read_body(body).await?);
    let asked = match Asked::parse(&form.query, &state.clients) {
        Ok(asked) => asked,
        Err(fault) => return Ok(error_page(&fault)),
    };
    if form.cancelled {
        return Ok(asked.cancelled());
    }
    let Some(person) = form.person() else {
        let page = Page { asked: &asked, query: &form.query, consents: &state.consents };
        return Ok(page.render(Some(Remark::NoAddress)));
    };
    let signed_in = state.sign_in(&SignIn {
        client_id: asked.client_id.clone(),
        redirect_uri: Some(asked.redirect_uri.clone()),
        scopes: asked.scopes,
        nonce: asked.nonce.clone(),
        person,
        email: form.email,
    });
    Ok(asked.agreed(signed_in))
}

/// What the page posts to itself.
#[derive(Default)]
struct Form {
    /// The request that the page was shown for.
    query: String,
    subject: String,
    address: String,
    email: EmailChoice,
    cancelled: bool,
}

impl Form {
    fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match (&*name, &*value) {
                ("request", _) => form.query = value.into_owned(),
                ("person", _) => form.subject = value.into_owned(),
                ("address", _) => value.trim().clone_into(&mut form.address),
                ("email", "hide") => form.email = EmailChoice::Hide,
                ("do", "cancel") => form.cancelled = true,
                _ => {}
            }
        }
        form
    }

    /// Whoever has the address that was typed; if none was, the one who was picked.
    fn person(&self) -> Option<Person> {
        if self.address.is_empty() {
            return Person::everybody().into_iter().find(|person| person.subject == self.subject);
        }
        self.address.contains('@').then(|| Person::of_address(&self.address))
    }
}

#[cfg(test)]
mod tests;
