//! Whoever sent a request, as handlers see it. Found out once for each request, before any handler runs.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use gateway_core::access::KeyRights;
use gateway_core::{ErrorCode, Owner, Role, Scope};

use crate::error::ApiError;

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// Whoever sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Whose jobs it creates.
    pub(crate) owner: Owner,
    /// What it may do.
    pub(crate) role: Role,
    /// What its key may do besides, and what bounds it.
    pub(crate) rights: KeyRights,
    /// Its name in the audit log.
    pub(crate) actor: String,
}

impl Caller {
    /// Anybody, at a gateway that asks for no credentials.
    pub(crate) fn local() -> Self {
        let owner = Owner::local();
        Self { actor: owner.as_str().to_owned(), owner, role: Role::Admin, rights: KeyRights::default() }
    }

    /// Whether it is anybody.
    pub(crate) fn is_anybody(&self) -> bool {
        self.owner == Owner::local()
    }

    /// Which rows this caller may touch.
    pub(crate) fn scope(&self) -> Scope {
        match self.role {
            Role::Admin => Scope::All,
            Role::User => Scope::Owner(self.owner.clone()),
        }
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        ready(caller.ok_or_else(|| ApiError::new(ErrorCode::AuthFailed, "no credentials were given")))
    }
}

/// A caller that may do everything: extracted, it was found to be one.
pub(crate) struct Admin(pub(crate) Caller);

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = Caller::from_request(request, payload).into_inner();
        ready(caller.and_then(|caller| match caller.role {
            Role::Admin => Ok(Self(caller)),
            Role::User => Err(ApiError::new(ErrorCode::Forbidden, "this is for administrators")),
        }))
    }
}
