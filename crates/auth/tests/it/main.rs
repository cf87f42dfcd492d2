//! Tokens as issuers and attackers write them, each checked by a verifier as an operator would set it up.
#![cfg(test)]

mod claims;
mod forged;
mod issuer;
mod keys;
