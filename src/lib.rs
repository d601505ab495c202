//! The auth proxy for Sign in with Apple.
//!
//! > An [`UnverifiedToken`] goes in, an [`Identity`] comes out, and only requests that pass through `UpstreamRequest`
//! > reach the application.
//!
//! Apple hands every app a signed *identity token*. This crate decides what such a token proves, as a reverse proxy in
//! front of an HTTP application (the program `siwa-proxy`) and as a library:
//!
//! ```no_run
//! use siwa_proxy::{ClientIds, UnverifiedToken, Verifier};
//!
//! # async fn doc(authorization: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // Which apps' tokens to accept is the one thing without a default.
//! let verifier = Verifier::builder(ClientIds::new(["com.example.app"])?).build()?;
//!
//! let token = UnverifiedToken::parse(authorization)?;
//! let identity = verifier.verify(&token).await?;
//! println!("{}", identity.subject().as_str());
//! # Ok(())
//! # }
//! ```
//!
//! For axum, tonic and other tower services there are [`RequireIdentityLayer`] and [`OptionalIdentityLayer`]. Who may pass,
//! out of those whom Apple vouched for, is a [`Policy`]. What only the caller can know is asked of the identity:
//! [`check_nonce`](Identity::check_nonce) against replay, [`check_code`](Identity::check_code) before a code is spent. And
//! [`verify::explain`] says step by step how a token was judged, and what to mend. Offline, with keys at hand:
//!
//! ```
//! use siwa_proxy::{ClientIds, UnverifiedToken, Verifier, VerifyError, verify::FixedJwks};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = std::fs::read("tests/fixtures/jwks/2026-06-30-three-keys.json")?;
//! let client_ids = ClientIds::new(["com.example.app"])?;
//! let verifier = Verifier::builder(client_ids).jwks_source(FixedJwks::new(keys)).build()?;
//!
//! // {"kid":"made-up","alg":"RS256"}
//! let forged = "eyJraWQiOiJtYWRlLXVwIiwiYWxnIjoiUlMyNTYifQ.e30.c2ln";
//! match verifier.verify(&UnverifiedToken::parse(forged)?).await {
//!     Err(VerifyError::Rejected(fault)) => assert_eq!(fault.code(), "token_unknown_key"),
//!     other => panic!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The house
//!
//! Floors, from the ground up; a file names lower floors only, and `tests/floors.rs` holds us to it:
//!
//! | floor | what is there |
//! |---|---|
//! | `per_core`, `alarm`, [`clock`], [`telemetry`] | what cores keep apart; deadlines that move; time as an argument; every metric, declared once; the log; traces |
//! | `peers` | who is at the other end of a connection, and whose word about others is believed |
//! | `rate` | how often one client may ask |
//! | `es256` | signing, for those who must be believed elsewhere |
//! | `https` | the client by which others are asked, and the addresses that are trusted |
//! | `store` | what must outlive a request or be shared by replicas: in memory, a file or Redis |
//! | [`verify`] | *who is this?* keys, signature, claims, verdicts, revocations: from a token to an [`Identity`] |
//! | [`apple`] | what Apple tells us about accounts, and what we ask of it in an app's name |
//! | `webhooks` | whom we tell |
//! | [`authn`] | one request head meets the verifier; who may pass; the one table of rejections; the headers that carry an identity |
//! | `upstream` | the application behind us; `UpstreamRequest`, stripped and rebuilt by construction |
//! | `endpoints` | the doors: the proxy, those at which other gateways ask, and those at which apps and browsers sign in; one decision behind all of them |
//! | `server` | sockets, limits, drain; the admin listener |
//! | [`config`] | what the operator wrote, settled |
//! | [`app`] | the composition root |
//! | `measured`, [`cost`] | steps of a request for `benches/` to measure; what they cost |
//!
//! [`sim`] stands next door: a toy Apple for demonstrations and tests. It shares no type with [`verify`], so that a
//! misspelt claim cannot be wrong on both sides. The program, `src/main.rs` and `src/commands/`, uses all that from outside.
//!
//! Read in this order: `src/verify/mod.rs` (`verify` and `judge`), `src/authn/mod.rs` and the table in
//! `src/authn/rejection/mod.rs`, `src/upstream/request.rs` (the constructor, step by step), `src/app/running.rs`, and then the names of
//! the tests: `cargo test -- --list` is the specification in sentences.
//!
//! # Invariants, above all what is absent
//!
//! 1. Only a [`Verifier`] hands out an [`Identity`], made from claims that were signed, or from what we sealed ourselves when
//!    they had been (`verify/session/`). It names its issuer: a subject is unique for one alone. ([`verify::explain`] lends
//!    one to the caller's last check, and takes it back.) Key sets, keys, signed claims and the rules for them are private
//!    to [`verify`]: nobody else can put them together in another order.
//! 2. [`UnverifiedToken`] has no accessor for claims: to read them, `verify` must open it with a key, and the `iss`
//!    inside must be the issuer to whom that key belongs. Only [`verify::explain`] reads unverified claims, by a
//!    decoder of its own that nothing else can name, and all it does with them is to show them.
//! 3. The upstream client takes an `UpstreamRequest` and nothing else, and both its constructors strip every identity
//!    header in every spelling; one of them then sets those of an identity, the other none. There is no "forward as is".
//! 4. *Could not judge* is never yes, and never 401: it is 503. There is no fail-open, and no setting for one. A key id
//!    that nobody knows is 401 only when the key set was fetched within the cooldown. To a gateway that asks, no refusal
//!    is what it could take for a yes: a 2xx where it goes by the status, or a failure of ours where it forgives those.
//! 5. No request waits for Apple while its key is in memory. Unknown key ids cost one fetch per cooldown, whatever the
//!    set holds, and never delay the scheduled refresh.
//! 6. No token, code, secret or email address reaches a log, a metric or a trace: the types that hold them do not print them,
//!    and `tests/redaction.rs` searches all that is told for every one of them.
//! 7. Only `config/load.rs` reads the environment, and OpenTelemetry's library its own details; only `clock.rs` reads the
//!    wall clock; tasks run on a tracker that shutdown waits for.
//! 8. `verify` does not know that HTTP servers exist; `server` does not know that Apple exists.
//! 9. Apple's discovery document decides nothing: issuer, key endpoint and algorithm are pinned. The canary compares, and warns.
//! 10. Nothing that a request lent us is kept in a cache: it would pin the connection's buffer.
//! 11. A notification of Apple's is answered 200 only when what it says is stored. A request waits for no store: the list of
//!     revocations and that of ended sessions are in memory, and until they have been read once nobody is let in by a token.
//! 12. A revocation is remembered for as long as any token or session that it refuses could be accepted; tokens older than
//!     that are refused for their age. A refresh token is used up before the next one is made. When a session is over at the
//!     latest is sealed inside it, and that it was ended is remembered for as long.
//! 13. A browser is sent to Apple's page and to origins that the operator wrote, and gets no cookie under any other host. Whoever
//!     is let in by one is asked where the request comes from.
//! 14. What is good for one sign-in, a nonce or a token, is stored as used before anything comes of that sign-in; who it is
//!     comes out of the token alone, whatever else an app sends. An authorization code is redeemed after it was found to belong
//!     to the token, and never twice.
//!
//! # One request, from socket to answer
//!
//! 1. **accept** (`server/accept.rs`): a permit, a listed balancer's announcement, TLS, then HTTP/1 or HTTP/2 by ALPN or the
//!    first bytes, all under timeouts;
//! 2. **route** (`endpoints/routes/`): what is asked of requests of this method, host and path, and where they go; where
//!    routes differ in who may pass, a path that two programs may read differently is refused;
//! 3. **credential** (`authn/credential.rs`): at most one, on routes that look at it;
//! 4. **verify** ([`Verifier::verify`]): a remembered verdict, or key → signature → claims; then, remembered or not, is it
//!    unexpired *now*, not too old, and not revoked? Or [`Verifier::reopen`]: a session of ours, by its seal, and then the
//!    same questions. Then [`Policy`]: may they, everywhere and here?
//! 5. **rebuild** (`upstream/request.rs`): hop-by-hop headers off, credential off, `Forwarded` set, identity headers
//!    stripped, identity headers set;
//! 6. **upstream** (`upstream/mod.rs`): bodies stream both ways under timeouts, on a connection that is kept, made or, after
//!    a granted wish for another protocol, joined with the client's until the token ends;
//! 7. **answer**: hop-by-hop headers off, streamed back for as long as the client takes it; one log line, one counter, one
//!    histogram.
//!
//! Any early exit is a [`Rejection`], and one table renders it. Where another gateway asks, steps 5 to 7 are its own: steps 2
//! to 4 are about the original request that it reports, if it is a listed one, and the answer is 200 with the identity
//! headers or the rejection (`endpoints/gate.rs`, `endpoints/doors/`). What all that takes, and where the time goes, is told in
//! [`cost`].

pub mod apple;
pub mod authn;
pub mod clock;
pub mod cost;
pub mod telemetry;
pub mod verify;

#[doc(hidden)]
pub mod app;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod measured;
#[doc(hidden)]
pub mod sim;

mod alarm;
mod endpoints;
mod es256;
mod https;
mod peers;
mod per_core;
mod rate;
mod server;
mod store;
mod upstream;
mod webhooks;

pub use authn::{
    Authenticator, OptionalIdentityLayer, Policy, PolicyRules, Realm, Rejection,
    RequireIdentityLayer,
};
pub use verify::{
    ClientIds, ExpectedNonce, Identity, Revocations, TokenFault, UnverifiedToken, Verifier,
    VerifyError,
};
