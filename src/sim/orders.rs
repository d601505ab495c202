//! Signing in and its aftermath, ordered over HTTP: what a test in another language cannot click.

use http::Response;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::{
    State,
    answer::{Body, Refusal, json_of, parse_json},
    consents::{EmailChoice, Scopes},
    people::Person,
    presets::CLIENT_ID,
    sign_in::{SignIn, SignedIn},
};

/// `POST /sim/sign-in`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SignInOrder {
    client_id: String,
    sub: Option<String>,
    address: Option<String>,
    nonce: Option<String>,
    scope: String,
    hide_email: bool,
    redirect_uri: Option<String>,
}

impl Default for SignInOrder {
    fn default() -> Self {
        Self {
            client_id: CLIENT_ID.to_owned(),
            sub: None,
            address: None,
            nonce: None,
            scope: "name email".to_owned(),
            hide_email: false,
            redirect_uri: None,
        }
    }
}

impl SignInOrder {
    fn person(&self) -> Result<Person, Refusal> {
        match (&self.sub, &self.address) {
            (None, None) => Ok(Person::jane()),
            (Some(subject), None) => Ok(Person::of_subject(subject)),
            (None, Some(address)) => Ok(Person::of_address(address)),
            (Some(_), Some(_)) => {
                Err(Refusal::bad_request("name the sub or the address, not both"))
            }
        }
    }

    fn scopes(&self) -> Scopes {
        let asks = |scope| self.scope.split_whitespace().any(|word| word == scope);
        Scopes { name: asks("name"), email: asks("email") }
    }

    fn email(&self) -> EmailChoice {
        if self.hide_email { EmailChoice::Hide } else { EmailChoice::Share }
    }
}

pub(super) async fn sign_in(state: &State, body: Incoming) -> Result<Response<Body>, Refusal> {
    let order: SignInOrder = parse_json(body).await?;
    let SignedIn { code, identity_token, user } = state.sign_in(&SignIn {
        person: order.person()?,
        scopes: order.scopes(),
        email: order.email(),
        client_id: order.client_id,
        redirect_uri: order.redirect_uri,
        nonce: order.nonce,
    });
    Ok(json_of(&json!({
        "authorization_code": code,
        "identity_token": identity_token,
        "user": user,
    })))
}

/// `POST /sim/consent/withdraw`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithdrawOrder {
    sub: String,
    #[serde(default)]
    client_id: Option<String>,
}

pub(super) async fn withdraw_consent(
    state: &State,
    body: Incoming,
) -> Result<Response<Body>, Refusal> {
    let WithdrawOrder { sub, client_id } = parse_json(body).await?;
    let withdrawn = state.consents.withdraw(&sub, client_id.as_deref());
    Ok(json_of(&json!({ "withdrawn": withdrawn })))
}

/// `POST /sim/clients`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientOrder {
    client_id: String,
    redirect_uris: Vec<String>,
}

pub(super) async fn register_client(
    state: &State,
    body: Incoming,
) -> Result<Response<Body>, Refusal> {
    let ClientOrder { client_id, redirect_uris } = parse_json(body).await?;
    state.clients.register(&client_id, redirect_uris.into_iter());
    Ok(json_of(&json!({ "client_id": client_id })))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{
        super::tests::{open, post, start},
        *,
    };

    #[tokio::test]
    async fn somebody_signs_in_and_withdraws_over_http() {
        let apple = start().await;
        let order = json!({"address": "ada@example.net", "nonce": "n-1", "hide_email": true});
        let (status, answer) = post(&apple, "/sim/sign-in", order.to_string()).await;
        assert_eq!(status, StatusCode::OK);
        let claims = open(&apple, answer["identity_token"].as_str().unwrap()).await;
        let ada = Person::of_address("ada@example.net");
        assert_eq!((&claims["sub"], &claims["nonce"]), (&json!(ada.subject), &json!("n-1")));
        assert_eq!(
            (&claims["email"], &claims["is_private_email"]),
            (&json!(ada.relay_email), &json!(true))
        );
        assert_eq!(answer["user"]["name"]["firstName"], "ada");

        let (_, again) = post(&apple, "/sim/sign-in", order.to_string()).await;
        assert_eq!(again["user"], json!(null));
        let withdraw = json!({"sub": ada.subject}).to_string();
        let (_, withdrawn) = post(&apple, "/sim/consent/withdraw", withdraw).await;
        assert_eq!(withdrawn, json!({"withdrawn": 1}));
        let code = again["authorization_code"].as_str().unwrap();
        apple.state.redeem(code, CLIENT_ID, None).unwrap_err();

        let both = json!({"sub": "001", "address": "ada@example.net"}).to_string();
        assert_eq!(post(&apple, "/sim/sign-in", both).await.0, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn jane_signs_in_if_nobody_else_is_named() {
        let apple = start().await;
        let (_, answer) = post(&apple, "/sim/sign-in", "").await;
        let claims = open(&apple, answer["identity_token"].as_str().unwrap()).await;
        assert_eq!(
            (&claims["sub"], &claims["aud"]),
            (&json!(Person::jane().subject), &json!(CLIENT_ID))
        );
    }
}
