//! Query strings, read strictly: a name that is not known, or stands twice, is refused.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use actix_web::{HttpRequest, web};
use gateway_core::{Fault, Timestamp};

use crate::error::ApiError;

/// The parameters of one request.
pub(crate) struct Query {
    values: BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl Query {
    /// The parameters of `request`, all of them in `known`.
    pub(crate) fn read(request: &HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| ApiError::bad_request(format!("the query can't be read: {error}")))?
            .into_inner();
        let mut query = Self { values: BTreeMap::new(), faults: Vec::new() };
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let names = if known.is_empty() { String::from("none") } else { known.join(", ") };
                query.refuse(&name, format!("unknown parameter; there are: {names}"));
            } else if value.contains('\0') {
                query.refuse(&name, "NUL is not allowed");
            } else if value.is_empty() {
                query.refuse(&name, "must not be empty; leave it out");
            } else if let Entry::Vacant(place) = query.values.entry(name.clone()) {
                place.insert(value);
            } else {
                query.refuse(&name, "given twice");
            }
        }
        Ok(query)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The parameter `name`, as `parse` reads it; noted as a fault that says what is `allowed` where it can't.
    pub(crate) fn parse<T>(&mut self, name: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let parsed = parse(self.values.get(name)?);
        if parsed.is_none() {
            self.refuse(name, format!("must be {allowed}"));
        }
        parsed
    }

    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.parse(name, "an RFC 3339 time such as 2026-11-24T12:00:00Z", Timestamp::parse)
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let parsed = self.parse(name, "1 or 0", |text| match text {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        });
        parsed.unwrap_or(false)
    }

    /// How many rows a page is to have, 1 to 100: `usual` where nothing is said of it.
    pub(crate) fn limit(&mut self, usual: i64) -> i64 {
        let limit = self.parse("limit", "a whole number from 1 to 100", |text| {
            text.parse::<i64>().ok().filter(|limit| (1..=100).contains(limit))
        });
        limit.unwrap_or(usual)
    }

    /// Ends the reading: an error where anything was wrong.
    pub(crate) fn check(self) -> Result<(), ApiError> {
        if self.faults.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.faults)) }
    }

    /// Notes that the parameter `name` is wrong.
    pub(crate) fn refuse(&mut self, name: &str, message: impl Into<String>) {
        let shown: String = name.chars().take(64).collect();
        self.faults.push(Fault::new(format!("?{shown}"), message));
    }
}

/// Leaves a page of `limit` in `rows`, of which one more was asked for; whether there are more.
pub(crate) fn cut<T>(rows: &mut Vec<T>, limit: i64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}
