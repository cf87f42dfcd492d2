//! The contract of the gateway, proved against a whole one with a simulated ComfyUI.

mod api;
mod smoke;
