//! What goes wrong around a run, through the program.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod tiles;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millsight_trainer::run::folder::RunFolder;
use millsight_trainer::run::log::Figures;
use millsight_trainer::training::checkpoint::{Checkpoint, Position};

/// Many short steps, each with a checkpoint; options with a value each.
const SMALL: &str = "--image-size 32 --patch 8 --width 32 --depth 2 --heads 2 --mlp-ratio 2 \
                     --batch-size 2 --epochs 3 --learning-rate 1e-3 --augment flips,brightness \
                     --seed 4 --checkpoint-steps 1";

/// The same of the convolutional network.
const CONVOLUTIONAL: &str = "--arch yolo-cls-n --image-size 32 --batch-size 16 --epochs 3 \
                             --augment flips --seed 4 --checkpoint-steps 1";

/// The same of MAE.
const MAE: &str = "--image-size 32 --patch 8 --width 32 --depth 2 --heads 2 --mlp-ratio 2 \
                   --decoder-width 16 --decoder-depth 1 --decoder-heads 2 --batch-size 8 \
                   --epochs 3 --augment flips --seed 4 --checkpoint-steps 1";

/// The same of DINO.
const DINO: &str = "--image-size 32 --patch 8 --width 32 --depth 2 --heads 2 --mlp-ratio 2 \
                    --local-crops 2 --local-size 16 --out-dim 64 --head-hidden 32 --batch-size 8 \
                    --epochs 3 --drop-path 0.1 --seed 4 --checkpoint-steps 1";

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millsight-train"));
    command.args(arguments);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn trained(table: &Path, run: &Path, options: &str) -> Command {
    let mut command = new_run("train", table, run, "");
    let small: Vec<&str> = SMALL.split_whitespace().collect();
    let changed = |option: &&[&str]| !options.split_whitespace().any(|other| other == option[0]);
    command.args(small.chunks(2).filter(changed).flatten());
    command.args(options.split_whitespace());
    command
}

fn new_run(words: &str, table: &Path, run: &Path, options: &str) -> Command {
    let mut command = program(&words.split_whitespace().collect::<Vec<_>>());
    command.args([text(table), "--out", text(run)]);
    command.args(options.split_whitespace());
    command
}

/// What a program that fails says; it must end with code 1.
fn complaint(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output
}

fn position(run: &Path) -> Option<Position> {
    // A checkpoint is replaced as a whole: at any moment it can be read.
    let checkpoint = Checkpoint::load(&run.join("last.safetensors")).unwrap();
    checkpoint.map(|checkpoint| checkpoint.position)
}

/// Begins a run and kills it in the middle of its second epoch.
fn killed(table: &Path, run: &Path) {
    kill(trained(table, run, ""), run);
}

fn kill(mut command: Command, run: &Path) {
    let mut child = command.spawn().unwrap();
    let middle = |position: &Position| position.epochs == 1 && position.steps >= 3;
    while !position(run).as_ref().is_some_and(middle) {
        assert!(child.try_wait().unwrap().is_none(), "the run has ended");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left = position(run).unwrap();
    assert!(left.epochs == 1 && left.steps > 0, "killed at {left:?}");
}

/// The figures of every epoch, without times.
fn figures(run: &Path) -> Vec<Figures> {
    let (run, _) = RunFolder::open(run).unwrap();
    let records = run.log().records().unwrap();
    records.into_iter().map(|record| record.figures).collect()
}

fn data() -> (tempfile::TempDir, PathBuf) {
    let data = tiles::folder(&[("no_defect", 60), ("cracks", 40), ("overfill", 40)], 32);
    tiles::split(data.path());
    let table = data.path().join("split.csv");
    (data, table)
}

#[test]
fn a_killed_run_goes_on_with_the_losses_of_one_that_was_not() {
    goes_on_after_a_kill("train", SMALL);
}

#[test]
fn a_killed_run_of_the_convolutional_network_goes_on_as_well() {
    goes_on_after_a_kill("train", CONVOLUTIONAL);
}

#[test]
fn killed_pretraining_goes_on_with_the_losses_of_one_that_was_not() {
    goes_on_after_a_kill("pretrain mae", MAE);
    goes_on_after_a_kill("pretrain dino", DINO);
}

/// `words` are those of the command.
fn goes_on_after_a_kill(words: &str, options: &str) {
    let (_data, table) = data();
    let out = tempfile::tempdir().unwrap();
    let (whole, stopped) = (out.path().join("whole"), out.path().join("stopped"));
    succeed(&mut new_run(words, &table, &whole, options));
    kill(new_run(words, &table, &stopped, options), &stopped);
    let verb = words.split_whitespace().next().unwrap();
    succeed(&mut program(&[
        verb,
        "--resume",
        text(&stopped),
        "--workers",
        "2",
    ]));
    assert_eq!(figures(&whole).len(), 3);
    assert_eq!(figures(&whole), figures(&stopped));
    let last = |run: &Path| std::fs::read(run.join("last.safetensors")).unwrap();
    assert_eq!(last(&whole), last(&stopped));
}

/// The system lets the program write no file beyond some 50 kB: what a full
/// disk does, at the same place.
#[cfg(unix)]
#[test]
fn a_full_disk_stops_the_run_and_leaves_the_checkpoint_before() {
    let (_data, table) = data();
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    let limited = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\""]);
        command.arg(env!("CARGO_BIN_EXE_millsight-train"));
        command.args(arguments);
        command
    };
    let first = out.path().join("first");
    let mut begin = vec!["train", text(&table), "--out", text(&first)];
    begin.extend(SMALL.split_whitespace());
    let said = complaint(&mut limited(&begin));
    assert!(said.contains("there is no checkpoint yet"), "{said}");
    assert!(!first.join("last.safetensors").exists());

    killed(&table, &run);
    let last = run.join("last.safetensors");
    let before = std::fs::read(&last).unwrap();
    let resume = ["train", "--resume", text(&run), "--checkpoint-steps", "1"];
    let said = complaint(&mut limited(&resume));
    assert!(
        said.contains("cannot write the weights") && said.contains("last.safetensors"),
        "{said}"
    );
    assert!(
        said.contains("the checkpoint before it is intact"),
        "{said}"
    );
    assert_eq!(std::fs::read(&last).unwrap(), before);
    let names = std::fs::read_dir(&run).unwrap();
    let partial = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".partial-")
    });
    assert_eq!(partial.count(), 0);
    succeed(&mut program(&resume));
    assert_eq!(figures(&run).len(), 3);
}

#[test]
fn damaged_and_foreign_checkpoints_are_never_loaded() {
    let (_data, table) = data();
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    killed(&table, &run);
    let last = run.join("last.safetensors");
    let good = std::fs::read(&last).unwrap();
    let resume = |bytes: &[u8]| {
        std::fs::write(&last, bytes).unwrap();
        let said = complaint(&mut program(&["train", "--resume", text(&run)]));
        assert!(said.contains("last.safetensors"), "{said}");
        assert_eq!(std::fs::read(&last).unwrap(), bytes);
        said
    };
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    for (what, bytes) in [
        ("cut in the middle", good[..good.len() / 2].to_vec()),
        ("cut in its header", good[..header / 2].to_vec()),
        ("empty", Vec::new()),
        ("a weight is flipped", flipped(8 + header + 4001)),
        ("the last byte is flipped", flipped(good.len() - 1)),
        ("the header is flipped", flipped(8 + 2)),
    ] {
        let said = resume(&bytes);
        assert!(said.contains("is damaged"), "{what}: {said}");
        assert!(
            said.contains("put a copy of it in its place"),
            "{what}: {said}"
        );
    }

    // A sound one, but of a network of another width.
    let other = out.path().join("other");
    succeed(&mut trained(&table, &other, "--epochs 1 --width 16"));
    let said = resume(&std::fs::read(other.join("last.safetensors")).unwrap());
    assert!(said.contains("does not fit the configuration"), "{said}");
    assert!(said.contains("[16, 3, 8, 8]"), "{said}");
    // As the weights to begin with it is refused before anything is trained.
    let init = format!("--init {}", text(&other.join("best.safetensors")));
    let said = complaint(&mut trained(&table, &out.path().join("begun"), &init));
    assert!(
        said.contains("other/best.safetensors") && said.contains("width 16 instead of 32"),
        "{said}"
    );
    // And the weights of a run are checked where they are used.
    let best = other.join("best.safetensors");
    let mut bytes = std::fs::read(&best).unwrap();
    *bytes.last_mut().unwrap() ^= 0x10;
    std::fs::write(&best, bytes).unwrap();
    let said = complaint(&mut program(&["evaluate", "--run", text(&other)]));
    assert!(said.contains("best.safetensors are damaged"), "{said}");

    std::fs::write(&last, &good).unwrap();
    succeed(&mut program(&["train", "--resume", text(&run)]));
}

#[test]
fn a_loss_that_is_no_number_names_the_step_and_the_last_good_checkpoint() {
    let (_data, table) = data();
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("none");
    let said = complaint(&mut trained(&table, &run, "--learning-rate 1e38"));
    assert!(
        said.contains("step 1 of epoch 1") || said.contains("step 2 of epoch 1"),
        "{said}"
    );
    assert!(said.contains("there is no checkpoint yet"), "{said}");
    // A step whose own loss was sound has left weights that are no numbers:
    // they are no checkpoint.
    assert_eq!(position(&run), None);

    let run = out.path().join("some");
    killed(&table, &run);
    let (last, config) = (run.join("last.safetensors"), run.join("config.json"));
    let before = std::fs::read(&last).unwrap();
    let wild = std::fs::read_to_string(&config).unwrap();
    let wild = wild.replace("\"learning_rate\": 0.001", "\"learning_rate\": 1e38");
    std::fs::write(&config, wild).unwrap();
    let said = complaint(&mut program(&["train", "--resume", text(&run)]));
    assert!(
        said.contains("of epoch 2; the last good checkpoint is"),
        "{said}"
    );
    assert!(said.contains("some/last.safetensors"), "{said}");
    assert_eq!(std::fs::read(&last).unwrap(), before);
}

#[test]
fn data_that_no_classifier_can_learn_from() {
    let out = tempfile::tempdir().unwrap();
    let data = tiles::folder(&[("no_defect", 1), ("cracks", 1), ("overfill", 1)], 32);
    let (index, split) = (data.path().join("index.csv"), data.path().join("split.csv"));
    let run = |name: &str| out.path().join(name);

    // One image of each class cannot be divided, and each step says so.
    succeed(&mut program(&["index", text(data.path())]));
    let divided = succeed(&mut program(&["split", text(&index)]));
    let said = String::from_utf8(divided.stderr).unwrap();
    assert!(said.contains("has no tile in the"), "{said}");
    let said = complaint(&mut trained(&split, &run("divided"), ""));
    assert!(
        said.contains("no tiles in its val part") && said.contains("label more tiles"),
        "{said}"
    );
    // In both parts they can be learnt.
    tiles::split_all_into_train_and_val(data.path());
    succeed(&mut trained(&split, &run("both"), "--epochs 1"));
    // A class that stands in the validation part alone cannot.
    let table = std::fs::read_to_string(&split).unwrap();
    let without = |keep: &dyn Fn(&str) -> bool| {
        let lines: Vec<&str> = table.lines().filter(|line| keep(line)).collect();
        std::fs::write(&split, lines.join("\n") + "\n").unwrap();
    };
    without(&|line| !(line.contains("overfill") && line.ends_with("train")));
    let said = complaint(&mut trained(&split, &run("empty"), ""));
    assert!(
        said.contains("no tile of the class \"overfill\" in its train part"),
        "{said}"
    );
    // One that is missing from the validation part is only said.
    without(&|line| !(line.contains("overfill") && line.ends_with("val")));
    let warned = succeed(&mut trained(&split, &run("unseen"), "--epochs 1"));
    let said = String::from_utf8(warned.stderr).unwrap();
    assert!(
        said.contains("the validation part has no tile of the class overfill"),
        "{said}"
    );
    // One class alone is none to tell apart.
    without(&|line| line.starts_with("path") || line.contains("cracks") || line.ends_with("val"));
    let said = complaint(&mut trained(&split, &run("single"), ""));
    assert!(said.contains("only the class \"cracks\""), "{said}");

    // What is no image is named, by the index and, if it came later, in training.
    std::fs::write(&split, &table).unwrap();
    std::fs::write(data.path().join("cracks/000.png"), "these are no pixels").unwrap();
    let said = complaint(&mut program(&["index", text(data.path())]));
    assert!(said.contains("cracks/000.png"), "{said}");
    let said = complaint(&mut trained(
        &split,
        &run("text"),
        "--normalisation imagenet",
    ));
    assert!(said.contains("cracks/000.png"), "{said}");
}

#[test]
fn options_that_contradict_one_another_are_refused_with_the_reason() {
    let (_data, table) = data();
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    for (options, reason) in [
        ("--protocol probe", "--augment has no effect when probing"),
        ("--final-learning-rate 1e-6", "needs --schedule cosine"),
        ("--probe-batch-norm", "is for --protocol probe"),
        (
            "--label-fraction 2",
            "--label-fraction must be above 0 and at most 1",
        ),
        ("--early-stopping 0", "--early-stopping must be above 0"),
        (
            "--layer-decay 0",
            "--layer-decay must be above 0 and at most 1",
        ),
    ] {
        let said = complaint(&mut trained(&table, &run, options));
        assert!(said.contains(reason), "{options}: {said}");
        assert!(!run.exists(), "{options}");
    }
}
