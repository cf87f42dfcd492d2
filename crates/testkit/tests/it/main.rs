//! The contract of the gateway, proved against a whole one with a simulated ComfyUI.
#![cfg(test)]

mod access;
mod api;
mod comfy;
mod contract;
mod delivery;
mod images;
mod mcp;
mod postgres;
mod privacy;
mod raw;
mod scaled;
mod smoke;
