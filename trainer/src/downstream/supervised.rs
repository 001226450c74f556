//! The supervised loop over epochs.

use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use millsight_export::weights::NamedArrays;

use super::adamw::AdamW;
use super::checkpoint::{self, Position};
use super::loss;
use super::schedule::Schedule;
use super::step::{self, Workers};
use crate::TrainError;
use crate::data::DataError;
use crate::data::batches::{Batch, Pass, for_each};
use crate::data::order;
use crate::data::table::{Split, Table};
use crate::data::tiles::{TileForm, Tiles};
use crate::device::DeviceChoice;
use crate::evaluate::metrics::{Confusion, most_probable};
use crate::evaluate::predict::{self, Means};
use crate::model::vit::Vit;
use crate::model::{initial, parameters, pixels};
use crate::run_folder::{ClassWeighting, EpochRecord, RunConfig, RunFolder, ValidationRecord};
use crate::trained::Trained;
use crate::weights::initialise::{self, Adoption};

/// What a run is computed with. Workers and cache decide the time alone;
/// another device also rounds in other places.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Where the network is computed.
    pub device: DeviceChoice,
    /// Threads that compute and threads that decode.
    pub workers: usize,
    /// Memory for prepared tiles, in bytes.
    pub cache_bytes: usize,
}

impl Machine {
    /// All processors, and 2 GiB for prepared tiles.
    pub fn cpu() -> Self {
        Self {
            device: DeviceChoice::Cpu,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            cache_bytes: 2 << 30,
        }
    }

    /// Threads that compute shards; none where the device does it alone.
    pub(crate) fn compute(&self) -> Result<Workers, TrainError> {
        let count = if self.device.wants_shards() {
            self.workers.max(1)
        } else {
            0
        };
        Ok(Workers::new(count)?)
    }

    /// Threads that decode.
    pub(crate) fn loaders(&self) -> Result<rayon::ThreadPool, TrainError> {
        Ok(rayon::ThreadPoolBuilder::new()
            .num_threads(self.workers.max(1))
            .thread_name(|number| format!("loader-{number}"))
            .build()?)
    }
}

/// What happens during a run, for whoever shows it.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The network begins with the weights of a file.
    Initialised {
        /// The file.
        file: &'a Path,
        /// What fitted and what did not.
        adoption: &'a Adoption,
    },
    /// An epoch begins.
    Epoch {
        /// Counted from 1.
        epoch: usize,
        /// Tiles to come.
        tiles: usize,
    },
    /// A step of the optimiser is done.
    Step {
        /// Tiles in the batch.
        tiles: usize,
        /// Loss of the batch.
        loss: f64,
    },
    /// A batch of the validation part is done.
    Validated {
        /// Tiles in the batch.
        tiles: usize,
    },
    /// An epoch is complete and its checkpoint written.
    Complete {
        /// What the log says.
        record: &'a EpochRecord,
        /// Whether it is the best so far.
        best: bool,
    },
}

/// Trains from the first epoch to the last, or from the last checkpoint when
/// the folder has one, and says where the run stands at the end.
///
/// # Errors
/// When settings or data do not fit, a tile cannot be read, the loss is no
/// number any more, or a file cannot be written. The last checkpoint is then
/// intact.
pub fn train(
    run: &RunFolder,
    config: &RunConfig,
    machine: Machine,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Position, TrainError> {
    check(config)?;
    let _lock = run.lock()?;
    let device = machine.device.open()?;
    let (train, val) = data(config, machine)?;
    let mut state = State::new(run, config, machine, device, &train, &mut observe)?;
    let loaders = machine.loaders()?;
    for epoch in state.position.epochs..config.epochs {
        let begin = Instant::now();
        observe(Event::Epoch {
            epoch: epoch + 1,
            tiles: train.len(),
        });
        let pass = state.epoch(run, config, &train, &loaders, epoch, &mut observe)?;
        let images_per_second = train.len() as f64 / begin.elapsed().as_secs_f64();
        let val = state.validate(config, &val, &loaders, &mut observe)?;
        // The last step may have spoilt the weights that its own loss did not
        // show yet; they must not replace a good checkpoint.
        check_finite(val.loss, run, epoch, state.steps_per_epoch)?;
        let best = state.position.best_epoch == 0
            || val.balanced_accuracy > state.position.best_balanced_accuracy;
        if best {
            state.position.best_epoch = epoch + 1;
            state.position.best_balanced_accuracy = val.balanced_accuracy;
            Trained::save(&run.best(), config, parameters::read(&state.network)?)?;
        }
        state.position.epochs = epoch + 1;
        let record = EpochRecord {
            epoch: epoch + 1,
            steps: (epoch + 1) * state.steps_per_epoch,
            train_loss: pass.loss,
            learning_rate: pass.rate,
            gradient_norm: pass.norm,
            val,
            images_per_second,
            seconds: begin.elapsed().as_secs_f64(),
        };
        run.append_log(&record)?;
        checkpoint::save(
            &run.last(),
            &state.network,
            &state.optimiser,
            state.position,
        )?;
        observe(Event::Complete {
            record: &record,
            best,
        });
    }
    Ok(state.position)
}

fn check_finite(loss: f64, run: &RunFolder, epoch: usize, step: usize) -> Result<(), TrainError> {
    if loss.is_finite() {
        return Ok(());
    }
    Err(TrainError::NotFinite {
        loss,
        epoch: epoch + 1,
        step,
        checkpoint: Some(run.last()).filter(|path| path.exists()),
    })
}

fn check(config: &RunConfig) -> Result<(), TrainError> {
    let positive = |name, value: f64| {
        if value > 0.0 && value.is_finite() {
            Ok(())
        } else {
            Err(TrainError::Setting {
                name,
                range: "above 0",
                got: value.to_string(),
            })
        }
    };
    positive("--epochs", config.epochs as f64)?;
    positive("--batch-size", config.batch_size as f64)?;
    positive("--shard-size", config.shard_size as f64)?;
    positive("--learning-rate", config.learning_rate)?;
    if let Some(limit) = config.clip_gradient_norm {
        positive("--clip-gradient-norm", limit)?;
    }
    for (name, value) in [
        ("--weight-decay", config.optimiser.weight_decay),
        ("--warmup-epochs", config.warmup_epochs),
        ("--final-learning-rate", config.final_learning_rate),
    ] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(TrainError::Setting {
                name,
                range: "0 or above",
                got: value.to_string(),
            });
        }
    }
    Ok(())
}

fn data(config: &RunConfig, machine: Machine) -> Result<(Tiles, Tiles), TrainError> {
    let table = Table::read(&config.table)?;
    if table.sha256 != config.table_sha256 {
        return Err(TrainError::FileChanged {
            path: config.table.clone(),
            got: table.sha256,
            expected: config.table_sha256.clone(),
        });
    }
    let form = TileForm::of(&config.network, config.colour);
    let (train, val) = (table.part(Split::Train)?, table.part(Split::Val)?);
    let first = &train[0].label;
    if train.iter().all(|row| row.label == *first) {
        return Err(TrainError::Data(DataError::OneClass {
            path: config.table.clone(),
            class: first.clone(),
            split: Split::Train.name().into(),
        }));
    }
    // The bound holds for both parts together.
    let all = train.len() + val.len();
    let share = |part: usize| (machine.cache_bytes as f64 * part as f64 / all as f64) as usize;
    let tiles = |rows: &[_]| {
        let (classes, root) = (&config.classes, &config.data_root);
        Tiles::new(rows, classes, root, form, share(rows.len()), &config.table)
    };
    let parts = (tiles(&train)?, tiles(&val)?);
    let absent = config
        .classes
        .iter()
        .find(|class| train.iter().all(|row| row.label != **class));
    if let Some(class) = absent {
        return Err(TrainError::Data(DataError::ClassWithoutTiles {
            path: config.table.clone(),
            class: class.clone(),
            split: Split::Train.name().into(),
        }));
    }
    Ok(parts)
}

/// What changes from step to step.
struct State {
    device: Device,
    training_device: Device,
    workers: Workers,
    shard_size: usize,
    network: Vit,
    optimiser: AdamW,
    position: Position,
    schedule: Schedule,
    steps_per_epoch: usize,
    class_weights: Vec<f32>,
}

/// Means over the steps of an epoch.
struct PassRecord {
    loss: f64,
    rate: f64,
    norm: Option<f64>,
}

impl State {
    fn new(
        run: &RunFolder,
        config: &RunConfig,
        machine: Machine,
        device: Device,
        train: &Tiles,
        observe: &mut impl FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        let training_device = device.clone().autodiff();
        let saved = match run.last().exists() {
            true => Some(checkpoint::load(&run.last())?),
            false => None,
        };
        let weights: NamedArrays = match &saved {
            Some(saved) => saved.weights.clone(),
            None => {
                let mut weights = initial::vit(&config.network, config.layer_scale, config.seed)?;
                if let Some(file) = &config.initial_weights {
                    let given = file.read()?;
                    let adoption =
                        initialise::adopt(&mut weights, &config.network, &given, &file.path)?;
                    observe(Event::Initialised {
                        file: &file.path,
                        adoption: &adoption,
                    });
                }
                weights
            }
        };
        let network = Vit::from_weights(&config.network, &weights, &training_device)?;
        let mut optimiser = AdamW::new(config.optimiser, &network, &device);
        let mut position = Position::default();
        if let Some(saved) = &saved {
            saved.restore(&mut optimiser, &device)?;
            position = saved.position;
        }
        run.cut_log(position.epochs)?;
        let steps_per_epoch = train.len().div_ceil(config.batch_size);
        let class_weights = match config.class_weighting {
            ClassWeighting::Inverse => loss::inverse_frequency(&train.labels, config.classes.len()),
            ClassWeighting::None => vec![1.0; config.classes.len()],
        };
        Ok(Self {
            device,
            training_device,
            workers: machine.compute()?,
            shard_size: if machine.device.wants_shards() {
                config.shard_size
            } else {
                config.batch_size
            },
            network,
            optimiser,
            position,
            schedule: Schedule {
                base: config.learning_rate,
                last: config.final_learning_rate,
                warmup: (config.warmup_epochs * steps_per_epoch as f64).round() as usize,
                steps: config.epochs * steps_per_epoch,
            },
            steps_per_epoch,
            class_weights,
        })
    }

    fn epoch(
        &mut self,
        run: &RunFolder,
        config: &RunConfig,
        tiles: &Tiles,
        loaders: &rayon::ThreadPool,
        epoch: usize,
        observe: &mut impl FnMut(Event<'_>),
    ) -> Result<PassRecord, TrainError> {
        let order = if config.balanced_sampling {
            order::balanced(&tiles.labels, config.classes.len(), config.seed, epoch)
        } else {
            order::shuffled(tiles.len(), config.seed, epoch)
        };
        let pass = Pass {
            tiles,
            order: &order,
            batch_size: config.batch_size,
            augmentations: &config.augmentations,
            seed: config.seed,
            epoch,
        };
        let (mut losses, mut norms, mut rate, mut step) = (0.0, 0.0, 0.0, 0);
        for_each(pass, loaders, |batch| -> Result<(), TrainError> {
            rate = self.schedule.rate(epoch * self.steps_per_epoch + step);
            step += 1;
            let (loss, norm) = self.step(config, tiles.form, &batch, rate)?;
            check_finite(loss, run, epoch, step)?;
            if let Some(norm) = norm {
                check_finite(norm, run, epoch, step)?;
            }
            losses += loss;
            norms += norm.unwrap_or_default();
            observe(Event::Step {
                tiles: batch.labels.len(),
                loss,
            });
            Ok(())
        })?;
        Ok(PassRecord {
            loss: losses / step as f64,
            rate,
            norm: config.clip_gradient_norm.map(|_| norms / step as f64),
        })
    }

    fn step(
        &mut self,
        config: &RunConfig,
        form: TileForm,
        batch: &Batch,
        rate: f64,
    ) -> Result<(f64, Option<f64>), TrainError> {
        let shares = loss::shares(&batch.labels, &self.class_weights);
        let size = self.shard_size;
        let levels: Vec<&[u8]> = batch.levels.chunks(size * form.bytes()).collect();
        let labels: Vec<&[usize]> = batch.labels.chunks(size).collect();
        let shares: Vec<&[f32]> = shares.chunks(size).collect();
        let shard_loss = |network: &Vit, shard: usize| {
            let images = pixels::normalised(
                levels[shard].to_vec(),
                form.colour.channels(),
                form.size,
                &config.preprocessing,
                &self.training_device,
            );
            let logits = network.forward(images);
            loss::cross_entropy(logits, labels[shard], shares[shard], &self.training_device)
        };
        let (loss, mut gradients) =
            step::gradients(&self.network, &self.workers, levels.len(), shard_loss)?;
        let norm = match config.clip_gradient_norm {
            Some(limit) => Some(step::clip(&mut gradients, limit, &self.device)?),
            None => None,
        };
        self.network = self.optimiser.step(self.network.clone(), gradients, rate);
        Ok((loss, norm))
    }

    fn validate(
        &self,
        config: &RunConfig,
        tiles: &Tiles,
        loaders: &rayon::ThreadPool,
        observe: &mut impl FnMut(Event<'_>),
    ) -> Result<ValidationRecord, TrainError> {
        let network = self.network.valid();
        let means = Means {
            device: &self.device,
            workers: &self.workers,
            loaders,
            shard_size: self.shard_size,
            batch_size: config.batch_size,
        };
        let all: Vec<usize> = (0..tiles.len()).collect();
        let seen = |tiles| observe(Event::Validated { tiles });
        let logits = predict::logits(&network, tiles, &all, &config.preprocessing, means, seen)?;
        let classes = config.classes.len();
        let predicted = most_probable(&logits, classes);
        let confusion = Confusion::of(classes, &tiles.labels, &predicted);
        Ok(ValidationRecord {
            loss: loss::of_logits(&logits, &tiles.labels, &self.class_weights),
            accuracy: confusion.accuracy(),
            balanced_accuracy: confusion.balanced_accuracy(),
            macro_f1: confusion.macro_f1(),
        })
    }
}
