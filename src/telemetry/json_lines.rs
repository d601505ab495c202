//! The log as JSON, one object a line: what tracing-subscriber's own layer writes, byte for byte, for a third of the work.
//! That one writes a line in pieces of a character or a word, through two layers of dynamic calls, and looks at each whether it
//! is UTF-8. Here a line is written into one buffer, and goes to the kernel in one piece.

use std::{fmt, io::Write};

use serde::Serialize;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{
    fmt::MakeWriter,
    layer::{Context, Layer},
};

use crate::clock::LogTime;

/// Bytes that a line is given room for: most need no more, and what one does is given back.
const ROOM: usize = 1024;

/// Writes each event to `W` as a line. It knows nothing of spans.
#[derive(Debug)]
pub(super) struct JsonLines<W>(pub(super) W);

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // What came over the crate `log` says where it is from in its fields.
        let told = event.normalized_metadata();
        let metadata = told.as_ref().unwrap_or_else(|| event.metadata());
        let line = line(event, metadata);
        // There is nobody to tell that nobody can be told.
        self.0.make_writer_for(metadata).write_all(&line).ok();
    }
}

fn line(event: &Event<'_>, metadata: &Metadata<'_>) -> Vec<u8> {
    let mut object = Object(Vec::with_capacity(ROOM));
    object.shown("timestamp", format_args!("{}", LogTime::now()));
    object.text("level", metadata.level().as_str());
    event.record(&mut object);
    object.text("target", metadata.target());
    object.0.extend_from_slice(b"}\n");
    object.0
}

/// The beginning of a JSON object (RFC 8259 §4). Writing to it cannot fail, as it only grows.
struct Object(Vec<u8>);

impl Object {
    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.string(name);
        self.0.push(b':');
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.string(value);
    }

    /// A number, `true` or `false`; `null` for what is no number.
    fn number(&mut self, name: &str, value: impl Serialize) {
        self.name(name);
        serde_json::to_writer(&mut self.0, &value).unwrap_or_default();
    }

    /// Writes what is to be shown where it is to stand, and takes it out again if it cannot stand there as it is.
    fn shown(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.name(name);
        self.0.push(b'"');
        let from = self.0.len();
        self.0.write_fmt(value).unwrap_or_default();
        if is_plain(&self.0[from..]) {
            self.0.push(b'"');
            return;
        }
        let shown = self.0.split_off(from);
        self.0.pop();
        self.string(&String::from_utf8_lossy(&shown));
    }

    fn string(&mut self, text: &str) {
        if !is_plain(text.as_bytes()) {
            serde_json::to_writer(&mut self.0, text).unwrap_or_default();
            return;
        }
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }
}

/// Whether `text` stands for itself in a JSON string (RFC 8259 §7), as nearly all does.
fn is_plain(text: &[u8]) -> bool {
    let (pieces, rest) = text.as_chunks();
    let mut last = [b' '; 16];
    last[..rest.len()].copy_from_slice(rest);
    pieces.iter().all(all_stand) && all_stand(&last)
}

/// Without an early end, in numbers: the compiler makes a handful of instructions of it.
fn all_stand(piece: &[u8; 16]) -> bool {
    let odd = |byte| u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\');
    piece.iter().fold(0, |so_far, byte| so_far | odd(*byte)) == 0
}

impl Visit for Object {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.shown(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.number(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error,
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use tracing::{debug, field, info, subscriber::with_default, warn};
    use tracing_subscriber::{layer::SubscriberExt, registry};

    use super::*;

    /// Each write that came, on its own.
    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl Written {
        fn lines(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// What breaks out of lines, of quotes, and of terminals.
    const HOSTILE: [&str; 6] = [
        "a\n{\"level\":\"ERROR\",\"message\":\"made up\"}",
        "\r\n\t\u{8}\u{c}\0\u{7f}",
        "\"},{\"a\":\"\\",
        "\u{1b}[31mred\u{1b}]0;title\u{7}",
        "\u{9b}2J\u{85}\u{2028}\u{2029}",
        "häßlich 💥",
    ];

    #[test]
    fn what_must_be_escaped_is_found_wherever_it_stands() {
        for length in 0..40 {
            let plain = "x".repeat(length).into_bytes();
            assert!(is_plain(&plain));
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = plain.clone();
                    text[at] = byte;
                    assert_eq!(is_plain(&text), byte >= 0x20 && byte != 0x22 && byte != 0x5c);
                }
            }
        }
    }

    /// Prints a text as it is, as `%` does, or a `Debug` that quotes nothing.
    struct Bare(&'static str);

    impl fmt::Debug for Bare {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.chars().try_for_each(|letter| write!(f, "{letter}"))
        }
    }

    /// Something to say of each kind.
    fn say_all() {
        info!("nothing else");
        warn!(target: "elsewhere", yes = true, no = false, "flags");
        let (large, small) = (u128::MAX, i128::MIN);
        info!(one = 1_u64, minus = -1_i64, small = 7_u8, large, smallest = small, "whole numbers");
        for number in [0.0, -0.5, 1.25e300, 12.345, f64::NAN, f64::INFINITY] {
            info!(number, "a fraction");
        }
        info!(there = Some("it is"), absent = None::<u16>, empty = field::Empty, "what may be");
        info!(quoted = ?Some("a \"text\""), bytes = b"\0\xffabc".as_slice(), "shown");
        let error = io::Error::other("it \"broke\"\n");
        info!(error = &error as &(dyn Error + 'static), "a cause");
        for text in HOSTILE {
            debug!(text, shown = ?text, bare = %text, odd = ?Bare(text), "{text}");
        }
        info!(name.with.dots = 1, r#type = "a keyword", "names");
        info!("{}", "long ".repeat(2 * ROOM));
    }

    fn without_time(line: &str) -> &str {
        let (time, rest) = line.split_once("Z\",").unwrap();
        assert!(time.starts_with("{\"timestamp\":\"2"), "{line}");
        assert_eq!(time.len(), "{\"timestamp\":\"2026-11-21T09:18:00.123456".len(), "{line}");
        rest
    }

    #[test]
    fn lines_are_those_that_tracing_subscriber_writes() {
        let (own, theirs) = (Written::default(), Written::default());
        let reference = tracing_subscriber::fmt::layer().json().flatten_event(true);
        let both =
            registry().with(JsonLines(own.clone())).with(reference.with_writer(theirs.clone()));
        with_default(both, || {
            say_all();
            let from_log = tracing_log::log::Record::builder()
                .args(format_args!("over another crate\n"))
                .level(tracing_log::log::Level::Warn)
                .target("some::crate")
                .line(Some(7))
                .build();
            tracing_log::format_trace(&from_log).unwrap();
        });
        let (own, theirs) = (own.lines(), theirs.lines());
        assert!(own.len() > 20 && own.len() == theirs.len());
        for (own, theirs) in own.iter().zip(&theirs) {
            assert_eq!(without_time(own), without_time(theirs));
        }
    }

    #[test]
    fn a_line_is_one_write_of_one_object_whatever_is_in_it() {
        let written = Written::default();
        with_default(registry().with(JsonLines(written.clone())), || {
            for text in HOSTILE {
                info!(text, bare = %text, odd = ?Bare(text), "{text}");
            }
        });
        let lines = written.lines();
        assert_eq!(lines.len(), HOSTILE.len());
        for (line, text) in lines.iter().zip(HOSTILE) {
            let object = line.strip_suffix('\n').unwrap();
            assert!(object.bytes().all(|byte| byte >= b' '), "{line:?}");
            let object: Value = serde_json::from_str(object).unwrap();
            for field in ["message", "text", "bare", "odd"] {
                assert_eq!(object[field], text, "{line:?}");
            }
            assert_eq!(
                (&object["level"], &object["target"]),
                (&"INFO".into(), &module_path!().into())
            );
        }
    }
}
