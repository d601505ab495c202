//! Reads Markdown as far as its claims need it: fenced blocks, and the prose between them.

/// A Markdown page taken apart.
pub(super) struct Page {
    pub(super) blocks: Vec<Block>,
    /// Every line outside the fenced blocks.
    pub(super) prose: Vec<Line>,
}

/// A fenced code block.
pub(super) struct Block {
    /// The first word after the opening fence, such as `console`.
    pub(super) language: String,
    pub(super) lines: Vec<Line>,
}

/// A line with its number, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
}

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let mut page = Self { blocks: Vec::new(), prose: Vec::new() };
        let mut open: Option<Block> = None;
        for (number, text) in (1..).zip(text.lines()) {
            let line = Line { number, text: text.to_owned() };
            match (text.trim_start().strip_prefix("```"), open.take()) {
                (Some(language), None) => open = Some(Block::open(language)),
                (Some(_), Some(block)) => page.blocks.push(block),
                (None, Some(mut block)) => {
                    block.lines.push(line);
                    open = Some(block);
                }
                (None, None) => page.prose.push(line),
            }
        }
        page.blocks.extend(open);
        page
    }

    /// What stands between single backticks in the prose.
    pub(super) fn code_spans(&self) -> Vec<Line> {
        let spans = |line: &Line| {
            let number = line.number;
            let spans = line.text.split('`').skip(1).step_by(2);
            spans.map(|span| Line { number, text: span.to_owned() }).collect::<Vec<_>>()
        };
        self.prose.iter().flat_map(spans).collect()
    }

    /// The targets of `[text](target)` in the prose, as written.
    pub(super) fn link_targets(&self) -> Vec<Line> {
        let targets = |line: &Line| {
            let number = line.number;
            let targets =
                line.text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            targets.map(|target| Line { number, text: target.to_owned() }).collect::<Vec<_>>()
        };
        self.prose.iter().flat_map(targets).collect()
    }

    /// The anchors of the headings, as code hosts make them.
    pub(super) fn anchors(&self) -> Vec<String> {
        let headings = self.prose.iter().filter(|line| line.text.starts_with('#'));
        headings.map(|line| anchor(line.text.trim_start_matches('#').trim())).collect()
    }
}

impl Block {
    fn open(language: &str) -> Self {
        let language = language.split([' ', ',']).next().unwrap_or_default().to_owned();
        Self { language, lines: Vec::new() }
    }

    /// The commands of a shell block, continued lines joined.
    ///
    /// Where some lines start with `$ `, only they are commands and the rest is their output; else all lines are.
    pub(super) fn commands(&self) -> Vec<Line> {
        let is_session = self.lines.iter().any(|line| line.text.starts_with("$ "));
        let mut commands: Vec<Line> = Vec::new();
        let mut is_continued = false;
        for line in &self.lines {
            let text =
                if is_session { line.text.strip_prefix("$ ") } else { Some(line.text.as_str()) };
            match (is_continued, text, commands.last_mut()) {
                (true, _, Some(command)) => command.text.push_str(&line.text),
                (_, Some(text), _) => {
                    commands.push(Line { number: line.number, text: text.to_owned() });
                }
                _ => continue,
            }
            is_continued = line.text.ends_with('\\');
            if let Some(command) = commands.last_mut().filter(|_| is_continued) {
                command.text.pop();
            }
        }
        commands
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect()
    }
}

/// Lower case, spaces as hyphens, other punctuation gone.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// The words of a shell command, without the quotes around them; what follows a `#` is a comment.
pub(super) fn shell_words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for next in command.chars() {
        match (next, quote) {
            (_, Some(open)) if next == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            ('|' | '&' | ';', None) => {
                words.extend(word.take());
                words.push(next.to_string());
            }
            (_, None) if next.is_whitespace() => words.extend(word.take()),
            (_, _) => word.get_or_insert_default().push(next),
        }
    }
    words.extend(word);
    words
}
