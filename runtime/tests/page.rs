//! The page on which a record is reviewed, beside a run and by itself.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use support::{adds_up, millsight, run, text};

/// What is answered to a request that has no session.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Ends a program in order.
fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status();
    assert!(killed.unwrap().success());
}

#[test]
fn a_run_serves_metrics_to_all_and_its_record_to_who_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let station = folder.path().join("station.toml");
    let demo = millsight()
        .args(["config", "show", "demo"])
        .output()
        .unwrap();
    let demo = String::from_utf8(demo.stdout).unwrap();
    let demo = demo.replace("metres = 19.6608", "metres = 2000");
    std::fs::write(&station, format!("{demo}\n[web]\nlisten = '127.0.0.1:0'\n")).unwrap();
    let record = folder.path().join("record");
    let mut child = millsight()
        .args(["--json", "run", "--station", text(&station)])
        .args(["--out", text(&record)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = |beginning: &str| {
        let line = said.find(|line| line.as_ref().unwrap().starts_with(beginning));
        line.unwrap().unwrap()
    };
    let page = next("review at http://");
    let address = page
        .trim_start_matches("review at http://")
        .trim_end_matches('/')
        .to_owned();
    assert!(next("log in as engineer with the password ").ends_with("for the first time only"));
    // What follows is not read, but must not be held up either.
    let rest = std::thread::spawn(move || said.count());
    assert!(get(&address, "/metrics").contains("millsight_lines_total"));
    assert!(get(&address, "/login").starts_with("HTTP/1.1 200"));
    for path in ["/api/v1/queue", "/api/v1/tiles/1/image"] {
        assert!(get(&address, path).starts_with("HTTP/1.1 401"), "{path}");
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    rest.join().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let summary = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    adds_up(&summary);
    assert!(TcpStream::connect(&address).is_err());

    // The account that the run made is there; the page goes on without it.
    let (code, accounts, _) = run(&["--json", "accounts", "list", "--record", text(&record)]);
    assert_eq!((code, &accounts[0]["name"]), (0, &"engineer".into()));
    let (code, labels, said) = run(&[
        "--json",
        "labels",
        "export",
        "--record",
        text(&record),
        "--out",
        text(&folder.path().join("labels")),
    ]);
    assert_eq!((code, &labels["tiles"]), (0, &0.into()), "{said}");
}

#[test]
fn a_page_that_could_be_reached_from_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    support::fails_with(
        &[
            "review",
            "--record",
            text(folder.path()),
            "--listen",
            "0.0.0.0:0",
        ],
        &["0.0.0.0:0", "unencrypted", "127.0.0.1"],
    );
    support::fails_with(
        &["review", "--record", text(folder.path())],
        &["holds no record"],
    );
    let nowhere = folder.path().join("nowhere");
    support::fails_with(
        &["accounts", "list", "--record", text(&nowhere)],
        &["no folder", "nowhere"],
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
