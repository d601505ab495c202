//! What a hostile client can say in HTTP/2 and in HTTP/2 only: frames out of order, fields that no HTTP/1 could hold, and
//! too much of everything.
//!
//! As in `smuggling`, attacks are a table, each request has a good token, and what counts is what the application
//! receives. A connection that is not ended takes another request.

mod floods;
mod requests;
mod streams;
mod wire;

use tokio::time::timeout;

use self::wire::{Connection, END_HEADERS, GOAWAY, HEADERS, RST_STREAM, WHOLE, fields, frame};
use crate::{
    smuggling::seen,
    support::{House, PATIENCE, get},
};

/// One way to try.
struct Case {
    name: &'static str,
    /// What is sent, given the fields of a good request.
    sent: fn(&Good) -> Vec<u8>,
    ends: End,
    /// All that the application receives.
    received: &'static [&'static str],
}

/// What comes of it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// An answer of this status on stream 1.
    Answer(u16),
    /// Stream 1 is reset.
    Reset,
    /// The connection ends, and we say that it is for an error.
    GoAway,
    /// The connection ends without a word.
    Closed,
}

/// The request that attacks are made of.
struct Good {
    bearer: String,
}

impl Good {
    fn of(house: &House) -> Self {
        Self { bearer: house.bearer() }
    }

    /// Its fields, first those whose names begin with a colon.
    fn list<'a>(&'a self, path: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "app.example"),
            (":path", path),
            ("authorization", &self.bearer),
        ]
    }

    /// It is whole, and on stream 1.
    fn whole(&self) -> Vec<u8> {
        self.with(&[])
    }

    /// It is whole, and has further fields.
    fn with(&self, more: &[(&str, &str)]) -> Vec<u8> {
        frame(HEADERS, WHOLE, 1, &fields(&[&self.list("/a"), more].concat()))
    }

    /// It is whole, and the field `name` has another value.
    fn but(&self, name: &str, value: &str) -> Vec<u8> {
        let change = |(found, old)| (found, if found == name { value } else { old });
        let list: Vec<_> = self.list("/a").into_iter().map(change).collect();
        frame(HEADERS, WHOLE, 1, &fields(&list))
    }

    /// It is whole, and has no field `name`.
    fn without(&self, name: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let mut list = self.list("/a");
        list.retain(|(found, _)| *found != name);
        frame(HEADERS, WHOLE, 1, &fields(&[&list, more].concat()))
    }

    /// A POST whose body is still to come; if it does not come whole, neither does the request.
    fn post(&self, more: &[(&str, &str)]) -> Vec<u8> {
        let mut list = self.list("/broken");
        list[0].1 = "POST";
        frame(HEADERS, END_HEADERS, 1, &fields(&[&list, more].concat()))
    }
}

/// The attacks are made one after the other on one house, and all that went wrong is told at once.
async fn run(cases: Vec<Case>) {
    let house = House::start().await;
    let mut wrong = Vec::new();
    let mut whole = 0;
    for case in &cases {
        let before = house.application.requests().len();
        let outcome = timeout(PATIENCE, attempt(&house, case)).await;
        if let Err(what) = outcome.unwrap_or_else(|_| Err("it did not end".to_owned())) {
            wrong.push(format!("{}: {what}", case.name));
        }
        // What is still on its way is older than this; and others are served, whatever one client does.
        get(house.address, "/fence", &[("Authorization", &house.bearer())]).await;
        let received: Vec<_> = house.application.requests()[before..].iter().map(seen).collect();
        let lives_on = matches!(case.ends, End::Answer(_) | End::Reset);
        let last = ["GET /last []", "GET /fence []"];
        let expected = [case.received, if lives_on { &last } else { &last[1..] }].concat();
        if received != expected {
            wrong.push(format!("{}: received\n    {received:?}, not\n    {expected:?}", case.name));
        }
        whole += expected.len();
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(house.application.requests().len(), whole, "nothing came late");
    for fragment in house.application.fragments() {
        assert!(fragment.starts_with("POST /broken HTTP/1.1\r\n"), "{fragment}");
    }
}

async fn attempt(house: &House, case: &Case) -> Result<(), String> {
    let good = Good::of(house);
    let mut connection = Connection::open(house.address).await;
    connection.say(&(case.sent)(&good)).await;
    let end = end_of(&mut connection, 1).await;
    if end != case.ends {
        return Err(format!("it ended in {end:?}, not {:?}", case.ends));
    }
    match end {
        End::Answer(_) | End::Reset => {
            connection.say(&frame(HEADERS, WHOLE, 101, &fields(&good.list("/last")))).await;
            let end = end_of(&mut connection, 101).await;
            (end == End::Answer(200))
                .then_some(())
                .ok_or_else(|| format!("the next request ended in {end:?}"))
        }
        End::GoAway | End::Closed => {
            while connection.hear().await.is_some() {}
            Ok(())
        }
    }
}

/// What comes of `stream`, or of the whole connection.
async fn end_of(connection: &mut Connection, stream: u32) -> End {
    while let Some(frame) = connection.hear().await {
        match frame.kind {
            HEADERS if frame.stream == stream => return End::Answer(frame.status()),
            RST_STREAM if frame.stream == stream => return End::Reset,
            GOAWAY if frame.code() != 0 => return End::GoAway,
            _ => {}
        }
    }
    End::Closed
}

#[tokio::test]
async fn no_pseudo_header_says_what_another_program_reads_differently() {
    run(requests::pseudo_headers()).await;
}

#[tokio::test]
async fn no_field_says_in_http_2_what_http_1_could_not_say() {
    run(requests::header_fields()).await;
}

#[tokio::test]
async fn no_body_ends_where_it_should_not() {
    run(requests::bodies()).await;
}

#[tokio::test]
async fn no_frame_out_of_place_does_anything() {
    run(streams::frames()).await;
}

#[test]
fn the_tables_of_http2_are_as_long_as_they_should_be_and_name_each_row_once() {
    let tables = [
        requests::pseudo_headers(),
        requests::header_fields(),
        requests::bodies(),
        streams::frames(),
    ];
    let mut names: Vec<_> = tables.iter().flatten().map(|case| case.name).collect();
    let count = names.len();
    assert!(count >= 80, "{count}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
