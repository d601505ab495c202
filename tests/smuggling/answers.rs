//! The same from the other side: an application, or whoever talks through it, that writes odd answers. None may become
//! two, and none may become the answer to another request.

use tokio::time::timeout;

use super::{Client, LAST, get_a};
use crate::support::{House, PATIENCE};

/// What the application says, and what the client is to hear.
struct Answer {
    name: &'static str,
    /// All that the application writes.
    said: String,
    heard: Heard,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// This status and this body.
    Whole(u16, &'static str),
    /// Our word that the application cannot be understood.
    Refusal,
    /// An answer that breaks off.
    BrokenOff,
}
use Heard::{BrokenOff, Refusal, Whole};

#[rustfmt::skip] // A table is read as a table.
fn answers() -> Vec<Answer> {
    let answer = |name, said: &str, heard| Answer { name, said: said.to_owned(), heard };
    let ok = |name, rest: &str, heard| answer(name, &format!("HTTP/1.1 200 OK\r\n{rest}"), heard);
    let hello = || Whole(200, "hello");
    vec![
        ok("nothing special", "Content-Length: 5\r\n\r\nhello", hello()),
        ok("two answers", "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", hello()),
        ok("bytes behind the body", "Content-Length: 5\r\n\r\nhellosmuggled", hello()),
        ok("bytes behind the last chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", hello()),
        ok("a length beside chunks", "Content-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", hello()),
        ok("the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", hello()),
        ok("two lengths", "Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello", Refusal),
        ok("a list of one length twice", "Content-Length: 5, 5\r\n\r\nhello", hello()),
        ok("a list of two lengths", "Content-Length: 5, 50\r\n\r\nhello", Refusal),
        ok("a length with a plus", "Content-Length: +5\r\n\r\nhello", Refusal),
        ok("a length with a minus", "Content-Length: -5\r\n\r\nhello", Refusal),
        ok("a NUL in a value", "X: a\0b\r\nContent-Length: 5\r\n\r\nhello", Refusal),
        ok("a bare CR in a value", "X: a\rb\r\nContent-Length: 5\r\n\r\nhello", Refusal),
        ok("a folded line", "X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", Refusal),
        ok("a space before a colon", "Content-Length : 5\r\n\r\nhello", Refusal),
        ok("more lines than there may be", &"X: y\r\n".repeat(200), Refusal),
        ok("a size that is none", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n\r\n", BrokenOff),
        ok("a size with an LF within its extension", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5;\nhello\r\n0\r\n\r\n", BrokenOff),
        ok("data without a line end", "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", BrokenOff),
        answer("a body where there is none", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", Whole(204, "")),
        answer("a body of what did not change", "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", Whole(304, "")),
        answer("an answer before the answer", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", hello()),
        answer("a version that there is not", "HTTP/9.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Refusal),
        answer("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello", Refusal),
        answer("a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello", Refusal),
        answer("another protocol", "ICY 200 OK\r\n\r\nhello", Refusal),
        answer("no protocol", "smuggled\r\n\r\n", Refusal),
    ]
}

async fn hear(house: &House, answer: &Answer) -> Result<(), String> {
    house.application.answer(&answer.said);
    let mut client = Client::connect(house).await;
    client.say(&get_a("")).await;
    let heard = client.answer().await;
    let as_expected = match (&answer.heard, &heard) {
        (Whole(status, body), Some(heard)) => heard.status == *status && heard.body == *body,
        (Refusal, Some(heard)) => {
            heard.status == 502 && heard.body.contains("upstream_unreachable")
        }
        (BrokenOff, heard) => heard.is_none(),
        (Whole(..) | Refusal, None) => false,
    };
    if !as_expected {
        return Err(format!("heard {heard:?}, not {:?}", answer.heard));
    }
    // Whatever else was said is no answer to the next request, on this connection or another.
    house.application.answer("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nits own");
    let mut another = Client::connect(house).await;
    let both = if heard.is_some() { vec![&mut client, &mut another] } else { vec![&mut another] };
    for client in both {
        client.say(LAST).await;
        let next = client.answer().await;
        if next.as_ref().is_none_or(|next| next.body != "its own") {
            return Err(format!("the next request was answered {next:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_odd_answer_becomes_two_or_the_answer_to_another_request() {
    let house = House::start().await;
    let mut wrong = Vec::new();
    for answer in answers() {
        let outcome = timeout(PATIENCE, hear(&house, &answer)).await;
        if let Err(what) = outcome.unwrap_or_else(|_| Err("it did not end".to_owned())) {
            wrong.push(format!("{}: {what}", answer.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
