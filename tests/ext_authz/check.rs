//! The gRPC form, as tonic asks it, and as bytes ask it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::uri::PathAndQuery;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use siwa_proxy::{
    clock::{Clock, SystemClock, UnixTime},
    sim::{event::Event, faults::Fault, presets, token::TokenTemplate},
};
use tonic::transport::{Channel, Endpoint};

use super::protocol::{
    AttributeContext, CheckRequest, CheckResponse, HeaderMap, HeaderValue, HeaderValueOption,
    HttpRequest, Request, framed,
};
use crate::{
    header_spoofing::{NAMES, spellings},
    support::{House, eventually, notifying::ON, open, spawn},
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// What Envoy would do.
#[derive(Debug, PartialEq)]
enum Decision {
    Forward { set: Vec<(String, String)>, remove: Vec<String> },
    Answer { status: i32, headers: Vec<(String, String)>, body: String },
}

impl Decision {
    /// Reads an answer as Envoy does: anything but an explicit yes or an explicit no is our failure.
    fn of(response: &CheckResponse) -> Self {
        let code = response.status.as_ref().map_or(0, |status| status.code);
        assert!(response.error_response.is_none(), "{response:?}");
        match (code, &response.ok_response, &response.denied_response) {
            (0, Some(ok), None) => {
                Self::Forward { set: lines(&ok.headers), remove: ok.headers_to_remove.clone() }
            }
            (1.., None, Some(denied)) => Self::Answer {
                status: denied.status.as_ref().unwrap().code,
                headers: lines(&denied.headers),
                body: denied.body.clone(),
            },
            _ => panic!("neither yes nor no: {response:?}"),
        }
    }

    fn refused(self) -> (i32, Vec<(String, String)>, serde_json::Value) {
        match self {
            Self::Answer { status, headers, body } => {
                (status, headers, serde_json::from_str(&body).unwrap())
            }
            Self::Forward { .. } => panic!("{self:?}"),
        }
    }

    /// The status and the reason of a no.
    fn code(self) -> (i32, String) {
        let (status, _, problem) = self.refused();
        (status, problem["code"].as_str().unwrap().to_owned())
    }

    fn forwarded(self) -> (Vec<(String, String)>, Vec<String>) {
        match self {
            Self::Forward { set, remove } => (set, remove),
            Self::Answer { .. } => panic!("{self:?}"),
        }
    }
}

/// All headers, sorted; each must overwrite what is there.
fn lines(options: &[HeaderValueOption]) -> Vec<(String, String)> {
    const OVERWRITE_IF_EXISTS_OR_ADD: i32 = 2;
    let line = |option: &HeaderValueOption| {
        assert_eq!(option.append_action, OVERWRITE_IF_EXISTS_OR_ADD);
        let HeaderValue { key, value, raw_value } = option.header.clone().unwrap();
        assert!(raw_value.is_empty(), "Envoy does not look at it");
        (key, value)
    };
    let mut lines: Vec<_> = options.iter().map(line).collect();
    lines.sort();
    lines
}

pub(super) fn value_of<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = headers.iter().filter(|(found, _)| found == name);
    named.map(|(_, value)| value.as_str()).collect()
}

/// The question about a request like `GET /path` for a.example, in the form that Envoy asks by default.
pub(super) fn question(line: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let (method, path) = line.split_once(' ').unwrap();
    let told = [(":method", method), (":path", path), (":authority", "a.example")];
    let headers = told.iter().chain(headers);
    about(HttpRequest {
        id: "1".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        host: "a.example".to_owned(),
        headers: headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..HttpRequest::default()
    })
}

/// Likewise, in the form that Envoy asks with `encode_raw_headers`.
fn raw_question(line: &str, headers: &[(&str, &[u8])]) -> CheckRequest {
    let header = |(key, value): &(&str, &[u8])| HeaderValue {
        key: (*key).to_owned(),
        value: String::new(),
        raw_value: value.to_vec(),
    };
    let headers = headers.iter().map(header).collect();
    let mut question = question(line, &[]);
    let http = question.attributes.as_mut().unwrap().request.as_mut().unwrap();
    http.http.as_mut().unwrap().header_map = Some(HeaderMap { headers });
    question
}

fn about(http: HttpRequest) -> CheckRequest {
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request { http: Some(http) }),
            context_extensions: [("a".to_owned(), "b".to_owned())].into(),
        }),
    }
}

/// A house whose gRPC form is open, and which is configured as `extra` says besides.
async fn house(extra: &str) -> House {
    House::with(&format!("ext_authz.grpc = true\n{extra}")).await
}

async fn connect(address: SocketAddr) -> tonic::client::Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    tonic::client::Grpc::new(endpoint.connect().await.unwrap())
}

pub(super) async fn answer(house: &House, question: CheckRequest) -> CheckResponse {
    answer_at(house.address, question).await
}

/// What whoever asks at `address` about a request with this `line` and these `headers` is answered.
pub(crate) async fn ask_at(
    address: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
) -> CheckResponse {
    answer_at(address, question(line, headers)).await
}

async fn answer_at(address: SocketAddr, question: CheckRequest) -> CheckResponse {
    let mut grpc = connect(address).await;
    grpc.ready().await.unwrap();
    let (path, codec) = (PathAndQuery::from_static(CHECK), tonic_prost::ProstCodec::default());
    let answer = grpc.unary(tonic::Request::new(question), path, codec).await;
    answer.expect("every answer is a message under the status 0").into_inner()
}

async fn ask(house: &House, question: CheckRequest) -> Decision {
    Decision::of(&answer(house, question).await)
}

/// Asks with exactly `bytes` as the call's body, and the answer must be a message under the status 0.
async fn ask_with(address: SocketAddr, headers: &[(&str, &str)], bytes: Vec<u8>) -> Decision {
    ask_in_pieces(address, headers, Full::new(Bytes::from(bytes))).await
}

async fn ask_in_pieces<B>(address: SocketAddr, headers: &[(&str, &str)], body: B) -> Decision
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let io = TokioIo::new(open(address).await);
    let (mut calls, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    spawn(connection);
    let call = http::Request::post(format!("http://a{CHECK}"));
    let call =
        headers.iter().fold(call.header("content-type", "application/grpc"), |call, line| {
            call.header(line.0, line.1)
        });
    let response = calls.send_request(call.body(body).unwrap()).await;
    let answer = response.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    let framed = answer.to_bytes();
    assert_eq!(framed[0], 0);
    assert_eq!(framed[1..5], u32::try_from(framed.len() - 5).unwrap().to_be_bytes());
    Decision::of(&CheckResponse::decode(framed.slice(5..)).unwrap())
}

fn ours() -> Vec<(String, String)> {
    [("x-apple-email", presets::EMAIL), ("x-apple-sub", presets::SUBJECT)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

#[tokio::test]
async fn a_good_token_sets_the_identity_headers_and_removes_itself() {
    let house = house("").await;
    let bearer = house.bearer();
    let as_text = question("GET /a?b", &[("authorization", &bearer), ("accept", "*/*")]);
    let as_bytes = raw_question("GET /a?b", &[("authorization", bearer.as_bytes())]);
    for question in [as_text, as_bytes] {
        let (set, remove) = ask(&house, question).await.forwarded();
        assert_eq!((set, remove), (ours(), vec!["authorization".to_owned()]));
    }
    let allowed =
        r#"siwa_requests_total{door="ext_authz",route="default",outcome="allowed",fault="none"}"#;
    assert_eq!(house.metric(allowed).await, 2);
    assert!(house.application.requests().is_empty());
}

#[tokio::test]
async fn whom_apple_revoked_is_denied_although_the_verdict_is_remembered() {
    let house = house(ON).await;
    let an_hour_ago = UnixTime::from_secs(SystemClock.now().as_secs() - 3600);
    let bearer = house.bearer_of(&TokenTemplate::native().issued_at(an_hour_ago));
    let question = || question("GET /", &[("authorization", &bearer)]);
    ask(&house, question()).await.forwarded();
    assert_eq!(house.notify(Event::consent_revoked(presets::SUBJECT)).await.status, 200);
    assert_eq!(ask(&house, question()).await.code(), (401, "token_revoked".to_owned()));
}

#[tokio::test]
async fn a_credential_that_the_application_wants_is_left_on() {
    let house = house("upstream.forward_credential = true").await;
    let question = question("GET /", &[("authorization", &house.bearer())]);
    let (set, remove) = ask(&house, question).await.forwarded();
    assert_eq!((set, remove), (ours(), vec![]));
}

#[tokio::test]
async fn the_metadata_says_who_it_is_and_until_when() {
    let house = house("").await;
    let question = question("GET /", &[("authorization", &house.bearer())]);
    let fields = answer(&house, question).await.dynamic_metadata.unwrap().fields;
    let text = |name: &str| fields[name].string_value.clone().unwrap();
    assert_eq!((text("sub"), text("aud")), (presets::SUBJECT.into(), "com.example.app".into()));
    assert!(fields["exp"].number_value.unwrap() > 1_700_000_000.0);
    assert_eq!(text("iss"), "https://appleid.apple.com");
    assert_eq!(fields.len(), 4);
}

#[tokio::test]
async fn every_spoofed_spelling_is_overwritten_or_removed_but_never_ours() {
    let house = house("").await;
    let bearer = house.bearer();
    for spelling in NAMES.into_iter().flat_map(spellings) {
        let name = spelling.to_ascii_lowercase();
        let headers = [("authorization", bearer.as_str()), (&name, "spoof")];
        let (set, remove) = ask(&house, question("GET /", &headers)).await.forwarded();
        assert_eq!(set, ours(), "{spelling}");
        let is_ours = set.iter().any(|(ours, _)| *ours == name);
        assert_eq!(remove.contains(&name), !is_ours, "{spelling}: {remove:?}");
    }
}

#[tokio::test]
async fn names_that_the_application_believes_already_are_set_and_removed_likewise() {
    let house = house("identity.headers = 'oauth2-proxy'").await;
    let bearer = house.bearer();
    let spoofs = [("x-forwarded-user", "spoof"), ("x_forwarded_user", "spoof")];
    let headers: Vec<_> = [("authorization", bearer.as_str())].into_iter().chain(spoofs).collect();
    let (set, remove) = ask(&house, question("GET /", &headers)).await.forwarded();
    assert_eq!(value_of(&set, "x-forwarded-user"), [presets::SUBJECT]);
    assert_eq!(remove.iter().filter(|name| name.ends_with("user")).count(), 1, "{remove:?}");
    assert!(remove.contains(&"x_forwarded_user".to_owned()), "{remove:?}");
}

#[tokio::test]
async fn what_is_not_set_this_time_is_removed_even_if_it_is_set_otherwise() {
    let house = house("").await;
    let bearer = house.bearer_of(&TokenTemplate::no_email());
    let headers = [("authorization", bearer.as_str()), ("x-apple-email", "spoof")];
    let (set, remove) = ask(&house, question("GET /", &headers)).await.forwarded();
    assert_eq!(value_of(&set, "x-apple-email"), [""; 0]);
    assert!(remove.contains(&"x-apple-email".to_owned()), "{remove:?}");
}

#[tokio::test]
async fn a_missing_credential_is_asked_for() {
    let house = house("").await;
    let (status, headers, problem) = ask(&house, question("GET /", &[])).await.refused();
    assert_eq!(status, 401);
    assert_eq!(value_of(&headers, "www-authenticate"), [r#"Bearer realm="siwa-proxy""#]);
    assert_eq!(value_of(&headers, "content-type"), ["application/problem+json"]);
    assert_eq!(value_of(&headers, "cache-control"), ["no-store"]);
    assert_eq!(value_of(&headers, "x-request-id").len(), 1);
    assert_eq!((&problem["code"], &problem["status"]), (&"no_credential".into(), &401.into()));
    let refused = r#"siwa_requests_total{door="ext_authz",route="default",outcome="no_credential",fault="caller"}"#;
    assert_eq!(house.metric(refused).await, 1);
}

#[tokio::test]
async fn a_bad_token_is_named() {
    let house = house("").await;
    let expired =
        house.bearer_of(&TokenTemplate::native().issued_at(UnixTime::from_secs(1_700_000_000)));
    let elsewhere = house.bearer_of(&TokenTemplate::native().audience("com.example.other"));
    for (bearer, code) in [
        ("Bearer a.b.c", "token_malformed"),
        (&expired, "token_expired"),
        (&elsewhere, "token_audience"),
    ] {
        let decision = ask(&house, question("GET /", &[("authorization", bearer)])).await;
        let (status, headers, problem) = decision.refused();
        assert_eq!((status, &problem["code"]), (401, &code.into()));
        let challenge = value_of(&headers, "www-authenticate").concat();
        assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
    }
}

#[tokio::test]
async fn two_credentials_are_one_too_many_however_they_are_told() {
    let house = house("").await;
    let bearer = house.bearer();
    let lines = [("authorization", bearer.as_bytes()), ("authorization", b"Bearer a.b.c")];
    assert_eq!(
        ask(&house, raw_question("GET /", &lines)).await.code(),
        (400, "several_credentials".to_owned())
    );
    let joined = format!("{bearer},Bearer a.b.c");
    let question = question("GET /", &[("authorization", &joined)]);
    assert_eq!(ask(&house, question).await.code(), (401, "token_malformed".to_owned()));
}

const ROUTES: &str = r#"
    [[route]]
    path = "/public/*"
    access = "public"
    [[route]]
    path = "/maybe"
    access = "optional"
    [[route]]
    path = "/mail"
    methods = ["POST"]
    policy.allow_emails = ["nobody@example.com"]
"#;

#[tokio::test]
async fn routes_apply_to_the_request_that_is_asked_about() {
    let house = house(ROUTES).await;
    let bearer = house.bearer();
    let authorization = ("authorization", bearer.as_str());
    let spoof = ("x_apple_sub", "spoof");

    let public = ask(&house, question("GET /public/a", &[authorization, spoof])).await;
    assert_eq!(public.forwarded(), (vec![], vec!["x_apple_sub".to_owned()]));
    let nobody = ask(&house, question("GET /maybe", &[spoof])).await;
    assert_eq!(nobody.forwarded(), (vec![], vec!["x_apple_sub".to_owned()]));
    assert_eq!(ask(&house, question("GET /maybe", &[authorization])).await.forwarded().0, ours());
    assert_eq!(ask(&house, question("GET /mail", &[authorization])).await.forwarded().0, ours());
    let refused = ask(&house, question("POST /mail", &[authorization])).await;
    assert_eq!(refused.code(), (403, "not_allowed_not_listed".to_owned()));
    let ambiguous = ask(&house, question("GET /public/..%2fmail", &[])).await;
    assert_eq!(ambiguous.code(), (400, "bad_request".to_owned()));
}

#[tokio::test]
async fn no_header_changes_what_is_asked_about() {
    let house = house(ROUTES).await;
    for name in [
        "x-envoy-original-path",
        "x-original-uri",
        "x-original-url",
        "x-forwarded-uri",
        "x-rewrite-url",
        ":path",
        "path",
    ] {
        let mut question = question("GET /private", &[(name, "/public/a")]);
        let decision = ask(&house, question.clone()).await;
        assert_eq!(decision.code(), (401, "no_credential".to_owned()), "{name}");
        let http = question.attributes.as_mut().unwrap().request.as_mut().unwrap();
        http.http.as_mut().unwrap().path = "/public/a".to_owned();
        ask(&house, question).await.forwarded();
    }
}

#[tokio::test]
async fn a_question_about_nothing_is_a_no() {
    let house = house("").await;
    let bearer = house.bearer();
    let authorization = ("authorization", bearer.as_str());
    for question in [
        CheckRequest::default(),
        about(HttpRequest::default()),
        question("GET ", &[authorization]),
        question("GET a", &[authorization]),
        question("GET /#/", &[authorization]),
        question("G{T /", &[authorization]),
        question("GET /", &[authorization, ("a b", "c")]),
        raw_question("GET /", &[("authorization", bearer.as_bytes()), ("a", b"\0")]),
    ] {
        assert_eq!(ask(&house, question).await.code(), (400, "bad_request".to_owned()));
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_read_is_a_no_and_not_a_grpc_error() {
    // Two mebibytes may take longer than Envoy has patience.
    let house = house(NEVER).await;
    let good = question("GET /", &[("authorization", &house.bearer())]).encode_to_vec();
    let undecided = || (503, "undecided".to_owned());
    let compressed = framed(1, &good);
    for (bytes, expected) in [
        (vec![], undecided()),
        (b"\0\0".to_vec(), undecided()),
        (framed(0, b"abc"), undecided()),
        (framed(0, &good[..good.len() - 1]), undecided()),
        (framed(0, &good)[..good.len()].to_vec(), undecided()),
        ([framed(0, &good), framed(0, &good)].concat(), undecided()),
        (compressed, undecided()),
        (framed(0, &vec![0; 2 << 20]), (413, "body_too_large".to_owned())),
    ] {
        let decision = ask_with(house.address, &[("grpc-encoding", "gzip")], bytes.clone()).await;
        assert_eq!(decision.code(), expected, "{:?}", bytes.get(..32));
    }
    ask_with(house.address, &[], framed(0, &good)).await.forwarded();
}

#[tokio::test]
async fn a_question_that_stops_coming_is_a_no_in_time() {
    let house = house("").await;
    let begun = stream::iter([Ok(Frame::data(Bytes::from_static(b"\0\0")))]);
    let body = StreamBody::new(begun.chain(stream::pending()));
    let decision = ask_in_pieces(house.address, &[], body).await;
    assert_eq!(decision.code(), (503, "undecided".to_owned()));
}

#[tokio::test]
async fn bodies_that_envoy_sends_along_are_not_in_the_way() {
    let house = house("").await;
    let mut question = question("POST /", &[("authorization", &house.bearer())]);
    let http = question.attributes.as_mut().unwrap().request.as_mut().unwrap();
    http.http.as_mut().unwrap().raw_body = vec![0xff; 512 * 1024];
    ask(&house, question).await.forwarded();
}

#[tokio::test]
async fn without_keys_the_answer_is_no_and_when_to_ask_again() {
    let open = "ext_authz.grpc = true";
    let house = House::build(open, Arc::new(SystemClock), |apple| {
        apple.fail_with(Fault::Reset);
    })
    .await;
    let question = question("GET /", &[("authorization", &house.bearer())]);
    let (status, headers, problem) = ask(&house, question).await.refused();
    assert_eq!((status, &problem["code"]), (503, &"keys_unavailable".into()));
    assert_eq!(value_of(&headers, "retry-after"), ["5"]);
    assert_eq!(value_of(&headers, "www-authenticate"), [""; 0]);
}

/// A house that must ask Apple for a key, which does not answer; and a token that is signed by it.
async fn waiting_house(extra: &str) -> (House, String) {
    let house = house(&format!("jwks.unknown_key_cooldown = '10ms'\n{extra}")).await;
    house.apple.fail_with(Fault::Hang);
    house.apple.keys().rotate();
    // Within the cooldown nobody asks Apple.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let bearer = house.bearer();
    (house, bearer)
}

/// Nothing is decided before Apple is given up.
const NEVER: &str = "ext_authz.timeout = '1h'";

#[tokio::test]
async fn a_decision_that_takes_too_long_is_a_no_in_time() {
    let (house, bearer) = waiting_house("").await;
    let decision = ask(&house, question("GET /", &[("authorization", &bearer)])).await;
    assert_eq!(decision.code(), (503, "undecided".to_owned()));
}

#[tokio::test]
async fn a_gateway_that_waits_less_is_answered_sooner() {
    let (house, bearer) = waiting_house(NEVER).await;
    let question = question("GET /", &[("authorization", &bearer)]).encode_to_vec();
    let decision = ask_with(house.address, &[("grpc-timeout", "200m")], framed(0, &question)).await;
    assert_eq!(decision.code(), (503, "undecided".to_owned()));
}

#[tokio::test]
async fn a_limit_is_a_no_and_not_a_grpc_error() {
    let house = house("limits.rate_per_second = 1\nlimits.rate_burst = 1").await;
    let asking = || question("GET /", &[]);
    assert_eq!(ask(&house, asking()).await.code(), (401, "no_credential".to_owned()));
    let (status, headers, problem) = ask(&house, asking()).await.refused();
    assert_eq!((status, &problem["code"]), (429, &"rate_limited".into()));
    assert_eq!(value_of(&headers, "retry-after").len(), 1);

    let (house, bearer) = waiting_house(&format!("{NEVER}\nlimits.max_requests = 1")).await;
    let (address, waiting) = (house.address, question("GET /", &[("authorization", &bearer)]));
    let waiting = spawn(async move {
        ask_with(address, &[], framed(0, &waiting.encode_to_vec())).await;
    });
    let in_flight = async || house.metric("siwa_requests_in_flight").await > 0;
    eventually("one is in flight", in_flight).await;
    assert_eq!(ask(&house, asking()).await.code(), (503, "shed".to_owned()));
    let shed = r#"siwa_requests_total{door="ext_authz",route="none",outcome="shed",fault="us"}"#;
    assert_eq!(house.metric(shed).await, 1);
    waiting.abort();
}

#[tokio::test]
async fn a_grpc_client_is_told_in_words_what_the_gateway_makes_a_status_of() {
    let house = house("").await;
    let question = question("POST /a.B/C", &[("content-type", "application/grpc")]);
    let Decision::Answer { status, headers, body } = ask(&house, question).await else {
        panic!("a yes");
    };
    assert_eq!((status, body.as_str()), (401, "the request carries no bearer token"));
    assert_eq!(value_of(&headers, "content-type"), [""; 0]);
}

#[tokio::test]
async fn a_closed_door_is_the_applications_path() {
    let house = House::start().await;
    let mut grpc = connect(house.address).await;
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<CheckRequest, CheckResponse>::default();
    let path = PathAndQuery::from_static(CHECK);
    let asked = grpc.unary(tonic::Request::new(CheckRequest::default()), path, codec).await;
    // The proxy's own refusal of a gRPC call without a credential.
    assert_eq!(asked.unwrap_err().code(), tonic::Code::Unauthenticated);
}
