//! An [`Explanation`] as people read it on a terminal.

use std::fmt;

use serde_json::Value;

use super::{Explanation, Outcome, found::Found, shown};
use crate::clock::UnixTime;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_part(f, "Header", self.header.as_ref())?;
        self.write_part(f, "Claims, as written", self.claims.as_ref())?;

        writeln!(f, "Checks, at {}", self.judged_at)?;
        for check in &self.checks {
            writeln!(f, "  {:11}  {:12}  {}", check.outcome.as_str(), check.name, check.asks)?;
        }
        match &self.problem {
            None => f.write_str("\nThe token is good."),
            Some(problem) => {
                writeln!(f, "\nThe token is refused ({}): {}.", problem.code, problem.message)?;
                write!(f, "To mend it: {}.", problem.mend)
            }
        }
    }
}

impl Explanation {
    fn write_part(
        &self,
        f: &mut fmt::Formatter<'_>,
        title: &str,
        part: Option<&Found>,
    ) -> fmt::Result {
        writeln!(f, "{title}")?;
        let Some(part) = part else { return writeln!(f, "  (unreadable)\n") };
        for (name, value) in part.members() {
            let name = plain(name.clone());
            write!(f, "  {name:16}  {}", plain(value.to_string()))?;
            match moment(&name, value) {
                Some(moment) => writeln!(f, "  {moment}, {}", self.distance(moment))?,
                None => writeln!(f)?,
            }
        }
        writeln!(f)
    }

    fn distance(&self, moment: UnixTime) -> String {
        if moment > self.judged_at {
            format!("{} ahead", shown(moment.saturating_since(self.judged_at)))
        } else {
            format!("{} ago", shown(self.judged_at.saturating_since(moment)))
        }
    }
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::NotReached => "not reached",
        }
    }
}

fn moment(claim: &str, value: &Value) -> Option<UnixTime> {
    let is_time = matches!(claim, "iat" | "exp" | "nbf" | "auth_time");
    value.as_u64().filter(|_| is_time).map(UnixTime::from_secs)
}

/// What a token says must not command the terminal: everything but visible ASCII and spaces is escaped, as in JSON.
fn plain(text: String) -> String {
    let is_plain = |c: char| matches!(c, ' '..='~');
    if text.chars().all(is_plain) {
        return text;
    }
    let mut units = [0; 2];
    let mut escaped = String::new();
    for c in text.chars() {
        if is_plain(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_says_cannot_command_the_terminal() {
        assert_eq!(plain("jane@example.com".to_owned()), "jane@example.com");
        assert_eq!(
            plain("\u{1b}[2J\u{9b}é\u{1f600}".to_owned()),
            r"\u001b[2J\u009b\u00e9\ud83d\ude00"
        );
    }
}
