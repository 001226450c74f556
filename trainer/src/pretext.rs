//! Learning from tiles without their labels.
//!
//! * `backbone`: the network that it is for, and what that begins with.
//! * [`dino`]: a student learns to predict a teacher that follows it.
//! * [`masking`]: which patches a masked autoencoder sees.
//! * [`mae`]: the masked autoencoder.

pub(crate) mod backbone;
pub mod dino;
pub mod mae;
pub mod masking;
