//! The scripts, each with what it shares with others in front.

use deadpool_redis::redis::Script;

/// All of them.
pub(super) struct Scripts {
    pub(super) enqueue: Script,
    pub(super) claim: Script,
    pub(super) done: Script,
    pub(super) set_aside: Script,
    pub(super) forget: Script,
    pub(super) limit: Script,
    pub(super) position: Script,
    pub(super) publish: Script,
    pub(super) reclaim: Script,
    pub(super) runs: Script,
    pub(super) announce: Script,
    pub(super) workers: Script,
}

macro_rules! script {
    // Redis runs what stands in front at each call, too.
    (alone $name:literal) => {
        Script::new(include_str!(concat!("scripts/", $name, ".lua")))
    };
    ($name:literal) => {
        Script::new(concat!(include_str!("scripts/common.lua"), include_str!(concat!("scripts/", $name, ".lua"))))
    };
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            enqueue: script!("enqueue"),
            claim: script!("claim"),
            done: script!("done"),
            set_aside: script!("set_aside"),
            forget: script!("forget"),
            limit: script!(alone "limit"),
            position: script!("position"),
            publish: script!(alone "publish"),
            reclaim: script!("reclaim"),
            runs: script!("runs"),
            announce: script!("announce"),
            workers: script!("workers"),
        }
    }
}
