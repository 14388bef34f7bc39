//! The private servers start, answer, survive a crash where asked to, and leave nothing behind.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use xtask::services::{Postgres, Rabbit, ServiceFolder};

fn installed(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        println!("skipped: {program} is not installed; `cargo xtask test` installs it");
    }
    there
}

#[test]
fn a_private_postgresql_answers_and_leaves_nothing_behind() {
    if !installed("/usr/lib/postgresql") {
        return;
    }
    let folder = ServiceFolder::new().unwrap();
    let server = Postgres::start(&folder).unwrap();
    let answer = Command::new("psql").args([&server.url(), "-Atc", "show fsync"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "off\n");

    let path = folder.path().to_owned();
    drop(folder);
    assert!(!path.exists());
    assert!(!Command::new("psql").args([&server.url(), "-Atc", "select 1"]).output().unwrap().status.success());
}

#[test]
fn a_private_broker_answers_comes_back_after_a_crash_and_leaves_nothing_behind() {
    if !installed("/usr/lib/rabbitmq/bin/rabbitmq-server") {
        return;
    }
    let folder = ServiceFolder::new().unwrap();
    let mut broker = Rabbit::start(&folder).unwrap();
    let uri = broker.uri();
    assert!(greets(&uri));
    broker.crash(&folder).unwrap();
    assert!(!greets(&uri));
    broker.serve(&folder).unwrap();
    assert_eq!(broker.uri(), uri);
    assert!(greets(&uri));

    let path = folder.path().to_owned();
    drop(folder);
    assert!(!path.exists());
    assert!(!greets(&uri));
}

/// Whether the broker at the URI answers an AMQP 0-9-1 protocol header with a method frame.
fn greets(uri: &str) -> bool {
    let address = uri.split('@').nth(1).unwrap().split('/').next().unwrap();
    let mut first = [0u8; 1];
    TcpStream::connect(address).is_ok_and(|mut stream| {
        stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok() && stream.read_exact(&mut first).is_ok() && first == [1]
    })
}
