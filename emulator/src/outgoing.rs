//! Calls that the emulator makes itself: to webhooks of custom allocation, and to nobody else.

mod dial;
mod post;

pub use dial::{BoxedStream, Dial, Dialing, Sockets, Stream};
pub(crate) use post::Poster;
