//! Names that may not come back. The left columns are private words, which nobody from the field would guess; the
//! Glossary of ARCHITECTURE.md has the terms that took their place. Prose in comments stays free.

/// Words that may not be a part of an identifier, and the term to use.
const WORDS: [(&str, &str); 22] = [
    ("told", "notified, notification"),
    ("untold", "not yet notified"),
    ("telling", "routing"),
    ("letter", "template, email; `dead_letter` is the standard term"),
    ("bell", "notifier"),
    ("warm", "hot connection"),
    ("patience", "deadline, timeout"),
    ("desk", "dispatcher, harness"),
    ("kept", "stored"),
    ("seal", "hash chain"),
    ("sealed", "hashed"),
    ("fact", "event"),
    ("facts", "events"),
    ("amiss", "mismatched"),
    ("strayed", "orphaned"),
    ("nought", "zero"),
    ("nobodys", "dummy, none"),
    ("anybody", "optional user, public"),
    ("unhurried", "without notify"),
    ("parked", "awaiting alert"),
    ("doubtful", "redelivery window"),
    ("complain", "print to standard error"),
];

/// Whole names that may not come back, and the term to use.
const NAMES: [(&str, &str); 29] = [
    ("About", "PostingCause"),
    ("AfterAlert", "AlertTrigger"),
    ("Because", "CancelReason"),
    ("Came", "ReceivedAt"),
    ("Course", "PriceSeries"),
    ("Deal", "Fill"),
    ("Ending", "AttemptResult"),
    ("Gathered", "a noun"),
    ("Given", "CursorParam"),
    ("Handover", "relay"),
    ("Holder", "AccountOwner"),
    ("Minor", "MinorUnits"),
    ("Mistake", "FieldError"),
    ("Opened", "IssuedSession"),
    ("Outgoing", "OutboundMessage"),
    ("Ownership", "LeaderLock"),
    ("Past", "StoredTick"),
    ("RuleHappening", "RuleChange"),
    ("Settling", "SettlementConnection"),
    ("Since", "Baseline"),
    ("Starts", "InitialPrices"),
    ("Taken", "a noun"),
    ("Terms", "OrderRequest"),
    ("Then", "OnFire"),
    ("Turn", "HashPermit"),
    ("Waiters", "OrderWaiters"),
    ("Wish", "ResetRequest"),
    ("Worth", "Notional"),
    ("SURELY_THERE", "ASSUME_ALIVE_FOR"),
];

/// What is wrong with a name, if anything.
pub(crate) fn fault(name: &str) -> Option<String> {
    if let Some((_, term)) = NAMES.iter().find(|(banned, _)| *banned == name) {
        return Some(format!("`{name}`: say {term}"));
    }
    let words = words(name);
    let standard = |at: usize| at > 0 && words[at - 1] == "dead" && words[at] == "letter";
    let found = words.iter().enumerate().filter(|(at, _)| !standard(*at));
    let banned = found.filter_map(|(_, word)| WORDS.iter().find(|(banned, _)| banned == word)).next();
    banned.map(|(word, term)| format!("`{name}` has the word {word}: say {term}"))
}

/// The words of `snake_case`, `CamelCase`, `SCREAMING_CASE` and `kebab-case`, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in name.chars() {
        if !c.is_alphanumeric() {
            before = ' ';
            continue;
        }
        let begins = before == ' ' || c.is_uppercase() && !before.is_uppercase();
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words
}

/// The names of tables, columns, constraints and functions in SQL, with their lines: what is neither comment nor text.
pub(crate) fn sql_names(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(source.lines()) {
        let code = line.split("--").next().unwrap_or_default();
        // Outside of quotes: every second part.
        for part in code.split('\'').step_by(2) {
            let names = part.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty());
            found.extend(names.map(|name| (number, name.to_owned())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_word_is_found_however_the_name_is_written() {
        for name in ["told", "told_together", "ToldBy", "TOLD_ONCE", "is_told", "told-once", "add_unhurried", "Deal"] {
            assert!(fault(name).is_some(), "{name}");
        }
    }

    #[test]
    fn longer_words_and_standard_terms_are_free() {
        for name in
            ["tickbell", "Tickbell", "dead_letter", "DeadLetter", "dead_letters", "factor", "toldo", "deal_with"]
        {
            assert_eq!(fault(name), None, "{name}");
        }
        assert!(fault("letter_dead").is_some());
    }

    #[test]
    fn sql_is_read_without_its_comments_and_texts() {
        let found = sql_names("SELECT told -- kept\nFROM a WHERE b = 'warm' AND seal = 1");
        let names: Vec<_> = found.iter().filter(|(_, name)| fault(name).is_some()).collect();
        assert_eq!(names, [&(1, "told".to_owned()), &(2, "seal".to_owned())]);
    }
}
