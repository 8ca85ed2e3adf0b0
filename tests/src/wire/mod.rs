//! Fault points on the wire: proxies between a host and its Postgres, S3 and Textract, which know every step of a job by
//! what is said and can break off at each. The host is the binary that ships; it has no hooks for this.

mod http;
mod link;
mod point;
mod postgres;
mod trap;

pub use link::{Link, Wire};
pub use point::{Fault, Moment, Point, Step};
pub use trap::Ambush;
