//! DINO (Caron et al., "Emerging Properties in Self-Supervised Vision
//! Transformers", 2021; facebookresearch/dino): a student learns from several
//! crops of a tile to predict what a teacher sees in its large crops, and the
//! teacher is an average of the student's past.
//!
//! * [`config`]: settings and what changes during a run.
//! * [`distillation`]: student and teacher, and one step of learning.
//! * [`loss`]: what the student is told.

pub mod config;
pub mod distillation;
pub mod loss;
