//! Who asks, how often, and whether it may. What a handler may do with that is the handler's.

mod caller;
mod credentials;
mod identify;
mod limit;

pub(crate) use caller::{Admin, Caller, ClientAddress};
pub(crate) use identify::identify;
pub(crate) use limit::LimitHeaders;
