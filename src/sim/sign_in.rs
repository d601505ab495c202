//! One sign-in, whichever way a person came to it: what the app gets, and what is remembered of it.

use serde_json::{Map, Value};

use super::{
    Apple, State,
    codes::{CodeFault, Grant},
    consents::{EmailChoice, Scopes, Visit},
    people::Person,
};

/// A person signs in to an app. As it is made, Jane does so in a native app that asks for name and address, and shares
/// both.
#[derive(Clone, Debug)]
pub struct SignIn {
    pub(super) client_id: String,
    pub(super) redirect_uri: Option<String>,
    pub(super) scopes: Scopes,
    pub(super) nonce: Option<String>,
    pub(super) person: Person,
    pub(super) email: EmailChoice,
}

impl SignIn {
    /// To the app with the App ID or Services ID `client_id`.
    #[must_use]
    pub fn to(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            redirect_uri: None,
            scopes: Scopes::NAME_AND_EMAIL,
            nonce: None,
            person: Person::jane(),
            email: EmailChoice::Share,
        }
    }

    /// By somebody else.
    #[must_use]
    pub fn by(self, person: Person) -> Self {
        Self { person, ..self }
    }

    /// On the web: the code goes to `redirect_uri`, and whoever redeems it must name that.
    #[must_use]
    pub fn sent_to(self, redirect_uri: &str) -> Self {
        Self { redirect_uri: Some(redirect_uri.to_owned()), ..self }
    }

    /// With this `nonce` in the request.
    #[must_use]
    pub fn nonce(self, nonce: &str) -> Self {
        Self { nonce: Some(nonce.to_owned()), ..self }
    }

    /// Asking for this, instead of name and address.
    #[must_use]
    pub fn scopes(self, scopes: Scopes) -> Self {
        Self { scopes, ..self }
    }

    /// "Hide My Email", which counts at the first sign-in only.
    #[must_use]
    pub fn hiding_email(self) -> Self {
        Self { email: EmailChoice::Hide, ..self }
    }
}

/// What the app gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedIn {
    /// The authorization code.
    pub code: String,
    /// The identity token, whose `c_hash` is the code's.
    pub identity_token: String,
    /// Name and address, unsigned, as far as the app asked for them: `{"name":{"firstName","lastName"},"email"}`. At
    /// the first sign-in only.
    pub user: Option<Value>,
}

impl Apple {
    /// Does what the page does once somebody has agreed, or the system's sheet in a native app.
    #[must_use]
    pub fn sign_in(&self, sign_in: &SignIn) -> SignedIn {
        self.state.sign_in(sign_in)
    }

    /// "Stop Using Apple ID" for one app or all: codes and refresh tokens are void, and the next sign-in is a first one.
    /// How many apps that were. Telling them is another matter: mint a notification.
    pub fn withdraw_consent(&self, subject: &str, client_id: Option<&str>) -> usize {
        self.state.consents.withdraw(subject, client_id)
    }
}

impl State {
    /// Likewise.
    pub(super) fn sign_in(&self, sign_in: &SignIn) -> SignedIn {
        let SignIn { client_id, redirect_uri, scopes, nonce, person, email } = sign_in;
        let (consent, visit) = self.consents.give(person, client_id, *scopes, *email);
        let told = consent.address.as_ref().map(|(address, _)| address.clone());
        let grant = Grant {
            client_id: client_id.clone(),
            redirect_uri: redirect_uri.clone(),
            person: person.clone(),
            consent,
            nonce: nonce.clone(),
            at: self.clock.now(),
        };
        let template = grant.identity_token();
        let code = self.codes.issue(grant);
        let template = match (redirect_uri, visit) {
            // Native, and only the first time. 2: a real person, most likely.
            (None, Visit::First) => template.claim("real_user_status", 2),
            (None, Visit::Again) | (Some(_), _) => template,
        };
        let identity_token = self.mint(&template.code(&code));
        let user = match visit {
            Visit::First => user(*scopes, person, told),
            Visit::Again => None,
        };
        SignedIn { code, identity_token, user }
    }

    /// What `code` stands for, now, this once, if the consent behind it still does.
    pub(super) fn redeem(
        &self,
        code: &str,
        client_id: &str,
        redirect_uri: Option<&str>,
    ) -> Result<Grant, CodeFault> {
        let grant = self.codes.redeem(code, client_id, redirect_uri, self.clock.now())?;
        self.consents.stands(&grant.consent).then_some(grant).ok_or(CodeFault::Withdrawn)
    }
}

fn user(asked: Scopes, person: &Person, email: Option<String>) -> Option<Value> {
    let name = asked.name.then(|| ("name".to_owned(), person.name_object()));
    let email = email.map(|email| ("email".to_owned(), Value::from(email)));
    let members: Map<String, Value> = name.into_iter().chain(email).collect();
    (!members.is_empty()).then_some(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            ISSUER,
            tests::{open, start},
            token::TokenTemplate,
        },
        *,
    };

    #[tokio::test]
    async fn a_sign_in_gives_a_token_bound_to_its_code_and_the_name_only_the_first_time() {
        let apple = start().await;
        let sign_in = SignIn::to("com.example.web").by(Person::zoe()).nonce("n-1").hiding_email();

        let first = apple.sign_in(&sign_in);
        let claims = open(&apple, &first.identity_token).await;
        let relay = Person::zoe().relay_email.unwrap();
        let expected = TokenTemplate::native().code(&first.code);
        let c_hash = open(&apple, &apple.mint(&expected)).await["c_hash"].clone();
        assert_eq!(
            claims,
            json!({
                "iss": ISSUER, "aud": "com.example.web", "iat": 1_700_000_000, "exp": 1_700_086_400,
                "sub": Person::zoe().subject, "nonce": "n-1", "c_hash": c_hash, "email": relay,
                "email_verified": true, "is_private_email": true, "auth_time": 1_700_000_000,
                "nonce_supported": true, "real_user_status": 2,
            })
        );
        let name = json!({"firstName": "Zoë", "lastName": "Ångström"});
        assert_eq!(first.user, Some(json!({"name": name, "email": relay})));

        let again = apple.sign_in(&sign_in);
        assert_ne!(again.code, first.code);
        assert_eq!(again.user, None);
        assert_eq!(open(&apple, &again.identity_token).await.get("real_user_status"), None);

        let redeem = |code| apple.state.redeem(code, "com.example.web", None).map(drop);
        assert_eq!(redeem(&first.code), Ok(()));
        assert_eq!(apple.withdraw_consent(&Person::zoe().subject, None), 1);
        assert_eq!(redeem(&again.code), Err(CodeFault::Withdrawn));
        assert_eq!(apple.sign_in(&sign_in).user, first.user);
    }

    #[tokio::test]
    async fn an_app_that_asks_for_nothing_is_told_nothing() {
        let apple = start().await;
        let sign_in = SignIn::to("com.example.app").scopes(Scopes::default());
        let signed_in = apple.sign_in(&sign_in);
        let claims = open(&apple, &signed_in.identity_token).await;
        assert_eq!((claims.get("email"), signed_in.user), (None, None));
    }
}
