//! The spark line of a day: a path of an SVG image, computed in integers.

use std::fmt::Write;

use events::{Period, Price, Timestamp};

use crate::points::Points;

/// The box of the image, with a margin in which the line's ends are round.
const WIDTH: i128 = 1_200;
const HEIGHT: i128 = 280;
const MARGIN: i128 = 20;

/// The line of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparkLine {
    /// The commands of the path, in the box of [`SparkLine::view_box`].
    pub(crate) path: String,
    pub(crate) lowest: Price,
    pub(crate) highest: Price,
    /// How the last price compares with the first.
    pub(crate) trend: std::cmp::Ordering,
}

impl SparkLine {
    /// Draws the day up to a time; none where it has fewer than two points.
    pub(crate) fn new(points: &Points, newest: Timestamp) -> Option<Self> {
        let of_day = || points.of_day(newest);
        let (first, last) = (of_day().next()?, of_day().last()?);
        if first == last {
            return None;
        }
        let lowest = of_day().map(|point| point.price).min()?;
        let highest = of_day().map(|point| point.price).max()?;
        let range = highest.units() - lowest.units();
        let mut path = String::new();
        for point in of_day() {
            let age = i128::from(newest.micros() - point.at.micros());
            let x = WIDTH - MARGIN - age * (WIDTH - 2 * MARGIN) / i128::from(Period::DAY.micros());
            // A price is below 10³² units, so that the product fits.
            let below = (highest.units() - point.price.units()) * (HEIGHT - 2 * MARGIN);
            let y = below.checked_div(range).map_or(HEIGHT / 2, |below| MARGIN + below);
            let command = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{command}{x} {y}").ok()?;
        }
        Some(Self { path, lowest, highest, trend: last.price.cmp(&first.price) })
    }

    /// Returns the box that the path is drawn in.
    pub(crate) fn view_box() -> String {
        format!("0 0 {WIDTH} {HEIGHT}")
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;
    use crate::points::Point;

    fn line(prices: &[(i64, &str)]) -> Option<SparkLine> {
        let at = |hours: i64| Timestamp::from_micros((1_900_000_000 + hours * 3_600) * 1_000_000).expect("a time");
        let point = |(hours, price): &(i64, &str)| Point { at: at(*hours), price: price.parse().expect("a price") };
        let points = prices.iter().map(point).collect();
        SparkLine::new(&points, at(24))
    }

    #[test]
    fn a_line_ends_at_the_right_and_touches_the_top_and_the_bottom() {
        let drawn = line(&[(0, "100"), (12, "300"), (24, "200")]).expect("a line");
        assert_eq!((drawn.path.as_str(), drawn.trend), ("M20 260L600 20L1180 140", Ordering::Greater));
        assert_eq!((drawn.lowest.to_string(), drawn.highest.to_string()), ("100".into(), "300".into()));
    }

    #[test]
    fn a_price_that_stays_is_a_line_in_the_middle() {
        let drawn = line(&[(12, "5"), (24, "5")]).expect("a line");
        assert_eq!((drawn.path.as_str(), drawn.trend), ("M600 140L1180 140", Ordering::Equal));
    }

    #[test]
    fn the_largest_and_the_smallest_price_are_drawn() {
        let drawn = line(&[(23, "0.000000000000000001"), (24, "9999999999999.999999999999999")]).expect("a line");
        assert!(drawn.path.ends_with("L1180 20"), "{}", drawn.path);
    }

    #[test]
    fn one_price_is_no_line() {
        assert_eq!(line(&[(24, "5")]), None);
        assert_eq!(line(&[]), None);
    }
}
