//! What a request is for, before anybody looks who sent it: a host that is one, a target of a sensible length, a method
//! that is about this server.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::HOST;
use gateway_core::ErrorCode;

use crate::error::ApiError;

/// Bytes of a path with its query.
const MAX_TARGET: usize = 8 * 1024;

/// Refuses what is for nothing here.
pub(crate) fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > MAX_TARGET {
        let detail = format!("the path with its query is longer than {MAX_TARGET} bytes");
        return Err(ApiError { status: 414, ..ApiError::bad_request(detail) });
    }
    if request.method() == Method::CONNECT {
        let error = ApiError::new(ErrorCode::MethodNotAllowed, "CONNECT is not allowed here: the gateway is no proxy");
        return Err(error.with_header("allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS"));
    }
    match request.headers().get(HOST) {
        Some(host) if !is_host(host.as_bytes()) => Err(ApiError::bad_request("Host is no host name")),
        _ => Ok(()),
    }
}

/// Whether `host` may be a name or an address with a port (RFC 9110, section 7.2).
fn is_host(host: &[u8]) -> bool {
    !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(byte))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn status(request: TestRequest) -> u16 {
        check(&request.to_srv_request()).map_or_else(|error| error.status, |()| 200)
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for host in ["gateway", "gateway.example.com:3000", "127.0.0.1", "[::1]:3000", "a_b"] {
            assert_eq!(status(TestRequest::get().insert_header((HOST, host))), 200, "{host}");
        }
        for host in ["", "a/b", "a b", "a?b", "user@host", "a#b", "a\\b", "<script>"] {
            assert_eq!(status(TestRequest::get().insert_header((HOST, host))), 400, "{host}");
        }
    }

    #[test]
    fn targets_are_of_a_sensible_length_and_about_this_server() {
        let long = |length: usize| format!("/{}?{}", "a".repeat(length / 2), "b".repeat(length / 2 - 1));
        assert_eq!(status(TestRequest::get().uri(&long(MAX_TARGET))), 200);
        assert_eq!(status(TestRequest::get().uri(&long(MAX_TARGET + 2))), 414);
        assert_eq!(status(TestRequest::default().method(Method::CONNECT).uri("/jobs")), 405);
    }
}
