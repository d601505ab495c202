//! The page itself: who signs in, and whether the app is told their address. It works without scripts.

use http::{Response, StatusCode};

use super::{
    super::{answer::Body, consents::Consents, people::Person},
    asked::{Asked, AskedFault},
    html::{document, escape},
};

/// What the page is shown for.
pub(super) struct Page<'a> {
    pub(super) asked: &'a Asked,
    /// The request as it came, which the form carries along.
    pub(super) query: &'a str,
    pub(super) consents: &'a Consents,
}

/// Why the page is shown again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Remark {
    NoAddress,
}

impl Remark {
    const fn text(self) -> &'static str {
        match self {
            Self::NoAddress => "An address has an @ in it.",
        }
    }
}

impl Page<'_> {
    pub(super) fn render(&self, remark: Option<Remark>) -> Response<Body> {
        let remark = remark.map_or_else(String::new, |remark| {
            format!("<p class=\"remark\" role=\"alert\">{}</p>\n", remark.text())
        });
        let body = format!(
            "<h1>Sign in to {client}</h1>\n\
             <p class=\"quiet\">This is the simulator's stand-in for Apple's page. Nobody here is real.</p>\n\
             {remark}<form method=\"post\" action=\"/auth/authorize\">\n\
             <input type=\"hidden\" name=\"request\" value=\"{query}\">\n\
             {people}{email}\
             <div class=\"buttons\">\n\
             <button class=\"primary\" name=\"do\" value=\"continue\">Continue</button>\n\
             <button name=\"do\" value=\"cancel\" formnovalidate>Cancel</button>\n\
             </div>\n</form>",
            client = escape(&self.asked.client_id),
            query = escape(self.query),
            people = self.people(),
            email = self.email(),
        );
        document("Sign in", &body)
    }

    fn people(&self) -> String {
        let everybody = Person::everybody();
        let listed: Vec<String> = everybody.iter().map(|person| self.person(person)).collect();
        format!(
            "<fieldset>\n<legend>Who are you?</legend>\n{}\
             <label for=\"address\">Or somebody else, who has this address:</label>\n\
             <input id=\"address\" type=\"email\" name=\"address\" autocomplete=\"off\" \
             placeholder=\"ada@example.net\">\n</fieldset>\n",
            listed.concat(),
        )
    }

    fn person(&self, person: &Person) -> String {
        let is_known = self.consents.has(&person.subject, &self.asked.client_id);
        let known = if is_known { " · has signed in to this app before" } else { "" };
        let checked = if *person == Person::jane() { " checked" } else { "" };
        format!(
            "<label class=\"choice\"><input type=\"radio\" name=\"person\" value=\"{}\"{checked}>\
             <span>{} <small>{}{known}</small></span></label>\n",
            escape(&person.subject),
            escape(&person.full_name()),
            escape(&person.email),
        )
    }

    fn email(&self) -> &'static str {
        if !self.asked.scopes.email {
            return "";
        }
        "<fieldset>\n<legend>Your address</legend>\n\
         <label class=\"choice\"><input type=\"radio\" name=\"email\" value=\"share\" checked>\
         <span>Share My Email</span></label>\n\
         <label class=\"choice\"><input type=\"radio\" name=\"email\" value=\"hide\">\
         <span>Hide My Email <small>The app gets an address that forwards to yours.</small></span></label>\n\
         <p class=\"quiet\">Asked at the first sign-in to an app; a school's account always shares.</p>\n\
         </fieldset>\n"
    }
}

/// Apple's page, too, tells the person and not the app.
pub(super) fn error_page(fault: &AskedFault) -> Response<Body> {
    let body = format!(
        "<h1>Your request could not be completed</h1>\n<p><code>{}</code>: {}</p>",
        fault.error,
        escape(fault.description)
    );
    let mut response = document("Sign in", &body);
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
