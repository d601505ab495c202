//! Where keys come from: several issuers side by side, and an endpoint that only one authority vouches for.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use siwa_proxy::{
    ClientIds, Identity, Policy, PolicyRules, UnverifiedToken, Verifier, VerifyError,
    clock::{Clock, ManualClock, SystemClock, UnixTime},
    config::Settings,
    sim::{Apple, event::Event, presets, token::TokenTemplate},
    verify::{
        FixedJwks, HttpsJwks, HttpsOptions, Issuer, KeySource, KeysFault, TrustedUrl,
        VerifierBuilder,
    },
};
use tokio::io::AsyncWriteExt;

use crate::support::{
    House, application,
    notifying::{ON, post_notification},
    read_head,
    secure::Authority,
    settings,
};

const OTHER: &str = "https://simulator.example";

/// A second Apple, of another name.
async fn other_apple(clock: Arc<dyn Clock>) -> Apple {
    let other = Apple::start(clock).await.unwrap();
    other.set_issuer(OTHER);
    other
}

fn source(url: &str, options: &HttpsOptions) -> HttpsJwks {
    HttpsJwks::with_options(TrustedUrl::new(url.parse().unwrap()).unwrap(), options).unwrap()
}

fn builder() -> VerifierBuilder {
    Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
}

async fn verify(verifier: &Verifier, token: &str) -> Result<Arc<Identity>, VerifyError> {
    verifier.verify(&UnverifiedToken::parse(token)?).await
}

#[tokio::test]
async fn one_subject_of_two_issuers_is_two_people() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
    let other = other_apple(Arc::new(clock.clone())).await;
    let direct = HttpsOptions::default();
    let verifier = builder()
        .jwks_source(source(&apple.jwks_url(), &direct))
        .add_source(KeySource::new(Issuer::new(OTHER), source(&other.jwks_url(), &direct)))
        .clock(clock)
        .build()
        .unwrap();
    let theirs = verify(&verifier, &apple.mint(&TokenTemplate::native())).await.unwrap();
    let others = verify(&verifier, &other.mint(&TokenTemplate::native())).await.unwrap();
    assert_eq!(theirs.subject(), others.subject());
    assert_eq!((theirs.issuer(), others.issuer().as_str()), (&Issuer::apple(), OTHER));

    let apples_alone =
        Policy::new(PolicyRules { issuers: Some(vec![Issuer::apple()]), ..PolicyRules::default() });
    assert!(apples_alone.check(&theirs).is_ok());
    assert_eq!(apples_alone.check(&others).unwrap_err().code(), "not_allowed_issuer");
}

#[tokio::test]
async fn a_simulator_beside_apple_opens_the_routes_that_name_it_and_says_whose_subject_it_is() {
    let other = other_apple(Arc::new(SystemClock)).await;
    let house = House::with(&format!(
        r#"
        policy.issuers = ["{apple}", "{OTHER}"]
        [[jwks.additional]]
        issuer = "{OTHER}"
        url = "{url}"
        [[route]]
        path = "/real/*"
        policy = {{ issuers = ["{apple}"] }}
        "#,
        apple = Issuer::APPLE,
        url = other.jwks_url()
    ))
    .await;
    let of_apple = house.bearer();
    let of_other = format!("Bearer {}", other.mint(&TokenTemplate::native()));
    for (path, bearer, status) in [
        ("/", &of_apple, 200),
        ("/", &of_other, 200),
        ("/real/x", &of_apple, 200),
        ("/real/x", &of_other, 403),
    ] {
        let reply = house.get(path, &[("Authorization", bearer)]).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        if status == 403 {
            assert_eq!(reply.json()["code"], "not_allowed_issuer");
        }
    }
    let told: Vec<_> = house
        .application
        .requests()
        .iter()
        .map(|request| (request.header("x-apple-sub"), request.header("x-apple-issuer")))
        .map(|(subject, issuer)| (subject.concat(), issuer.concat()))
        .collect();
    let said_by = |issuer: &str| (presets::SUBJECT.to_owned(), issuer.to_owned());
    assert_eq!(told, [said_by(Issuer::APPLE), said_by(OTHER), said_by(Issuer::APPLE)]);
}

#[tokio::test]
async fn what_a_further_issuer_tells_of_its_users_ends_nobody_elses_sign_in() {
    let other = other_apple(Arc::new(SystemClock)).await;
    let house = House::with(&format!(
        "{ON}\npolicy.issuers = ['{}']\njwks.additional = [{{ issuer = '{OTHER}', url = '{}' }}]",
        Issuer::APPLE,
        other.jwks_url()
    ))
    .await;
    let bearer = house.bearer();
    let event = TokenTemplate::notification(Event::new("account-deleted", presets::SUBJECT));
    let told = post_notification(house.address, &other.mint(&event)).await;
    assert_eq!(told.status, 400, "{}", told.body);
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
}

#[tokio::test]
async fn one_issuers_key_proves_nobody_of_the_others() {
    let other = other_apple(Arc::new(SystemClock)).await;
    let house = House::with(&format!(
        "policy.issuers = ['{}', '{OTHER}']\njwks.additional = [{{ issuer = '{OTHER}', url = '{}' }}]",
        Issuer::APPLE,
        other.jwks_url()
    ))
    .await;
    other.set_issuer(Issuer::APPLE);
    let forged = format!("Bearer {}", other.mint(&TokenTemplate::native()));
    let reply = house.get("/", &[("Authorization", &forged)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("token_issuer")));
}

#[test]
fn a_further_issuer_needs_a_decision_whose_users_may_pass() {
    let text = |extra: &str| {
        format!(
            "upstream.url = 'http://127.0.0.1:1'\napple.client_ids = ['com.example.app']\n\
             jwks.additional = [{{ issuer = '{OTHER}', file = '/keys.json' }}]\n{extra}"
        )
    };
    let undecided = Settings::from_toml(&text("")).unwrap_err().to_string();
    assert!(undecided.starts_with("policy.issuers: is missing"), "{undecided}");
    assert!(Settings::from_toml(&text(&format!("policy.issuers = ['{OTHER}']"))).is_ok());
    let twice = format!("policy.issuers = ['{OTHER}']\napple.issuer = '{OTHER}'");
    let twice = Settings::from_toml(&text(&twice)).unwrap_err().to_string();
    assert!(twice.starts_with("jwks.additional: names the issuer of [apple]"), "{twice}");
}

/// A key endpoint that speaks TLS with a certificate of `authority`'s for `localhost`.
pub(crate) async fn secure_endpoint(authority: &Authority, keys: String) -> SocketAddr {
    let acceptor = authority.acceptor_for("localhost");
    application(move |stream, _| {
        let (acceptor, keys) = (acceptor.clone(), keys.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_head(&mut stream).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys.len());
            stream.write_all((head + &keys).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_ca_file_is_what_an_endpoint_of_ones_own_is_believed_by() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
    let token = apple.mint(&TokenTemplate::native());
    let (ours, theirs) = (Authority::new(), Authority::new());
    let keys = serde_json::json!({ "keys": [apple.keys().signing().jwk()] });
    let address = secure_endpoint(&ours, keys.to_string()).await;
    let url = format!("https://localhost:{}/auth/keys", address.port());
    let by = |authority: &Authority| HttpsOptions::new(Some(authority.path("authority.pem")), None);
    for (options, believed) in
        [(by(&ours), true), (by(&theirs), false), (HttpsOptions::default(), false)]
    {
        let verifier =
            builder().jwks_source(source(&url, &options)).clock(clock.clone()).build().unwrap();
        let fault = match verify(&verifier, &token).await {
            Ok(_) => None,
            Err(VerifyError::KeysUnavailable(KeysFault::NoSet(fault))) => fault,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(fault.map(|fault| fault.code()), (!believed).then_some("transport"));
    }
}

#[tokio::test]
async fn a_duration_of_nothing_or_of_centuries_builds_no_verifier() {
    use siwa_proxy::verify::{CanarySettings, JwksSettings};

    let keys = || FixedJwks::new("{}");
    let refused = |builder: VerifierBuilder| builder.jwks_source(keys()).build().is_err();
    for wrong in [Duration::ZERO, Duration::MAX, JwksSettings::LONGEST + Duration::from_nanos(1)] {
        let settings = JwksSettings::default;
        let mut cases = vec![
            JwksSettings { refresh_every: wrong, ..settings() },
            JwksSettings { keep_while_failing: wrong, ..settings() },
            JwksSettings { unknown_key_cooldown: wrong, ..settings() },
        ];
        if !wrong.is_zero() {
            cases.push(JwksSettings { removed_key_grace: wrong, ..settings() });
        }
        for case in cases {
            assert!(refused(builder().jwks_settings(case.clone())), "{case:?}");
        }
        assert!(refused(builder().canary(CanarySettings::default().every(wrong))), "{wrong:?}");
        let timeout = HttpsOptions::default().timeout(wrong);
        assert!(HttpsJwks::with_options(TrustedUrl::apple_keys(), &timeout).is_err(), "{wrong:?}");
    }
    let error = builder()
        .jwks_settings(JwksSettings { refresh_every: Duration::ZERO, ..JwksSettings::default() })
        .build()
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "refresh_every is 0ns, and must lie between 1ms and 31622400s");
}

#[tokio::test]
async fn the_longest_of_everything_is_no_panic() {
    use siwa_proxy::verify::{CanarySettings, JwksSettings};

    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let apple = Apple::start(Arc::new(clock.clone())).await.unwrap();
    let longest = JwksSettings::LONGEST;
    let jwks = JwksSettings {
        refresh_every: longest,
        keep_while_failing: longest,
        unknown_key_cooldown: longest,
        removed_key_grace: longest,
    };
    let endless = TokenTemplate::native().claim("exp", u64::MAX);
    let verifier = builder()
        .jwks_source(source(&apple.jwks_url(), &HttpsOptions::default()))
        .jwks_settings(jwks)
        .canary(CanarySettings::new(
            TrustedUrl::new(apple.discovery_url().parse().unwrap()).unwrap(),
            TrustedUrl::new(apple.jwks_url().parse().unwrap()).unwrap(),
        ))
        .leeway(Duration::MAX)
        .max_token_age(Duration::MAX)
        .verdict_capacity(u64::MAX)
        .clock(clock)
        .build()
        .unwrap();
    let token = apple.mint(&endless);
    for _ in 0..2 {
        let identity = verify(&verifier, &token).await.unwrap();
        assert!(verifier.remaining(&identity) > longest);
    }
}

#[tokio::test]
async fn settings_for_a_simulator_alone_name_its_issuer_and_need_no_policy() {
    let other = other_apple(Arc::new(SystemClock)).await;
    let upstream = SocketAddr::from(([127, 0, 0, 1], 9));
    let settings = settings(&other.jwks_url(), upstream, &format!("apple.issuer = '{OTHER}'"));
    assert_eq!(settings.issuer().as_str(), OTHER);
}
