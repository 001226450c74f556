//! Studies of small runs: what is finished stays so, what was killed goes on, and what
//! fails stops nothing else.
#![allow(clippy::unwrap_used)]

mod program;
mod tiles;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use program::{complaint, json, text};
use serde_json::Value;

const CLASSES: [(&str, usize); 3] = [("no_defect", 20), ("cracks", 14), ("overfill", 14)];

/// Small networks for few epochs.
const SETTINGS: &str = r#"
fractions = [0.5, 1.0]
seeds = 2
network = ["--width", "16", "--depth", "1", "--heads", "2", "--image-size", "32", "--patch", "8"]
probe = ["--epochs", "3"]
finetune = ["--epochs", "3", "--batch-size", "8"]
[[start]]
name = "random"
protocols = ["finetune"]
[[start]]
name = "mae"
pretrain = ["mae", "--epochs", "2", "--decoder-width", "16", "--decoder-depth", "1", "--decoder-heads", "2"]
protocols = ["probe"]
"#;

fn data() -> tempfile::TempDir {
    let data = tiles::folder(&CLASSES, 32);
    tiles::split(data.path());
    fs::write(data.path().join("settings.toml"), SETTINGS).unwrap();
    data
}

/// Words that begin the study, or go on with it.
fn labels(data: &Path) -> Vec<String> {
    let file = |name: &str| text(&data.join(name)).to_owned();
    let words = [
        "study",
        "labels",
        &file("split.csv"),
        "--settings",
        &file("settings.toml"),
    ];
    let words = words.iter().map(|&word| word.to_owned());
    words.chain(["--out".to_owned(), file("study")]).collect()
}

fn study(data: &Path) -> Value {
    let words = labels(data);
    json(
        &words.iter().map(String::as_str).collect::<Vec<_>>(),
        "--workers 2",
    )
}

/// When each run was finished.
fn finished(study: &Path) -> Vec<(String, std::time::SystemTime)> {
    let entries = fs::read_dir(study.join("finished"))
        .unwrap()
        .map(Result::unwrap);
    let mut finished: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().modified().unwrap())
        })
        .collect();
    finished.sort();
    finished
}

#[test]
fn a_study_that_was_killed_goes_on_and_repeats_nothing() {
    let data = data();
    let folder = data.path().join("study");
    let mut killed = Command::new(env!("CARGO_BIN_EXE_millsight-train"))
        .args(labels(data.path()))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !folder.join("finished").exists() || finished(&folder).len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120));
        sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = finished(&folder);
    let said = study(data.path());
    assert_eq!(
        (&said["runs"], &said["finished"]),
        (&9.into(), &9.into()),
        "{said}"
    );
    let after = finished(&folder);
    assert_eq!(after.len(), 9);
    for run in &before {
        assert!(after.contains(run), "{run:?} was done again");
    }
    let rows = said["labels"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let mean = row["balanced_accuracy"]["mean"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&mean), "{row}");
        assert_eq!(row["seeds"].as_array().unwrap().len(), 2, "{row}");
    }
    let table = fs::read_to_string(folder.join("labels.csv")).unwrap();
    assert_eq!(table.lines().count(), 5, "{table}");

    // Two of its runs side by side.
    let run = |seed: u8| folder.join(format!("runs/random-finetune-1-seed{seed}"));
    let differ = data.path().join("differ.csv");
    let runs = [run(0), run(1)];
    let words = ["study", "compare", text(&runs[0]), text(&runs[1])];
    let compared = json(&words, &format!("--disagreements {}", text(&differ)));
    let pair = &compared["comparison"]["pairs"][0];
    let alone = ["first_alone", "second_alone"].map(|key| pair[key].as_u64().unwrap());
    let written = fs::read_to_string(&differ).unwrap().lines().count() as u64 - 1;
    assert_eq!(compared["disagreements"], written, "{compared}");
    assert!(alone[0] + alone[1] <= written, "{compared}");

    // A run that somebody deletes is done again, and no other.
    fs::remove_dir_all(folder.join("runs/random-finetune-0.5-seed1")).unwrap();
    let again = study(data.path());
    assert_eq!(
        again["labels"], said["labels"],
        "the same runs give the same figures"
    );
    let changed = finished(&folder)
        .iter()
        .filter(|run| !after.contains(run))
        .count();
    assert_eq!(changed, 1);
    // With other settings it is another study.
    let settings = data.path().join("settings.toml");
    fs::write(&settings, SETTINGS.replace("seeds = 2", "seeds = 3")).unwrap();
    let words = labels(data.path());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = complaint(&words, "");
    assert!(told.contains("holds another study"), "{told}");
    // A queue that is broken is said to be, and nothing is lost.
    fs::write(folder.join("study.json"), "{\"question\"").unwrap();
    let told = complaint(&["study", "resume", text(&folder)], "");
    assert!(
        told.contains("study.json") && told.contains("put back"),
        "{told}"
    );
    assert_eq!(finished(&folder).len(), 9);
}

#[test]
fn a_run_that_fails_stops_no_other() {
    let data = data();
    let folder = data.path().join("study");
    let failing = SETTINGS
        .replace("seeds = 2", "seeds = 1")
        .replace("\"2\", \"--decoder-width\"", "\"0\", \"--decoder-width\"");
    let diverging = "\n[[few]]\nup_to = 0.5\noptions = [\"--learning-rate\", \"1e30\"]\n";
    let settings = data.path().join("settings.toml");
    let (options, starts) = failing.split_at(failing.find("[[start]]").unwrap());
    fs::write(&settings, format!("{options}{diverging}{starts}")).unwrap();
    let words = labels(data.path());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = complaint(&words, "--workers 2");
    // The pretraining is refused, what needs it is left out, and one run diverges.
    assert!(
        told.contains("4 of 5 runs are not finished, 2 of which have failed"),
        "{told}"
    );
    for part in [
        "mae: FAILED",
        "--epochs",
        "left out, it needs `mae`",
        "study resume",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let reason = fs::read_to_string(folder.join("failed/random-finetune-0.5-seed0.txt")).unwrap();
    assert!(reason.contains("became NaN"), "{reason}");
    assert_eq!(finished(&folder).len(), 1);

    let told = complaint(&["study", "resume", text(&folder), "--skip", "nobody"], "");
    assert!(told.contains("no run of this name"), "{told}");
    let told = complaint(&["study", "resume", text(data.path())], "");
    assert!(told.contains("no study.json"), "{told}");
    for (wrong, part) in [
        ("fractions = [0]", "missing field `seeds`"),
        ("fractions = 7", "settings.toml"),
    ] {
        fs::write(&settings, wrong).unwrap();
        let told = complaint(&words, "");
        assert!(told.contains(part), "{told}");
    }
}
