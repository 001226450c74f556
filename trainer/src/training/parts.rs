//! The tiles of a run.

use crate::TrainError;
use crate::data::table::{Row, Split, Table, UNLABELLED};
use crate::data::tiles::{TileForm, Tiles};
use crate::machine::Machine;
use crate::run::config::RunConfig;

/// Tiles of the training and of the validation part, whose caches together
/// keep the machine's bound.
///
/// # Errors
/// When the table is not the one with which the run began, a part is empty or
/// a label is not among the run's classes.
pub fn parts(config: &RunConfig, machine: Machine) -> Result<(Tiles, Tiles), TrainError> {
    chosen(config, machine.cache_bytes, |rows| rows)
}

/// As [`parts`], with those rows of the training part that `choose` leaves and
/// at most `cache_bytes` of tiles in memory.
///
/// # Errors
/// As [`parts`].
pub fn chosen(
    config: &RunConfig,
    cache_bytes: usize,
    choose: impl FnOnce(Vec<Row>) -> Vec<Row>,
) -> Result<(Tiles, Tiles), TrainError> {
    let mut table = Table::read(&config.table)?;
    config.network.relabel(&mut table);
    if table.sha256 != config.table_sha256 {
        return Err(TrainError::FileChanged {
            path: config.table.clone(),
            got: table.sha256,
            expected: config.table_sha256.clone(),
        });
    }
    let form = TileForm::of(&config.network, config.colour);
    let train = choose(table.part(Split::Train)?);
    let mut val = table.part(Split::Val)?;
    // A classifier is judged by tiles with a label.
    let has_class = |label: &str| config.classes.iter().any(|class| class == label);
    val.retain(|row| row.label != UNLABELLED || has_class(UNLABELLED));
    let all = train.len() + val.len();
    let share = |part: usize| (cache_bytes as f64 * part as f64 / all as f64) as usize;
    let tiles = |rows: &[_]| {
        let (classes, root) = (&config.classes, &config.data_root);
        Tiles::new(rows, classes, root, form, share(rows.len()), &config.table)
    };
    let train = tiles(&train)?;
    let train = match config.method.crops() {
        true => train.stored(),
        false => train,
    };
    Ok((train, tiles(&val)?))
}
