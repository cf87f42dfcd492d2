//! What the HTTP client asks for addresses: only judged ones are handed on, so that what was judged is what is dialled.
//! Never asked about a number in place of a name; `url.rs` judges those.

use std::{net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{
    address,
    lookup::{self, LOOKUP_LIMIT, Lookup},
};

/// All are judged, only so many are tried.
const DIALLED: usize = 8;

/// Why a name leads nowhere. Travels inside the HTTP client's error and is found there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the name does not resolve")]
    Unresolved,
    #[error("the name resolves to an address that may not be reached")]
    Forbidden,
}

/// Resolves for one of the two kinds of hosts.
pub(crate) struct Resolver {
    pub(crate) lookup: Arc<dyn Lookup>,
    /// Whether it serves hosts that the list names exactly.
    pub(crate) named: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.lookup);
        let named = self.named;
        Box::pin(async move {
            let found = lookup::addresses(lookup.as_ref(), name.as_str(), LOOKUP_LIMIT).await;
            let found = found.ok_or(ResolveError::Unresolved)?;
            if !address::all_allowed(&found, named) {
                return Err(ResolveError::Forbidden.into());
            }
            // Port 0 stands for the port of the URL.
            let dialled: Addrs = Box::new(found.into_iter().take(DIALLED).map(|ip| SocketAddr::new(ip, 0)));
            Ok(dialled)
        })
    }
}
