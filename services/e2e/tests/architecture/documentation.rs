//! Doc comments that say nothing: a stump in place of a sentence.

use crate::lexer::{Kind, Token};

/// Words that begin a question or a phrase, which is no sentence when little follows.
const OPENINGS: [&str; 24] = [
    "who", "whose", "whom", "which", "what", "when", "where", "why", "how", "of", "to", "by", "in", "at", "on", "from",
    "with", "for", "until", "since", "as", "after", "before", "once",
];
/// A doc comment of so many words says something, whatever it begins with.
const ENOUGH_WORDS: usize = 5;
/// A sentence of so many words says something.
const FEWEST_WORDS: usize = 3;

/// The derives of clap, which shows doc comments as help texts.
const HELP_DERIVES: [&str; 4] = ["Parser", "Args", "Subcommand", "ValueEnum"];

/// The doc comments that are stumps, with the line of each. Titles are none where people read them: the summary of an
/// endpoint ("List alerts") and the help text of a command ("Print JSON").
pub(crate) fn stumps(tokens: &[Token]) -> Vec<(usize, String)> {
    let is_help = derives_help(tokens);
    let mut found = Vec::new();
    let mut rest = tokens;
    while let Some(first) = rest.iter().position(is_doc) {
        let (block, after) = rest[first..].split_at(block_length(&rest[first..]));
        let is_allowed = |sentence: &str| is_title(sentence) && (is_help || is_endpoint(after));
        found.extend(stump(block).filter(|(_, sentence)| !is_allowed(sentence)));
        rest = after;
    }
    found
}

fn is_doc(token: &Token) -> bool {
    matches!(token.kind, Kind::Doc(_))
}

/// The number of lines of the doc comment that the tokens begin with.
fn block_length(tokens: &[Token]) -> usize {
    1 + tokens.windows(2).take_while(|pair| is_doc(&pair[1]) && pair[0].line + 1 == pair[1].line).count()
}

/// The first sentence of a doc comment, where it is a stump.
fn stump(block: &[Token]) -> Option<(usize, String)> {
    let lines = block.iter().map_while(|token| match &token.kind {
        Kind::Doc(text) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    let paragraph = lines.collect::<Vec<_>>().join(" ");
    let sentence = paragraph.find(". ").map_or(paragraph.as_str(), |end| &paragraph[..=end]);
    let words = words(sentence);
    let is_stump = words.len() < FEWEST_WORDS || is_opening(&words) && words.len() < ENOUGH_WORDS;
    Some((block.first()?.line, sentence.to_owned())).filter(|_| is_stump)
}

fn words(sentence: &str) -> Vec<String> {
    let words = sentence.split_whitespace();
    let words = words.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
    words.filter(|word| !word.is_empty()).collect()
}

fn is_opening(words: &[String]) -> bool {
    words.first().is_some_and(|first| OPENINGS.contains(&first.as_str()))
}

/// Whether a text is a title of two words, which has no full stop.
fn is_title(sentence: &str) -> bool {
    let words = words(sentence);
    words.len() == 2 && !is_opening(&words) && !sentence.ends_with('.')
}

/// Whether the item that follows is an endpoint, whose doc comment is its summary in the API's description.
fn is_endpoint(item: &[Token]) -> bool {
    let ends = |token: &Token| is_doc(token) || token.is('{') || token.is('}') || token.word() == Some("fn");
    let attributes = item.split(ends).next().unwrap_or_default();
    attributes.windows(4).any(|path| {
        path[0].word() == Some("utoipa") && path[1].is(':') && path[2].is(':') && path[3].word() == Some("path")
    })
}

/// Whether a file has types that clap reads the command line into.
fn derives_help(tokens: &[Token]) -> bool {
    let derives = tokens.split(|token| token.word() == Some("derive")).skip(1);
    derives
        .filter_map(|derive| derive.split(|token| token.is(')')).next())
        .any(|traits| traits.iter().any(|token| token.word().is_some_and(|word| HELP_DERIVES.contains(&word))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::tokens;

    fn found(source: &str) -> Vec<usize> {
        stumps(&tokens(source)).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_bare_question_word_is_a_stump() {
        for stump in ["Whose.", "What it is.", "Of all this.", "By how much.", "Its number.", "To whom. The address."] {
            assert_eq!(found(&format!("/// {stump}\nfn a() {{}}")), [1], "{stump}");
        }
    }

    #[test]
    fn a_sentence_is_none_and_may_end_on_a_line_of_one_word() {
        for sentence in [
            "Returns the open orders of a user, newest first.",
            "The number of ticks per\n/// transaction.",
            "When the tick happened, by the venue's clock.",
            "The order's id.\n///\n/// # Panics\n/// Never.",
        ] {
            assert_eq!(found(&format!("/// {sentence}\nfn a() {{}}")), [0_usize; 0], "{sentence}");
        }
    }

    #[test]
    fn each_doc_comment_is_judged_by_itself() {
        assert_eq!(found("/// Where.\na: u8,\n/// The whole of the rest.\nb: u8,\n/// Why.\nc: u8"), [1, 5]);
    }

    #[test]
    fn the_title_of_an_endpoint_is_none() {
        let endpoint = "#[utoipa::path(get, path = \"/v1/alerts\")]\npub(crate) async fn list() {}";
        assert_eq!(found(&format!("/// List alerts\n{endpoint}")), [0_usize; 0]);
        assert_eq!(found(&format!("/// Sign in\n///\n/// Opens a session.\n{endpoint}")), [0_usize; 0]);
        for stump in ["List alerts.", "Which alerts", "Alerts", "The alerts. They are listed."] {
            assert_eq!(found(&format!("/// {stump}\n{endpoint}")), [1], "{stump}");
        }
        assert_eq!(found(&format!("/// List alerts\nfn other() {{}}\n{endpoint}")), [1]);
    }

    #[test]
    fn the_help_text_of_a_command_is_none() {
        let options = "struct Options {\n/// Print JSON\n#[arg(long)]\njson: bool,\n/// Whose\nid: String }";
        assert_eq!(found(&format!("#[derive(Debug, Args)]\n{options}")), [6]);
        assert_eq!(found(&format!("#[derive(Debug)]\n{options}")), [3, 6]);
    }
}
