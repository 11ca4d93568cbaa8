//! A fleet of virtual X.509 devices that rolls its certificates and is judged.
