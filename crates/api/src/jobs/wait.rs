//! `Prefer: wait=N` (RFC 7240): the answer is the finished job, where it ends in time.

use std::time::Duration;

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse};
use gateway_core::Scope;

use crate::jobs::answer::Answer;
use crate::jobs::find;
use crate::jobs::follow::Follower;
use crate::state::ApiState;

const LONGEST: u64 = 60;
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a caller would wait for the end of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preference(Option<u64>);

impl Preference {
    /// The preference of `request`; one that can't be read, or of less than a second, is none, as the standard has it.
    pub(crate) fn read(request: &HttpRequest) -> Self {
        let headers = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
        let mut preferences = headers.flat_map(|value| value.split(','));
        Self(preferences.find_map(seconds).map(|seconds| seconds.min(LONGEST)))
    }

    /// `answer`, or the finished job where it ends in time.
    pub(crate) async fn wait(self, state: &ApiState, answer: Answer) -> HttpResponse {
        let Some(seconds) = self.0 else { return answer.into_response() };
        let limit = Duration::from_secs(seconds);
        let ended = answer.ended
            || tokio::time::timeout(limit, Follower::new(state, answer.job).until_ended()).await == Ok(true);
        if !ended {
            return answer.into_response();
        }
        let found = find::show(state, answer.job, Scope::All).await;
        let Ok(mut response) = found else { return answer.into_response() };
        if let Ok(value) = format!("wait={seconds}").parse() {
            response.headers_mut().insert(APPLIED, value);
        }
        response
    }
}

fn seconds(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let named = name.trim().eq_ignore_ascii_case("wait");
    named.then(|| value.trim().trim_matches('"').parse().ok()).flatten().filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn waits_are_read_as_the_standard_says() {
        for (header, wanted) in [
            ("wait=10", Some(10)),
            ("respond-async, wait=5", Some(5)),
            ("Wait = \"7\"; foo", Some(7)),
            ("wait=100000", Some(LONGEST)),
            ("wait=0", None),
            ("wait=soon", None),
            ("wait", None),
            ("", None),
        ] {
            let request = TestRequest::default().insert_header(("prefer", header)).to_http_request();
            assert_eq!(Preference::read(&request), Preference(wanted), "{header}");
        }
    }
}
