#![doc = include_str!("../README.md")]

mod exposition;
mod family;
mod labels;
mod table;

pub use exposition::{CONTENT_TYPE, Exposition, NotMeasured};
pub use family::{Counters, Family, Gauges, Histograms, Kind, Shown};
pub use labels::{Bounded, job_ended, method, workflow};
pub use metrics::{Counter, Gauge, Histogram, SharedString};
pub use table::*;
