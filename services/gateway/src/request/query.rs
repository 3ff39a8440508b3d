//! Query strings, one parameter at a time, so that every error is reported at once and by its name.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use axum::{
    extract::{FromRequestParts, Query as RawQuery},
    http::request::Parts,
};
use events::Timestamp;
use utoipa::{IntoParams, ToSchema};

use crate::http::problem::{FieldError, Problem};

/// The number of items on a page without `limit`.
const DEFAULT_PAGE: u16 = 100;
/// The largest `limit`.
const LARGEST_PAGE: u16 = 1_000;

/// The parameters that have not been read, and the errors in those that have.
#[derive(Debug)]
pub(crate) struct Query {
    unread: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl Query {
    /// Takes the decoded parameters of a URL.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut query = Self { unread: BTreeMap::new(), errors: Vec::new() };
        for (name, value) in pairs {
            if query.unread.insert(name.clone(), value).is_some() {
                query.reject(&name, "must be given once");
            }
        }
        query
    }

    /// Reads a parameter that may be absent; `None` also when it is invalid, which is recorded.
    pub(crate) fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.unread.remove(name)?;
        text.parse().map_err(|error: T::Err| self.reject(name, error.to_string())).ok()
    }

    /// Reads a parameter that must be there; `None` when it is missing or invalid, which is recorded.
    pub(crate) fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        if !self.unread.contains_key(name) {
            self.reject(name, "is required");
        }
        self.optional(name)
    }

    /// Reads a time. The `+` of an offset that was not escaped arrives as a space, which RFC 3339 has nowhere else.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        if let Some(text) = self.unread.get_mut(name) {
            *text = text.replace(' ', "+");
        }
        self.optional(name)
    }

    /// Reads `limit`: 1 to 1000, by default 100.
    pub(crate) fn limit(&mut self) -> u16 {
        self.optional::<PageLimit>("limit").map_or(DEFAULT_PAGE, |PageLimit(limit)| limit)
    }

    /// Records an error that no parser of a single parameter can find.
    pub(crate) fn reject(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError::parameter(name, detail));
    }

    /// Leaves the parameters that were not read unread.
    fn ignore_others(&mut self) {
        self.unread.clear();
    }

    /// Returns `read` when there was no error; a parameter that was not read is one.
    pub(crate) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        for name in std::mem::take(&mut self.unread).into_keys() {
            self.reject(&name, "is not a parameter of this operation");
        }
        read.filter(|_| self.errors.is_empty()).ok_or_else(|| Problem::invalid(self.errors))
    }
}

struct PageLimit(u16);

impl FromStr for PageLimit {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let limit = text.parse().ok().filter(|limit| digits && (1..=LARGEST_PAGE).contains(limit));
        limit.map(Self).ok_or("must be a whole number from 1 to 1000")
    }
}

/// The query of an operation.
pub(crate) trait FromQuery: Sized {
    /// Reads the parameters of the operation; `None` when an error was recorded.
    fn from_query(query: &mut Query) -> Option<Self>;
}

/// An operation without parameters.
impl FromQuery for () {
    fn from_query(_: &mut Query) -> Option<Self> {
        Some(())
    }
}

/// A filter and a page.
impl<A: FromQuery, B: FromQuery> FromQuery for (A, B) {
    fn from_query(query: &mut Query) -> Option<Self> {
        let (filter, list) = (A::from_query(query), B::from_query(query));
        filter.zip(list)
    }
}

/// The page of a list that a request asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery<C: ToSchema> {
    /// The `next_cursor` of the previous page; the other parameters must be the same.
    #[param(inline)]
    pub(crate) cursor: Option<C>,
    /// The largest number of items on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    pub(crate) limit: u16,
}

impl<C: FromStr<Err: Display> + ToSchema> FromQuery for ListQuery<C> {
    fn from_query(query: &mut Query) -> Option<Self> {
        Some(Self { cursor: query.optional("cursor"), limit: query.limit() })
    }
}

/// An extractor of a query whose every parameter is known and valid.
pub(crate) struct QueryParams<T>(pub(crate) T);

impl<T: FromQuery, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = query_of(parts)?;
        let value = T::from_query(&mut query);
        query.finish(value).map(Self)
    }
}

/// An extractor of a query whose known parameters are valid, and whose other ones are ignored: clients that were written for
/// another server send parameters that mean nothing here.
pub(crate) struct KnownParams<T>(pub(crate) T);

impl<T: FromQuery, S: Send + Sync> FromRequestParts<S> for KnownParams<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut query = query_of(parts)?;
        let value = T::from_query(&mut query);
        query.ignore_others();
        query.finish(value).map(Self)
    }
}

fn query_of(parts: &Parts) -> Result<Query, Problem> {
    // Escapes that are not UTF-8 become U+FFFD, which no parser accepts.
    let RawQuery(pairs) = RawQuery::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|error| Problem::invalid(vec![FieldError::parameter("?", error.to_string())]))?;
    Ok(Query::new(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn rejected(query: Query) -> String {
        let problem = query.finish(Some(())).expect_err("an error");
        String::from_utf8(problem.to_json("")).expect("UTF-8")
    }

    #[test]
    fn unknown_and_repeated_parameters_are_rejected_by_name() {
        assert!(rejected(query(&[("colour", "red")])).contains(r#""parameter":"colour""#));
        let mut twice = query(&[("limit", "1"), ("limit", "2")]);
        twice.limit();
        assert!(rejected(twice).contains("must be given once"));
    }

    #[test]
    fn others_may_be_ignored_and_what_is_known_must_be_valid() {
        let read = |pairs: &[(&str, &str)]| {
            let mut query = query(pairs);
            let limit = query.limit();
            query.ignore_others();
            query.finish(Some(limit)).ok()
        };
        assert_eq!(read(&[("colour", "red"), ("limit", "7")]), Some(7));
        assert_eq!(read(&[("colour", "red"), ("limit", "x")]), None);
    }

    #[test]
    fn a_limit_is_a_whole_number_in_its_range() {
        for (text, limit) in [("1", 1), ("1000", 1_000), ("007", 7)] {
            assert_eq!(query(&[("limit", text)]).limit(), limit);
        }
        assert_eq!(query(&[]).limit(), 100);
        for bad in ["0", "1001", "-1", "+5", "1.5", "", "ten", "99999999999999999999", " 5", "５"] {
            let mut query = query(&[("limit", bad)]);
            query.limit();
            assert!(rejected(query).contains(r#""parameter":"limit""#), "{bad}");
        }
    }

    #[test]
    fn the_plus_of_an_offset_may_be_left_unescaped() {
        let time = query(&[("from", "2018-04-05T02:00:00 02:00")]).time("from");
        assert_eq!(time.map(|time| time.to_string()).as_deref(), Some("2018-04-05T00:00:00.000000Z"));
    }
}
