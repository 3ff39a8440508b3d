//! Names that somebody may have meant who asks for a symbol that a venue does not list.

use events::Symbol;

/// The most names that are offered.
const MAX_NEAR: usize = 3;
/// The most letters in which a near name differs.
const MAX_DISTANCE: usize = 2;

/// Returns the listed symbols that are near one which is not: those that differ in few letters, and those of the same base.
pub fn near_symbols<'listed>(symbol: &Symbol, listed: impl IntoIterator<Item = &'listed Symbol>) -> Vec<Symbol> {
    let base = symbol.pair().map(|(base, _)| base);
    let rank = |other: &Symbol| {
        let distance = distance(symbol.as_str(), other.as_str());
        let has_base = base.is_some() && other.pair().map(|(base, _)| base) == base;
        (distance <= MAX_DISTANCE || has_base).then(|| (distance, other.clone()))
    };
    let mut near: Vec<_> = listed.into_iter().filter_map(rank).collect();
    near.sort();
    near.into_iter().take(MAX_NEAR).map(|(_, symbol)| symbol).collect()
}

/// Returns how many letters have to be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_differ_in_few_letters_or_have_the_same_base() {
        let symbol = |name: &str| Symbol::parse(name).expect("a symbol");
        let listed = ["BTC-USD", "BTC-EUR", "BTC-USDT", "BTC-GBP", "ETH-USD", "DOGE-USD"].map(symbol);
        for (asked, near) in [("BTC-USTD", "BTC-USD BTC-USDT BTC-EUR"), ("DOG-USD", "DOGE-USD"), ("NOWHERE-TRY", "")] {
            let found = near_symbols(&symbol(asked), &listed);
            assert_eq!(found.iter().map(Symbol::as_str).collect::<Vec<_>>().join(" "), near, "{asked}");
        }
    }
}
