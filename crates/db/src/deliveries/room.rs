//! How many messages go to one host at a time.

use diesel::prelude::*;
use gateway_core::Timestamp;

use super::PENDING;
use crate::engine::Conn;
use crate::schema::deliveries;

/// How many messages to each host may be begun.
pub(super) struct HostRoom {
    per_host: i64,
    under_way: Vec<(String, i64)>,
}

impl HostRoom {
    pub(super) fn read(connection: &mut Conn, per_host: usize, now: Timestamp) -> QueryResult<Self> {
        let under_way = deliveries::table
            .filter(deliveries::status.eq(PENDING))
            .filter(deliveries::lease_until.gt(now.as_millis()))
            .group_by(deliveries::host)
            .select((deliveries::host, diesel::dsl::count_star()))
            .load(connection)?;
        Ok(Self { per_host: i64::try_from(per_host).unwrap_or(i64::MAX), under_way })
    }

    pub(super) fn full(&self) -> Vec<String> {
        self.under_way.iter().filter(|(_, count)| *count >= self.per_host).map(|(host, _)| host.clone()).collect()
    }

    pub(super) fn take(&mut self, host: &str) -> bool {
        match self.under_way.iter_mut().find(|(name, _)| name == host) {
            Some((_, count)) if *count >= self.per_host => false,
            Some((_, count)) => {
                *count += 1;
                true
            }
            None => {
                self.under_way.push((host.to_owned(), 1));
                true
            }
        }
    }
}
