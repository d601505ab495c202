//! Who acts in the requests, and what of it must never be told.

use std::sync::Arc;

use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, event::Event, keys::SigningKey, sign_in::SignIn, token::TokenTemplate},
};

/// Whoever acts in these requests, and every secret that they have had so far.
pub(super) struct Scene {
    pub(super) apple: Apple,
    pub(super) secrets: Vec<String>,
    /// What the settings call the one person whom they know.
    pub(super) member: String,
    /// A nonce that the proxy issued.
    pub(super) nonce: String,
    /// A request that is sent again.
    pub(super) last: String,
}

impl Scene {
    pub(super) async fn set() -> Self {
        let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
        let [member, nonce, last] = [const { String::new() }; 3];
        let mut scene = Self { apple, secrets: Vec::new(), member, nonce, last };
        scene.member = scene.secret();
        scene
    }

    /// A word that was never said before and must never be said again.
    pub(super) fn secret(&mut self) -> String {
        let secret = format!("hush{:04}{:012x}", self.secrets.len(), fastrand::u64(..1 << 48));
        self.secrets.push(secret.clone());
        secret
    }

    /// Somebody of whom everything is secret.
    pub(super) fn someone(&mut self) -> TokenTemplate {
        let [subject, name, nonce, code] = [(); 4].map(|()| self.secret());
        let email = format!("{name}@example.com");
        TokenTemplate::native()
            .audience("com.example.app")
            .subject(&format!("001999.{subject}.0918"))
            .claim("email", email)
            .nonce(&nonce)
            .code(&code)
    }

    /// Whom the settings know: by this subject, and by this verified address.
    pub(super) fn subject_of_member(&self) -> String {
        format!("001999.{}.0918", self.member)
    }

    pub(super) fn email_of_member(&self) -> String {
        format!("{}@example.com", self.member)
    }

    /// The header line that presents `token`, of which no part may be told but the name of its key.
    pub(super) fn bearer(&mut self, token: &str) -> String {
        self.secrets.extend(token.split('.').skip(1).map(str::to_owned));
        format!("Authorization: Bearer {token}")
    }

    pub(super) fn token(&mut self, change: impl FnOnce(TokenTemplate) -> TokenTemplate) -> String {
        let template = change(self.someone());
        let token = self.apple.mint(&template);
        self.bearer(&token)
    }

    pub(super) fn good(&mut self) -> String {
        self.token(|it| it)
    }

    pub(super) fn signed_by(&mut self, key: &SigningKey) -> String {
        let template = self.someone();
        let token = self.apple.mint_with(key, &template);
        self.bearer(&token)
    }

    /// What Apple posts about somebody, changed.
    pub(super) fn notification(
        &mut self,
        change: impl FnOnce(TokenTemplate) -> TokenTemplate,
    ) -> String {
        let [subject, name] = [(); 2].map(|()| self.secret());
        let event = Event::email_disabled(
            &format!("001999.{subject}.0918"),
            &format!("{name}@example.com"),
        );
        let token = self.apple.mint(&change(TokenTemplate::notification(event)));
        self.secrets.extend(token.split('.').skip(1).map(str::to_owned));
        self.posted(&format!("{{\"payload\":\"{token}\"}}"))
    }

    /// `body`, posted where notifications are taken.
    pub(super) fn posted(&mut self, body: &str) -> String {
        self.post("/auth/apple/notifications", body)
    }

    /// `body`, posted to `path`.
    pub(super) fn post(&mut self, path: &str, body: &str) -> String {
        let length = format!("Content-Length: {}", body.len());
        self.request(&format!("POST {path}"), &[&length, "Content-Type: application/json"]) + body
    }

    /// What an app posts to sign in with the token of an `authorization` line, and `more` members.
    pub(super) fn sign_in(&mut self, authorization: &str, more: &str) -> String {
        let token = authorization.trim_start_matches("Authorization: Bearer ");
        self.post("/sign-in", &format!("{{\"identityToken\":\"{token}\"{more}}}"))
    }

    /// Likewise with a code of Apple's, who grants secrets for it.
    pub(super) fn redeem(&mut self) -> String {
        let signed_in = self.apple.sign_in(&SignIn::to("com.example.app"));
        let bearer = self.bearer(&signed_in.identity_token);
        self.secrets.push(signed_in.code.clone());
        self.sign_in(&bearer, &format!(",\"authorizationCode\":\"{}\"", signed_in.code))
    }

    /// A request with these `lines`, and secrets wherever else they fit.
    pub(super) fn request(&mut self, line: &str, lines: &[&str]) -> String {
        let [query, cookie, custom, forwarded, state] = [(); 5].map(|()| self.secret());
        let target = format!("{line}?token={query}");
        format!(
            "{target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nCookie: session={cookie}\r\n\
             X-Custom: {custom}\r\nX-Forwarded-Proto: {forwarded}\r\ntracestate: a={state}\r\n{}\r\n\r\n",
            lines.join("\r\n")
        )
    }
}
