//! A run is a folder.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | the complete [`config::RunConfig`] |
//! | `log.jsonl` | one [`log::EpochRecord`] for each epoch |
//! | `metrics.csv` | the same figures as a table |
//! | `events.out.tfevents.*` | figures of steps and epochs for TensorBoard |
//! | `last.safetensors` | the checkpoint from which the run goes on |
//! | `best.safetensors` | a classifier's weights of the best epoch, with timm's names (yolo-cls-n: Ultralytics') |
//! | `backbone.safetensors` | a pretrained backbone after the last epoch, with timm's names |
//! | `pictures/epoch-NNNN.png` | tiles, what a masked autoencoder sees of them, and what it fills in |
//! | `predictions.csv`, `misclassified.csv`, `misclassified.png` | what a classifier's best weights make of the validation part |
//! | `evaluation-PART.json` | the [`Report`](crate::evaluate::report::Report) of `evaluate`, of the validation part also of `train` |
//! | `operating-point.json` | the [`OperatingReport`](crate::evaluate::operating_point::OperatingReport) of `evaluate` |
//! | `features.safetensors` | what a frozen network gives, computed once |
//! | `run.lock` | held by the program that trains |

pub mod config;
pub mod folder;
pub mod log;
pub mod tensorboard;
