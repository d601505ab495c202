//! Reads Rust as far as the floors need it: words and marks with their lines, and the paths they form.
//!
//! Comments are dropped here and string literals are kept apart, so that no rule trips over prose.

use std::{iter::Peekable, slice::Iter};

/// A piece of code that a rule can look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// An identifier, a keyword, a lifetime's name or a number.
    Word(String),
    /// What stands between the quotes of a string literal.
    Text(String),
    /// `::`, or a single character of punctuation.
    Mark(&'static str),
    /// Punctuation that no rule asks about.
    Other,
}

impl Piece {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }
}

/// A piece and the line it starts on, counted from 1.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) piece: Piece,
    pub(super) line: usize,
}

/// A path that the code names, written from where it starts: `crate`, a crate's name, or a name in scope.
///
/// `super` and `self` are resolved, so `super::super::server` in `src/verify/token.rs` is `crate::server`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NamedPath {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Whether the code spelt it `crate::…` rather than coming by way of `super`.
    pub(super) from_crate: bool,
}

/// Cuts `text` into tokens.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { rest: text.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(first) = scanner.peek(0) {
        let line = scanner.line;
        if let Some(piece) = scanner.piece(first) {
            tokens.push(Token { piece, line });
        }
    }
    tokens
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.bump();
        }
    }

    /// Takes what starts with `first`; `None` for white space and comments.
    fn piece(&mut self, first: char) -> Option<Piece> {
        match (first, self.peek(1)) {
            ('/', Some('/')) => self.line_comment(),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => Some(self.text()),
            ('\'', _) => Some(self.character_or_lifetime()),
            (':', Some(':')) => {
                self.skip(2);
                Some(Piece::Mark("::"))
            }
            _ if first.is_whitespace() => {
                self.bump();
                None
            }
            _ if first.is_alphanumeric() || first == '_' => Some(self.word_or_prefixed_literal()),
            _ => {
                self.bump();
                Some(mark(first))
            }
        }
    }

    fn line_comment(&mut self) -> Option<Piece> {
        while self.peek(0).is_some_and(|next| next != '\n') {
            self.bump();
        }
        None
    }

    fn block_comment(&mut self) -> Option<Piece> {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0)?, self.peek(1)) {
                ('/', Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                ('*', Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                }
                _ => self.skip(1),
            }
            if depth == 0 {
                return None;
            }
        }
    }

    /// `"…"` with escapes.
    fn text(&mut self) -> Piece {
        self.bump();
        let mut text = String::new();
        while let Some(next) = self.bump() {
            match next {
                '"' => break,
                '\\' => text.extend(self.bump()),
                _ => text.push(next),
            }
        }
        Piece::Text(text)
    }

    /// `"…"#` with as many `#` as it was opened with; the scanner stands on the quote.
    fn raw_text(&mut self, hashes: usize) -> Piece {
        self.bump();
        let mut text = String::new();
        while let Some(next) = self.bump() {
            if next == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.skip(hashes);
                break;
            }
            text.push(next);
        }
        Piece::Text(text)
    }

    /// `'a'` and `'\''` end with a quote, `'a` does not.
    fn character_or_lifetime(&mut self) -> Piece {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.skip(2);
            while self.bump().is_some_and(|next| next != '\'') {}
            return Piece::Other;
        }
        if self.peek(1) == Some('\'') {
            self.skip(2);
            return Piece::Other;
        }
        Piece::Word(self.word())
    }

    fn word_or_prefixed_literal(&mut self) -> Piece {
        let word = self.word();
        let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
        let hashes = self.rest[self.at..].iter().take_while(|next| **next == '#').count();
        if is_raw && self.peek(hashes) == Some('"') {
            self.skip(hashes);
            return self.raw_text(hashes);
        }
        if word == "r" && hashes == 1 {
            self.bump();
            return Piece::Word(self.word());
        }
        match (word.as_str(), self.peek(0)) {
            ("b" | "c", Some('"')) => self.text(),
            ("b", Some('\'')) => self.character_or_lifetime(),
            _ => Piece::Word(word),
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.peek(0).filter(|next| next.is_alphanumeric() || *next == '_') {
            word.push(next);
            self.bump();
        }
        word
    }
}

fn mark(character: char) -> Piece {
    match character {
        '{' => Piece::Mark("{"),
        '}' => Piece::Mark("}"),
        '(' => Piece::Mark("("),
        '#' => Piece::Mark("#"),
        ';' => Piece::Mark(";"),
        '*' => Piece::Mark("*"),
        _ => Piece::Other,
    }
}

/// Every path with a `::` that `tokens` name in the module `home` (`["verify", "token"]`), with what stands inside the
/// braces of a `use` spelt out.
pub(super) fn paths(tokens: &[Token], home: &[String]) -> Vec<NamedPath> {
    let mut reader = PathReader {
        tokens: tokens.iter().peekable(),
        modules: Vec::new(),
        home: home.to_vec(),
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

struct PathReader<'a> {
    tokens: Peekable<Iter<'a, Token>>,
    /// One entry for each open brace: whether it opened an inline module, whose name is then the last of `home`.
    modules: Vec<bool>,
    home: Vec<String>,
    found: Vec<NamedPath>,
}

impl PathReader<'_> {
    fn read(&mut self) {
        let mut before = &Piece::Other;
        while let Some(Token { piece, line }) = self.tokens.next() {
            match piece {
                Piece::Mark("{") => self.modules.push(false),
                Piece::Mark("}") => self.close(),
                Piece::Word(word) if word == "mod" => self.module(),
                Piece::Word(word) if word == "in" && *before == Piece::Mark("(") => {
                    self.restriction();
                }
                Piece::Word(word) => self.path(word, *line),
                Piece::Text(_) | Piece::Mark(_) | Piece::Other => {}
            }
            before = piece;
        }
    }

    /// `pub(in crate::verify)` says who may see, not what is used.
    fn restriction(&mut self) {
        while self
            .tokens
            .next_if(|next| matches!(next.piece, Piece::Word(_) | Piece::Mark("::")))
            .is_some()
        {}
    }

    /// `mod name {` moves the code that follows one module down; `mod name;` does not.
    fn module(&mut self) {
        let Some(Token { piece: Piece::Word(name), .. }) = self.tokens.next() else { return };
        if self.take("{") {
            self.modules.push(true);
            self.home.push(name.clone());
        }
    }

    fn close(&mut self) {
        if self.modules.pop() == Some(true) {
            self.home.pop();
        }
    }

    /// A path that starts with `first`, alone or at the head of a `use` tree. `use crate as …` is one too.
    fn path(&mut self, first: &str, line: usize) {
        let start = Start { base: Vec::new(), line, is_first: true, from_crate: false };
        let is_renamed = self.tokens.peek().is_some_and(|next| next.piece.is_word("as"));
        if self.take("::") {
            self.branch(start.then(first, &self.home));
        } else if is_renamed && matches!(first, "crate" | "super") {
            self.finish(start.then(first, &self.home), None);
        }
    }

    /// What follows a `::`, after the segments in `start`: a name, `*`, or several of them in braces.
    fn branch(&mut self, start: Start) {
        let opens = |piece: &Piece| matches!(piece, Piece::Word(_) | Piece::Mark("*" | "{"));
        let Some(Token { piece, line }) = self.tokens.next_if(|next| opens(&next.piece)) else {
            // A turbofish, or code that does not compile.
            return self.finish(start, None);
        };
        let start = Start { line: *line, ..start };
        match piece {
            Piece::Word(word) => self.segment(start, word),
            Piece::Mark("{") => self.group(&start),
            Piece::Text(_) | Piece::Mark(_) | Piece::Other => self.finish(start, Some("*")),
        }
    }

    fn group(&mut self, start: &Start) {
        while let Some(Token { piece, .. }) = self.tokens.peek() {
            match piece {
                Piece::Word(word) if word == "as" => self.skip(2),
                Piece::Word(_) | Piece::Mark("*" | "{") => self.branch(start.clone()),
                Piece::Mark("}") => return self.skip(1),
                Piece::Text(_) | Piece::Mark(_) | Piece::Other => self.skip(1),
            }
        }
    }

    fn segment(&mut self, start: Start, word: &str) {
        let start = start.then(word, &self.home);
        if self.take("::") { self.branch(start) } else { self.finish(start, None) }
    }

    fn finish(&mut self, start: Start, last: Option<&str>) {
        let mut segments = start.base;
        segments.extend(last.map(str::to_owned));
        self.found.push(NamedPath { segments, line: start.line, from_crate: start.from_crate });
    }

    fn take(&mut self, mark: &'static str) -> bool {
        self.tokens.next_if(|token| token.piece == Piece::Mark(mark)).is_some()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.tokens.next();
        }
    }
}

/// The part of a path that has been read.
#[derive(Clone)]
struct Start {
    base: Vec<String>,
    line: usize,
    is_first: bool,
    from_crate: bool,
}

impl Start {
    /// One segment further, with `crate`, `self` and `super` resolved from `home`.
    fn then(mut self, word: &str, home: &[String]) -> Self {
        let absolute = || ["crate".to_owned()].into_iter().chain(home.iter().cloned()).collect();
        match word {
            "self" if self.is_first => self.base = absolute(),
            "super" if self.is_first => {
                self.base = absolute();
                self.base.pop();
            }
            "super" => drop(self.base.pop()),
            "self" => {}
            _ => {
                self.from_crate |= self.is_first && word == "crate";
                self.base.push(word.to_owned());
            }
        }
        self.is_first = false;
        self
    }
}
