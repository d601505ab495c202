//! `siwa-proxy explain`: every fault with a sentence to act on.
//!
//! What it says stands in `tests/fixtures/explain.md`, to be read and judged there. When it changes, the test writes the
//! new text beside the build and names the file.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use siwa_proxy::{
    ClientIds,
    clock::UnixTime,
    sim::{event::Event, keys::SigningKey, token::TokenTemplate},
    verify::{
        Issuer,
        explain::{Explainer, Explanation, ListedKeys, Outcome},
    },
};

use crate::support::fixture::check_against;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const KID: &str = "TestKey001";
const DAY: Duration = Duration::from_hours(24);

/// One key of a known name, and everything that says nothing but its name.
struct Desk {
    key: SigningKey,
}

impl Desk {
    fn new() -> Self {
        Self { key: SigningKey::generate().with_kid(KID) }
    }

    fn mint(&self, template: &TokenTemplate) -> String {
        template.sign(&self.key, Issuer::APPLE, NOW)
    }

    /// The key, and one that is listed and of no use.
    fn jwk_set(&self) -> Vec<u8> {
        let elliptic =
            json!({"kty": "EC", "kid": "Elliptic01", "crv": "P-256", "x": "AA", "y": "AA"});
        json!({"keys": [self.key.jwk(), elliptic]}).to_string().into_bytes()
    }

    fn explain_at(&self, text: &str, now: UnixTime) -> Explanation {
        let keys = ListedKeys::parse(&self.jwk_set(), Issuer::apple()).unwrap();
        let client_ids = ClientIds::new(["com.example.app", "com.example.web"]).unwrap();
        Explainer::new(keys, client_ids).max_token_age(Duration::from_hours(48)).explain(text, now)
    }

    fn explain(&self, text: &str) -> Explanation {
        self.explain_at(text, NOW)
    }

    /// Every fault that a token can have, and how it is brought about.
    fn faults(&self) -> Vec<(&'static str, String)> {
        let native = TokenTemplate::native;
        let good = self.mint(&native());
        let (signing_input, signature) = good.rsplit_once('.').unwrap();
        let (header, claims) = signing_input.split_once('.').unwrap();
        let other_key = SigningKey::generate().with_kid("OtherKey02");
        let same_name = SigningKey::generate().with_kid(KID);
        let long_ago = UnixTime::from_secs(NOW.as_secs() - 90_000);
        let ahead = NOW.saturating_add(Duration::from_mins(10));
        vec![
            ("too long", format!("{good}{}", "A".repeat(9_000))),
            ("an authorization code", "c0ffee.0.abcd.sample-code".to_owned()),
            ("a user identifier", "001999.0a1b2c3d4e5f60718293a4b5c6d7e8f9.0918".to_owned()),
            ("an encrypted token", format!("{good}.AAAA.AAAA")),
            ("a part is missing", format!("{signing_input}.")),
            ("wrapped over lines", format!("{header}.\n{claims}.{signature}")),
            ("padded", format!("{header}==.{claims}.{signature}")),
            ("a header that is no JSON", format!("AAAA.{claims}.{signature}")),
            ("a critical extension", self.mint(&native().header("crit", json!(["b64"])))),
            ("another algorithm", self.mint(&native().header("alg", "HS256"))),
            ("no key id", self.mint(&native().without_header("kid"))),
            ("an unknown key", native().sign(&other_key, Issuer::APPLE, NOW)),
            ("a key that is listed and unusable", self.mint(&native().header("kid", "Elliptic01"))),
            ("another key of the same name", native().sign(&same_name, Issuer::APPLE, NOW)),
            ("a signature that was cut", format!("{signing_input}.{}", &signature[..340])),
            ("a member twice", self.mint(&native().payload_bytes(r#"{"sub":"a","sub":"b"}"#))),
            (
                "a notification",
                self.mint(&TokenTemplate::notification(Event::consent_revoked("a"))),
            ),
            ("another issuer", native().sign(&self.key, "https://account.apple.com", NOW)),
            ("another app", self.mint(&native().audience("com.example.other"))),
            ("Expo Go", self.mint(&native().audience("host.exp.Exponent"))),
            ("no audience", self.mint(&native().without("aud"))),
            ("issued in the future", self.mint(&native().issued_at(ahead))),
            ("a time that is a text", self.mint(&native().claim("iat", "1800000000"))),
            ("not valid yet", self.mint(&native().claim("nbf", ahead.as_secs()))),
            ("expired", self.mint(&native().issued_at(long_ago))),
            ("no subject", self.mint(&native().without("sub"))),
            ("a subject with a space", self.mint(&native().subject("a b"))),
            ("a flag that is a number", self.mint(&native().claim("email_verified", 1))),
            (
                "too old",
                self.mint(
                    &native().issued_at(long_ago).lifetime(7 * DAY).claim("iat", 1_799_000_000),
                ),
            ),
        ]
    }
}

#[test]
fn every_fault_comes_with_a_sentence_to_act_on() {
    let desk = Desk::new();
    let mut all = String::from("# What `siwa-proxy explain` says of each fault\n");
    for (name, token) in desk.faults() {
        let explanation = desk.explain(&token);
        let problem = explanation.problem().unwrap_or_else(|| panic!("{name} is good"));
        let failed = explanation.checks().iter().find(|check| check.outcome == Outcome::Failed);
        let step = failed.unwrap().name;
        let (code, message, mend) = (problem.code, &problem.message, &problem.mend);
        write!(all, "\n## {name}\nCheck: {step} ({code}): {message}.\n\nTo mend it: {mend}.\n")
            .unwrap();
    }
    check_against("explain.md", &all);
}

#[test]
fn every_check_before_the_first_that_failed_is_ok_and_none_after_is_reached() {
    let desk = Desk::new();
    for (name, token) in desk.faults() {
        let explanation = desk.explain(&token);
        let outcomes: Vec<_> = explanation.checks().iter().map(|check| check.outcome).collect();
        let failed = outcomes.iter().position(|outcome| *outcome == Outcome::Failed).unwrap();
        assert!(outcomes[..failed].iter().all(|outcome| *outcome == Outcome::Ok), "{name}");
        assert!(outcomes[failed + 1..].iter().all(|it| *it == Outcome::NotReached), "{name}");
    }
}

#[test]
fn a_whole_explanation_is_read_on_a_terminal() {
    let desk = Desk::new();
    let an_hour_later = NOW.saturating_add(Duration::from_hours(1));
    let good = desk.explain_at(&desk.mint(&TokenTemplate::relay_email()), an_hour_later);
    let bad = desk.explain(&desk.mint(&TokenTemplate::native().audience("com.example.other")));
    assert!(good.is_good() && !bad.is_good());
    check_against("explain.txt", &format!("{good}\n\n\n{bad}\n"));
}

#[test]
fn programs_read_it_as_json() {
    let desk = Desk::new();
    let token = desk.mint(&TokenTemplate::native().claim("email_verified", 1));
    let json = serde_json::to_value(desk.explain(&token)).unwrap();
    assert_eq!(json["judged_at"], "2027-01-15T08:00:00Z");
    assert_eq!(json["header"], json!({"alg": "RS256", "kid": KID}));
    assert_eq!(json["claims"]["aud"], "com.example.app");
    assert_eq!(json["checks"][0]["outcome"], "ok");
    assert_eq!(
        json["checks"][14],
        json!({"name": "other claims", "asks": "of the types that Apple sends", "outcome": "failed"})
    );
    assert_eq!(json["checks"][15]["outcome"], "not_reached");
    assert_eq!(json["problem"]["code"], "token_claim");
}

#[test]
fn an_explanation_is_not_printed_by_accident() {
    let desk = Desk::new();
    let explanation = desk.explain(&desk.mint(&TokenTemplate::native().claim("exp", 1)));
    assert!(!format!("{explanation:?}").contains("jane@example.com"));
}

/// The command with the keys in a file and a token on standard input.
fn run(desk: &Desk, arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, desk.jwk_set()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_siwa-proxy"))
        .env_clear()
        .args(["explain", "--at", "2027-01-15T08:00:00Z", "--jwks-file"])
        .arg(keys)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not wait for a token.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

#[test]
fn the_exit_code_tells_whether_the_token_is_good() {
    let desk = Desk::new();
    let good = format!("Authorization: Bearer {}\n", desk.mint(&TokenTemplate::native()));
    let code = |arguments: &[&str], input: &str| run(&desk, arguments, input).status.code();
    assert_eq!(code(&["--client-id", "com.example.app"], &good), Some(0));
    assert_eq!(code(&["--client-id", "com.example.web"], &good), Some(1));
    assert_eq!(code(&["--client-id", "com.example.app"], "\u{0}"), Some(1));
    assert_eq!(code(&[], &good), Some(64), "no client id");
    assert_eq!(code(&["--client-id", "a", "--at", "noon"], &good), Some(64));
    let output = run(&desk, &["--client-id", "a", good.trim()], "");
    assert_eq!(output.status.code(), Some(64), "a token is no argument");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("standard input") && !said.contains("eyJ"), "{said}");
}

#[test]
fn settings_that_check_accepts_explain_accepts() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let (pem, config) = (folder.path().join("ca.pem"), folder.path().join("siwa.toml"));
    fs::write(&pem, "").unwrap();
    let upstream = format!("url = 'https://app.example.com'\nca_file = '{}'", pem.display());
    let token = desk.mint(&TokenTemplate::native());
    for application in [&*upstream, "url = 'unix:/run/app.sock'"] {
        let text = format!("apple.client_ids = ['com.example.app']\n[upstream]\n{application}\n");
        fs::write(&config, text).unwrap();
        let output = run(&desk, &["--config", config.to_str().unwrap()], &token);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn keys_that_cannot_be_had_say_nothing_of_the_token() {
    let output = Command::new(env!("CARGO_BIN_EXE_siwa-proxy"))
        .env_clear()
        .args(["explain", "--client-id", "a", "--jwks-file", "/nowhere/keys.json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot get the keys from /nowhere/keys.json: "), "{said}");
}

#[test]
fn the_command_prints_for_people_and_for_programs() {
    let desk = Desk::new();
    let token = desk.mint(&TokenTemplate::native().audience("com.example.web"));
    let text = run(&desk, &["--client-id", "com.example.app"], &token).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("To mend it: your client ids are com.example.app: add com.example.web"),
        "{text}"
    );
    let json = run(&desk, &["--client-id", "com.example.app", "--json"], &token).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["problem"]["code"], "token_audience");
}

#[test]
fn the_policy_of_the_settings_is_asked_last() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("siwa.toml");
    fs::write(
        &settings,
        "apple.client_ids = ['com.example.app']\npolicy.require_verified_email = true",
    )
    .unwrap();
    let arguments = ["--config", settings.to_str().unwrap(), "--json"];
    for (template, outcome, code) in [
        (TokenTemplate::native(), "ok", Value::Null),
        (TokenTemplate::no_email(), "failed", json!("not_allowed_email_missing")),
        (TokenTemplate::native().audience("a"), "not_reached", json!("token_audience")),
    ] {
        let output = run(&desk, &arguments, &desk.mint(&template));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let last = json["checks"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["name"], &last["outcome"]), (&json!("policy"), &json!(outcome)));
        assert_eq!(json["problem"]["code"], code);
        assert_eq!(output.status.code(), Some(i32::from(outcome != "ok")));
    }
}

#[test]
fn a_token_of_a_further_issuer_is_explained_by_its_own_keys() {
    let (desk, other) = (Desk::new(), Desk::new());
    let of = |desk: &Desk, issuer| ListedKeys::parse(&desk.jwk_set(), issuer).unwrap();
    let keys = of(&desk, Issuer::apple()).and(of(&other, Issuer::new("https://sim.example")));
    let explainer = Explainer::new(keys, ClientIds::new(["com.example.app"]).unwrap());
    // Both keys have one name: the one that fits is the right one.
    let judged = |desk: &Desk, issuer| {
        let token = TokenTemplate::native().sign(&desk.key, issuer, NOW);
        explainer.explain(&token, NOW).problem().map(|problem| problem.code)
    };
    assert_eq!(judged(&desk, Issuer::APPLE), None);
    assert_eq!(judged(&other, "https://sim.example"), None);
    assert_eq!(judged(&other, Issuer::APPLE), Some("token_signature"));
}
