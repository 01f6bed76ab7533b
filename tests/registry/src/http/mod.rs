//! Just enough HTTP/1.1: requests are read with bounds and without mercy, responses are plain data
//! that faults can bend before they are written.

mod body;
mod request;
mod response;
pub(crate) mod uri;

pub(crate) use body::{BodyReader, BodyState};
pub use request::Request;
pub(crate) use request::{Framing, HEAD_MAX, Head};
pub use response::Response;
