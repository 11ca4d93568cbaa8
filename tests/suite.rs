//! Holds no code: this package exists for its `[[test]]` and `[[bench]]` targets.
