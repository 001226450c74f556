//! Offline training of Millsight's classifiers: from folders of labelled
//! tiles to a model file for the line.
//!
//! The walk: [`data`] turns a folder into tables and batches, [`model`] is the
//! network, [`weights`] brings weights from elsewhere, [`pretext`] trains it
//! without labels and [`downstream`] with them, with [`optimise`] in the loop
//! of [`training`], [`evaluate`] says how good it is, [`model_export`] writes
//! the file that the runtime loads, [`embed`] shows what the network sees. A
//! run is a folder: [`run`]; a [`study`] is many of them.

pub mod chart;
mod cpu;
pub mod data;
pub mod device;
pub mod downstream;
pub mod embed;
mod error;
pub mod evaluate;
pub mod machine;
pub mod model;
pub mod model_export;
pub mod optimise;
pub mod pretext;
pub mod provenance;
pub mod run;
pub mod study;
pub mod trained;
pub mod training;
pub mod weights;

pub use error::TrainError;
