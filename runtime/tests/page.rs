//! The page on which a record is reviewed, beside a run and by itself.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
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
    let page = next("page at http://");
    let address = page
        .trim_start_matches("page at http://")
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
    assert_eq!(
        (code, &accounts["accounts"][0]["name"]),
        (0, &"engineer".into())
    );
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

/// Asks with a token; gives the status and the body, or nothing where the server is gone.
fn ask(address: &str, token: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let method = if body.is_empty() { "GET" } else { "POST" };
    write!(
        stream,
        "{method} /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n")?.1;
    Some((status, serde_json::from_str(body).ok()?))
}

/// Serves a record by itself; gives the program and where its page is.
fn review(record: &Path, more: &[&str]) -> (Child, String) {
    let mut child = millsight()
        .args(["--json", "review", "--record", text(record)])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut said).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let page = said["page"].as_str().unwrap().trim_end_matches('/');
    (child, page.to_owned())
}

/// The same without encryption, to this computer alone; gives its address.
fn review_here(record: &Path) -> (Child, String) {
    let (child, page) = review(record, &["--listen", "127.0.0.1:0", "--again", "0"]);
    let address = page.strip_prefix("http://").unwrap().to_owned();
    (child, address)
}

#[test]
fn a_server_that_is_killed_has_kept_what_it_has_answered() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let (code, ..) = run(&["--json", "demo", "--metres", "3", "--out", text(&record)]);
    assert_eq!(code, 0);
    let make = ["--json", "accounts", "token", "test", "--role", "operator"];
    let (_, made, _) = run(&[&make[..], &["--record", text(&record)]].concat());
    let token = made["token"].as_str().unwrap().to_owned();
    let decision = |tile: &Value| {
        json!({"key": format!("of {tile}"), "tile": tile, "class": "cracks", "took_ms": 9})
            .to_string()
    };

    let (mut server, address) = review_here(&record);
    // What was recorded is taken over within a second.
    let tiles: Vec<Value> = loop {
        let (_, page) = ask(&address, &token, "/queue?limit=100", "").unwrap();
        let tiles = page["tiles"].as_array().unwrap();
        if tiles.len() >= 8 {
            break tiles.iter().map(|tile| tile["id"].clone()).collect();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let (some, come) = std::sync::mpsc::channel::<()>();
    let killer = {
        let pid = server.id().to_string();
        std::thread::spawn(move || {
            let _ = come.recv();
            Command::new("kill").args(["-KILL", &pid]).status()
        })
    };
    // Until it is killed, again and again: a repeated key is one decision.
    let mut answered = std::collections::BTreeSet::new();
    'alive: loop {
        for tile in &tiles {
            match ask(&address, &token, "/decisions", &decision(tile)) {
                Some((200, _)) => answered.insert(tile.as_i64().unwrap()),
                Some(other) => panic!("{other:?}"),
                None => break 'alive,
            };
            if answered.len() == 3 {
                let _ = some.send(());
            }
        }
    }
    killer.join().unwrap().unwrap();
    server.wait().unwrap();
    assert!(!answered.is_empty());

    let (server, address) = review_here(&record);
    let (_, kept) = ask(&address, &token, "/decisions?limit=100", "").unwrap();
    let kept: Vec<i64> = kept
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["tile"].as_i64().unwrap())
        .collect();
    let distinct: std::collections::BTreeSet<i64> = kept.iter().copied().collect();
    assert_eq!(kept.len(), distinct.len(), "none is there twice");
    assert!(answered.is_subset(&distinct), "{answered:?} {distinct:?}");
    // What was not answered is asked again, and is then there once.
    for tile in &tiles {
        let (status, _) = ask(&address, &token, "/decisions", &decision(tile)).unwrap();
        assert_eq!(status, 200);
    }
    let (_, all) = ask(&address, &token, "/decisions?limit=100", "").unwrap();
    assert_eq!(all.as_array().unwrap().len(), tiles.len());
    interrupt(&server);
    assert!(server.wait_with_output().unwrap().status.success());
}

#[test]
fn what_is_encrypted_is_served_to_other_computers() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let (code, ..) = run(&["--json", "demo", "--metres", "0.2", "--out", text(&record)]);
    assert_eq!(code, 0);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).unwrap();
    let [certificate, key] = ["server.pem", "server.key"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let pair = ["--certificate", text(&certificate), "--key", text(&key)];
    let serve = [&["--listen", "0.0.0.0:0"][..], &pair].concat();
    let (mut child, page) = review(&record, &serve);
    let port = page.strip_prefix("https://0.0.0.0:").unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut session = rustls::ClientConnection::new(std::sync::Arc::new(client), name).unwrap();
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let mut encrypted = rustls::Stream::new(&mut session, &mut stream);
    write!(
        encrypted,
        "GET /login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    // Without a farewell of its own the end is an error after the answer.
    let _ = encrypted.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    interrupt(&child);
    child.wait().unwrap();

    // A key of another certificate, and what is none.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let arguments = ["review", "--record", text(&record), "--listen", "0.0.0.0:0"];
    support::fails_with(
        &[&arguments[..], &pair].concat(),
        &["server.pem", "server.key"],
    );
    std::fs::write(&key, "nonsense").unwrap();
    support::fails_with(&[&arguments[..], &pair].concat(), &["the key", "PEM"]);
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
