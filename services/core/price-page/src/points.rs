//! The prices of the last day of a market, one for each quarter of an hour: what a spark line is drawn from, and what a change in 24
//! hours is measured from where there is no history.

use events::{Interval, Period, Price, Timestamp};
use serde::{Deserialize, Serialize};

/// The time that one point stands for.
const GRAIN: Interval = Interval::FifteenMinutes;
/// The age of the oldest point, which is that of the oldest price that a change of a day is measured from.
const OLDEST: Period = Period::seconds(25 * 3_600);

/// A price and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The time of the price.
    pub at: Timestamp,
    /// The price, in units of the quote currency.
    pub price: Price,
}

/// The last price of each quarter of an hour, oldest first: at most 101 of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Point>")]
pub struct Points(Vec<Point>);

impl From<Vec<Point>> for Points {
    /// Takes points of any order, of which the newest 25 hours stay.
    fn from(points: Vec<Point>) -> Self {
        points.into_iter().collect()
    }
}

impl FromIterator<Point> for Points {
    fn from_iter<I: IntoIterator<Item = Point>>(points: I) -> Self {
        let mut points: Vec<Point> = points.into_iter().collect();
        // Of points with one time the one that came last counts: the sort is stable.
        points.sort_by_key(|point| point.at);
        let mut chosen = Self::default();
        points.into_iter().for_each(|point| chosen.add(point));
        chosen
    }
}

impl Points {
    /// Adds a point in its order. Of a quarter of an hour the newest one stays; of the whole, 25 hours up to the newest.
    pub fn add(&mut self, point: Point) {
        let points = &mut self.0;
        let behind = points.partition_point(|other| other.at <= point.at);
        let quarter = |point: &Point| point.at.floor(GRAIN);
        if points.get(behind).is_some_and(|next| quarter(next) == quarter(&point)) {
            return;
        }
        match behind.checked_sub(1).and_then(|before| points.get_mut(before)) {
            Some(before) if quarter(before) == quarter(&point) => *before = point,
            _ => points.insert(behind, point),
        }
        let newest = points.last().map_or(point.at, |last| last.at);
        points.retain(|point| is_within(point.at, newest, OLDEST));
    }

    /// Returns the points of the 24 hours up to a time, oldest first.
    pub fn of_day(&self, newest: Timestamp) -> impl Iterator<Item = &Point> {
        self.0.iter().filter(move |point| point.at <= newest && is_within(point.at, newest, Period::DAY))
    }

    /// Returns the last price that was between 24 and 25 hours before the newest one; none where there is no such price.
    pub fn reference(&self, newest: Timestamp) -> Option<(Price, Timestamp)> {
        let day_ago = newest.micros() - Period::DAY.micros();
        let before = self.0.iter().rev().find(|point| point.at.micros() <= day_ago);
        before.filter(|point| is_within(point.at, newest, OLDEST)).map(|point| (point.price, point.at))
    }
}

fn is_within(at: Timestamp, newest: Timestamp, period: Period) -> bool {
    newest.micros() - at.micros() <= period.micros()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;

    fn point(seconds: i64, price: u32) -> Point {
        let at = Timestamp::from_micros((1_900_000_800 + seconds) * 1_000_000).expect("a time");
        Point { at, price: price.to_string().parse().expect("a price") }
    }

    #[test]
    fn the_newest_price_of_a_quarter_of_an_hour_stays() {
        let points: Points = [point(0, 1), point(MINUTE, 2), point(30, 3), point(15 * MINUTE, 4)].into_iter().collect();
        assert_eq!(points.0, [point(MINUTE, 2), point(15 * MINUTE, 4)]);
    }

    #[test]
    fn a_change_is_measured_from_the_last_price_that_is_24_to_25_hours_older() {
        for (prices, newest, expected) in [
            (vec![point(0, 1), point(HOUR, 2)], 24 * HOUR, Some(point(0, 1))),
            (
                vec![point(0, 1), point(20 * MINUTE, 2), point(HOUR, 3)],
                24 * HOUR + 20 * MINUTE,
                Some(point(20 * MINUTE, 2)),
            ),
            (vec![point(0, 1)], 24 * HOUR - 1, None),
            (vec![point(0, 1)], 25 * HOUR + 1, None),
            (vec![], 24 * HOUR, None),
        ] {
            let newest = point(newest, 9);
            let points: Points = prices.into_iter().chain([newest]).collect();
            assert_eq!(points.reference(newest.at), expected.map(|point| (point.price, point.at)), "{points:?}");
        }
    }

    proptest! {
        #[test]
        fn points_ascend_within_25_hours_whatever_their_order(seconds in prop::collection::vec(0..50 * HOUR, 1..300)) {
            let points: Points = seconds.iter().map(|seconds| point(*seconds, 1)).collect();
            let newest = point(*seconds.iter().max().expect("one"), 1);
            prop_assert!(points.0.is_sorted_by(|one, other| one.at.floor(GRAIN) < other.at.floor(GRAIN)));
            prop_assert!(points.0.len() <= 101);
            prop_assert_eq!(points.0.last(), Some(&newest));
            prop_assert!(points.0.iter().all(|point| is_within(point.at, newest.at, OLDEST)));
            let mut one_by_one = Points::default();
            seconds.iter().rev().for_each(|seconds| one_by_one.add(point(*seconds, 1)));
            prop_assert_eq!(points, one_by_one);
        }
    }
}
