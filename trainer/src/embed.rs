//! Features in few dimensions, to look at.
//!
//! * [`pca`]: principal components.

pub mod pca;
