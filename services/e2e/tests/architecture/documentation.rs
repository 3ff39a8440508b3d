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

/// The doc comments that are stumps, with the line of each.
pub(crate) fn stumps(tokens: &[Token]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Vec<&Token> = Vec::new();
    for token in tokens {
        let continues = block.last().is_some_and(|last| last.line + 1 == token.line);
        if !continues || !matches!(token.kind, Kind::Doc(_)) {
            found.extend(stump(&std::mem::take(&mut block)));
        }
        if matches!(token.kind, Kind::Doc(_)) {
            block.push(token);
        }
    }
    found.extend(stump(&block));
    found
}

/// The first sentence of a doc comment, where it is a stump.
fn stump(block: &[&Token]) -> Option<(usize, String)> {
    let lines = block.iter().map_while(|token| match &token.kind {
        Kind::Doc(text) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    });
    let paragraph = lines.collect::<Vec<_>>().join(" ");
    let sentence = paragraph.split_once(". ").map_or(paragraph.as_str(), |(sentence, _)| sentence);
    let words: Vec<String> = sentence
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    let opens = words.first().is_some_and(|first| OPENINGS.contains(&first.as_str()));
    let is_stump = words.len() < FEWEST_WORDS || opens && words.len() < ENOUGH_WORDS;
    (is_stump && !block.is_empty()).then(|| (block[0].line, sentence.to_owned()))
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
}
