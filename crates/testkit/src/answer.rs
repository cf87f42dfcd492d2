//! An answer of the gateway, read whole.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer of the gateway, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Reads `response` to its end.
    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("the whole answer").to_vec();
        Self { status, headers, bytes }
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The header `name`; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The `code` of a problem; empty where it is none.
    pub fn code(&self) -> String {
        self.json().get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The paths of a problem's `errors`.
    pub fn fault_paths(&self) -> Vec<String> {
        let json = self.json();
        let faults = json.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
        faults.iter().filter_map(|fault| fault.get("path")?.as_str().map(str::to_owned)).collect()
    }

    /// Itself, where the status is `status`; panics with the body where not.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.bytes));
        self
    }
}
