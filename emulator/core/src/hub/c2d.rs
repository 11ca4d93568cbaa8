//! Messages from the cloud to a device: what one is, the queue it waits in, and what its sender
//! learns of its end (behaviour G.6).

pub mod feedback;

pub mod message;

pub mod queue;
