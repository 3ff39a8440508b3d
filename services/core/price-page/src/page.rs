//! The page as HTML.

use std::{cmp::Ordering, sync::LazyLock};

use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use events::{Timestamp, display};
use sha2::{Digest, Sha256};

use crate::{icon::Icons, row::PriceRow, spark_line::SparkLine};

/// The style of the page, which is a part of it.
pub const STYLE: &str = include_str!("../templates/prices.css");

/// The style as a content security policy names it.
static STYLE_HASH: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(STYLE))));

/// Returns the source expression that allows the style of the page in a content security policy.
pub fn style_hash() -> &'static str {
    &STYLE_HASH
}

/// Where the page leads to. What is absent is not shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Links<'a> {
    /// The page that the name of the program leads to.
    pub home: Option<&'a str>,
    /// The page with the next symbols.
    pub next: Option<&'a str>,
    /// The same prices as JSON.
    pub json: &'a str,
}

/// The page of latest prices.
#[derive(Debug, Clone, Copy)]
pub struct PricePage<'a> {
    /// The prices, in the order of their symbols.
    pub rows: &'a [PriceRow],
    /// The number of symbols that have no row.
    pub omitted: usize,
    /// When the page was made.
    pub made_at: Timestamp,
    /// Where the page leads to.
    pub links: Links<'a>,
    /// The icons of assets; none where the page has none.
    pub icons: Option<&'a Icons>,
}

impl PricePage<'_> {
    /// Returns the HTML. It has no script, and what it shows is escaped.
    pub fn to_html(self) -> String {
        let Self { rows, omitted, made_at, links, icons } = self;
        let icons = icons.filter(|icons| !icons.is_empty());
        let rows = rows
            .iter()
            .map(|row| RowView { icon: icons.and_then(|icons| icons.find(&row.symbol)), ..RowView::of(row) })
            .collect();
        let view = PageView {
            style: STYLE,
            policy: policy(),
            view_box: SparkLine::view_box(),
            has_icons: icons.is_some(),
            rows,
            omitted,
            made_at,
            links,
        };
        view.render().expect("a page of text always renders")
    }
}

/// What the page may do where no header says it: a file has none.
fn policy() -> String {
    format!("default-src 'none'; img-src 'self'; style-src {}; base-uri 'none'; form-action 'none'", style_hash())
}

#[derive(Template)]
#[template(path = "prices.html")]
struct PageView<'a> {
    style: &'static str,
    policy: String,
    view_box: String,
    rows: Vec<RowView<'a>>,
    /// Whether there is room for icons.
    has_icons: bool,
    omitted: usize,
    made_at: Timestamp,
    links: Links<'a>,
}

/// A row as it is shown.
struct RowView<'a> {
    row: &'a PriceRow,
    price: String,
    /// The change in 24 hours with its sign, or a dash where it is not known.
    change: String,
    change_class: &'static str,
    line: Option<LineView>,
    /// The address of the icon.
    icon: Option<String>,
}

struct LineView {
    path: String,
    class: &'static str,
    label: String,
}

impl<'a> RowView<'a> {
    fn of(row: &'a PriceRow) -> Self {
        let line = SparkLine::new(&row.points, row.at).map(|line| LineView {
            label: format!(
                "Last 24 hours: lowest {}, highest {}",
                display::number(line.lowest.decimal()),
                display::number(line.highest.decimal())
            ),
            class: class(line.trend),
            path: line.path,
        });
        let change = row.change();
        Self {
            row,
            price: display::number(row.price.decimal()),
            change: change.map_or_else(|| "–".to_owned(), |change| format!("{change:+.2} %")),
            change_class: class(change.map_or(Ordering::Equal, |change| change.cmp(&rust_decimal::Decimal::ZERO))),
            line,
            icon: None,
        }
    }
}

fn class(trend: Ordering) -> &'static str {
    match trend {
        Ordering::Less => "down",
        Ordering::Equal => "flat",
        Ordering::Greater => "up",
    }
}

#[cfg(test)]
mod tests {
    use events::{Symbol, Venue};

    use super::*;
    use crate::points::Point;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_micros((1_900_000_800 + hours * 3_600) * 1_000_000).expect("a time")
    }

    fn row(reference: Option<&str>) -> PriceRow {
        let price = |text: &str| text.parse().expect("a price");
        PriceRow {
            symbol: Symbol::parse("BTC-USD").expect("a symbol"),
            venue: Venue::parse("coinbase").expect("a venue"),
            price: price("64001.5"),
            at: at(24),
            day_ago: reference.map(|reference| (price(reference), at(0))),
            gap_from: None,
            points: [Point { at: at(0), price: price("64000") }, Point { at: at(24), price: price("64001.5") }]
                .into_iter()
                .collect(),
        }
    }

    fn page(rows: &[PriceRow], links: Links<'_>) -> String {
        PricePage { rows, omitted: 0, made_at: at(24), links, icons: None }.to_html()
    }

    #[test]
    fn a_change_has_its_sign_and_one_that_is_not_known_is_a_dash() {
        for (reference, change, class) in [
            (Some("32000.75"), "+100.00 %", "up"),
            (Some("128003"), "-50.00 %", "down"),
            (Some("64001.5"), "+0.00 %", "flat"),
            (None, "–", "flat"),
        ] {
            let html = page(&[row(reference)], Links::default());
            assert!(html.contains(&format!("<span class=\"change {class}\">{change}</span>")), "{reference:?}: {html}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_symbol_with_its_spark_line_and_time() {
        let html =
            page(&[row(None)], Links { next: Some("/prices?cursor=pBTC-USD"), json: "prices.json", home: Some("/") });
        assert!(html.contains("BTC-USD") && html.contains("<data value=\"64001.5\">64,001.5</data>"), "{html}");
        assert!(
            html.contains("<path d=\"M20 260L1180 20\"") && html.contains("lowest 64,000, highest 64,001.5"),
            "{html}"
        );
        assert!(html.contains("2030-03-18 18:00:00") && html.contains("href=\"prices.json\""), "{html}");
        assert!(html.contains("href=\"/prices?cursor=pBTC-USD\"") && html.ends_with("</html>"), "{html}");
    }

    #[test]
    fn a_page_without_prices_says_so_and_one_that_is_not_whole_too() {
        let html = page(&[], Links::default());
        assert!(html.contains("No price has arrived yet.") && !html.contains("cursor="), "{html}");
        let row = PriceRow { gap_from: Some(at(1)), ..row(None) };
        let html =
            PricePage { rows: &[row], omitted: 7, made_at: at(0), links: Links::default(), icons: None }.to_html();
        assert!(html.contains("7 more symbols are not shown."), "{html}");
        assert!(html.contains("Trades since 2030-03-17 19:00:00 are missing"), "{html}");
    }

    #[test]
    fn an_icon_stands_before_its_symbol_and_others_have_room_for_one() {
        let other = PriceRow { symbol: Symbol::parse("ETH-USD").expect("a symbol"), ..row(None) };
        let icons = Icons::new("../icons/", ["BTC.png".to_owned()]);
        let rows = [row(None), other];
        let page = PricePage { rows: &rows, omitted: 0, made_at: at(0), links: Links::default(), icons: Some(&icons) };
        let html = page.to_html();
        assert!(html.contains("<img class=\"icon\" src=\"../icons/BTC.png\""), "{html}");
        assert_eq!((html.matches("<img").count(), html.matches("<span class=\"icon\">").count()), (1, 1), "{html}");
        let none = PricePage { icons: Some(&Icons::default()), ..page }.to_html();
        assert!(!none.contains("class=\"icon\""), "{none}");
    }

    #[test]
    fn the_page_holds_exactly_the_style_that_its_policy_allows_and_no_script() {
        let html = page(&[row(None)], Links::default());
        let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next());
        assert_eq!(style, Some(STYLE));
        assert!(html.contains(style_hash()) && !html.contains("<script") && !html.contains("style=\""), "{html}");
    }
}
