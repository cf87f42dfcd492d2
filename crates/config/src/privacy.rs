//! What follows from `PRIVACY_MODE` for all other settings.

use crate::settings::Settings;

impl Settings {
    /// Has nothing of what jobs are about kept longer than they run, nor told anybody but their owners.
    pub fn be_private(&mut self) {
        self.access.privacy = true;
        self.database.redact = true;
        // What is not kept can't be used again, and what is stored says nothing of how it was made.
        self.cache.ttl = None;
        self.files.strip_metadata = true;
        self.log.filter.hush_libraries();
    }
}
