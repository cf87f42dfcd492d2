//! Opaque page cursors. A cursor is bound to the list it came from by a MAC, so a forged one, or one of
//! another caller or another filter, is refused instead of quietly showing a wrong page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::JobId;

const MAC_BYTES: usize = 12;

/// The secret that cursors are made with.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A cursor that continues after `last` in the list described by `list` (owner and filters).
    pub fn seal(&self, list: &str, last: JobId) -> String {
        let mut bytes = last.as_bytes().to_vec();
        let mac = self.mac(list, last.as_bytes()).map(|mac| mac.finalize().into_bytes());
        bytes.extend(mac.iter().flatten().take(MAC_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The job after which `cursor` continues, or `None` where it was not made for `list`.
    pub fn open(&self, list: &str, cursor: &str) -> Option<JobId> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (id, mac) = bytes.split_at_checked(16)?;
        let id: [u8; 16] = id.try_into().ok()?;
        // In constant time: how nearly it is the right one doesn't show.
        let good = mac.len() == MAC_BYTES && self.mac(list, &id)?.verify_truncated_left(mac).is_ok();
        good.then(|| JobId::from_bytes(id))
    }

    fn mac(&self, list: &str, id: &[u8; 16]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(id);
        mac.update(list.as_bytes());
        Some(mac)
    }
}

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn a_cursor_opens_only_for_the_list_it_was_made_for() {
        let key = CursorKey::new([1; 32]);
        let id = JobId::new(Timestamp::from_millis(5), [2; 10]);
        let cursor = key.seal("owner=a&status=queued", id);
        assert_eq!(key.open("owner=a&status=queued", &cursor), Some(id));
        assert_eq!(key.open("owner=b&status=queued", &cursor), None);
        assert_eq!(CursorKey::new([2; 32]).open("owner=a&status=queued", &cursor), None);
    }

    #[test]
    fn forged_cursors_do_not_open() {
        let key = CursorKey::new([1; 32]);
        let id = JobId::new(Timestamp::from_millis(5), [2; 10]);
        let cursor = key.seal("l", id);
        let mut flipped = cursor.clone().into_bytes();
        flipped[3] ^= 1;
        for bad in ["", "x", "AAAA", "%%%", &String::from_utf8_lossy(&flipped), &"A".repeat(5000)] {
            assert_eq!(key.open("l", bad), None, "{bad}");
        }
    }
}
