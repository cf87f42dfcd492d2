//! What went wrong with a call, and whether it may pass. Decides nothing else.

use std::error::Error;
use std::time::Duration;

use s3::error::S3Error;

/// Longest text of a server that is passed on.
const LONGEST: usize = 400;

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server answered with an error.
    #[error("the server answered {status} {code}: {message}")]
    Answer {
        /// Of HTTP.
        status: u16,
        /// Of S3, such as `NoSuchKey`; empty where the answer has none.
        code: String,
        /// In the server's words.
        message: String,
    },
    /// No whole answer came.
    #[error("no whole answer came from the server")]
    Network {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
        /// Whether there was no connection at all.
        unreachable: bool,
    },
    /// No whole answer came in time.
    #[error("no answer came from the server within {} s", after.as_secs_f32())]
    Deadline {
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer, or the call, makes no sense.
    #[error("{reason}")]
    Nonsense {
        /// Why.
        reason: String,
    },
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        match error {
            S3Error::HttpFailWithBody(status, body) => Self::answer(status, &body),
            S3Error::Reqwest(error) if !error.is_builder() => {
                Self::Network { unreachable: error.is_connect(), source: Box::new(error.without_url()) }
            }
            S3Error::Io(error) => Self::Network { unreachable: false, source: Box::new(error) },
            other => Self::Nonsense { reason: other.to_string() },
        }
    }
}

impl Failure {
    pub(super) fn nonsense(reason: impl Into<String>) -> Self {
        Self::Nonsense { reason: reason.into() }
    }

    fn answer(status: u16, body: &str) -> Self {
        let code = element(body, "Code").unwrap_or_default().to_owned();
        let message = element(body, "Message").unwrap_or("no reason is given").to_owned();
        Self::Answer { status, code, message }
    }

    /// An error that the server reports of one object among several.
    pub(super) fn of_object(code: String, message: String) -> Self {
        Self::Answer { status: 200, code, message }
    }

    /// Whether the same call may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Deadline { .. } => true,
            Self::Answer { status, code, .. } => {
                matches!(status, 408 | 429 | 500 | 502..=599)
                    || matches!(
                        code.as_str(),
                        "InternalError"
                            | "OperationAborted"
                            | "RequestTimeout"
                            | "ServiceUnavailable"
                            | "SlowDown"
                            | "Throttling"
                            | "TooManyRequests"
                    )
            }
            Self::Nonsense { .. } => false,
        }
    }

    /// Whether no answer came at all.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Network { unreachable: true, .. } | Self::Deadline { .. })
    }

    /// Whether the server says that there is no such object.
    pub(super) fn is_no_object(&self) -> bool {
        matches!(self, Self::Answer { status: 404, code, .. } if code != "NoSuchBucket")
    }

    /// Whether the server says that there is no such upload.
    pub(super) fn is_no_upload(&self) -> bool {
        matches!(self, Self::Answer { status: 404, code, .. } if code.is_empty() || code == "NoSuchUpload")
    }

    /// Whether the server does not know such a call.
    pub(super) fn is_not_implemented(&self) -> bool {
        matches!(self, Self::Answer { status, code, .. } if *status == 501 || code == "NotImplemented")
    }

    /// One or two words for the log.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Answer { status, code, .. } => format!("{status} {code}"),
            Self::Network { unreachable: true, .. } => String::from("unreachable"),
            Self::Network { .. } => String::from("cut"),
            Self::Deadline { .. } => String::from("timeout"),
            Self::Nonsense { .. } => String::from("nonsense"),
        }
    }

    /// The same without `secrets` in the server's words.
    pub(super) fn without<'a>(self, secrets: impl Iterator<Item = &'a str>) -> Self {
        let Self::Answer { status, code, mut message } = self else { return self };
        for secret in secrets.filter(|secret| !secret.is_empty()) {
            message = message.replace(secret, "…");
        }
        Self::Answer { status, code, message: message.chars().take(LONGEST).collect() }
    }
}

/// The text of the first element `name`, which holds no other.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Failure {
        S3Error::HttpFailWithBody(status, format!("<Error><Code>{code}</Code><Message>why</Message></Error>")).into()
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, code) in [(503, "SlowDown"), (429, ""), (500, "InternalError"), (502, ""), (400, "RequestTimeout")]
        {
            assert!(answer(status, code).is_passing(), "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (404, "NoSuchKey"), (400, "InvalidPart"), (501, "NotImplemented")]
        {
            assert!(!answer(status, code).is_passing(), "{status} {code}");
        }
        // An error may come in an answer that began as a success.
        assert!(answer(200, "InternalError").is_passing());
    }

    #[test]
    fn a_server_that_repeats_a_key_does_not_make_us_show_it() {
        let body = "<Error><Code>InvalidAccessKeyId</Code><Message>AKIA7 is unknown</Message><Key>AKIA7</Key></Error>";
        let failure = Failure::from(S3Error::HttpFailWithBody(403, body.to_owned())).without(["AKIA7", ""].into_iter());
        assert_eq!(failure.to_string(), "the server answered 403 InvalidAccessKeyId: … is unknown");
    }
}
