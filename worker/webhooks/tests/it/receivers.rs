//! The receivers of the README, taken from its text and run against deliveries that the sender made.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use aws_lc_rs::rsa::{OaepPrivateDecryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proofmill_contract::Clock as _;
use proofmill_contract::ids::signing_secret;
use proofmill_store::DeliveryStatus;
use proofmill_webhooks::{SenderConfig, Timeouts};
use serde_json::{Value, json};

use crate::snippet;
use crate::world::{Receiver, Request, World};

const README: &str = include_str!("../../README.md");

/// The code of the first fence of a language.
fn fence(language: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// A delivery made while the secret was being changed, and what its receiver knows.
struct Case {
    request: Request,
    new_secret: String,
    old_secret: String,
    other_secret: String,
    private_key_pem: String,
    event_id: String,
}

impl Case {
    async fn make() -> Self {
        let (world, receiver) = (World::new().await, Receiver::start().await);
        let endpoint = world.endpoint(&receiver.url("/in")).await;
        let new_secret = signing_secret(&mut rand::rng());
        let (sealed, now) = (world.seal(&endpoint.id, &new_secret), world.clock.now());
        assert!(world.store.rotate_signing_secret(&world.organisation, &endpoint.id, sealed, now).await.unwrap());
        world.event(&[&endpoint]).await;
        let running = world.start(SenderConfig::default(), Timeouts::default());
        let delivered =
            world.until_all(&endpoint, "delivered", |delivery| delivery.status == DeliveryStatus::Delivered).await;
        running.stop().await;
        Self {
            request: receiver.requests("/in").remove(0),
            new_secret,
            old_secret: endpoint.secret,
            other_secret: signing_secret(&mut rand::rng()),
            private_key_pem: endpoint.key.to_pem().to_string(),
            event_id: delivered[0].event_id.to_string(),
        }
    }

    /// Lower-case names, as servers give them.
    fn headers(&self) -> HashMap<String, String> {
        self.request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
    }

    /// What every receiver is asked: each case has headers, a body, a secret, and what is expected of it.
    fn questions(&self) -> Vec<Question> {
        let headers = self.headers();
        let with = |name: &str, value: &str| {
            let mut headers = headers.clone();
            headers.insert(name.to_owned(), value.to_owned());
            headers
        };
        let mut changed = self.request.body.clone();
        *changed.last_mut().unwrap() ^= 1;
        let old = headers["webhook-timestamp"].parse::<i64>().unwrap() - 301;
        let signature = &headers["x-kayle-signature"];
        let stale = signature.replacen(&format!("t={}", &headers["webhook-timestamp"]), &format!("t={old}"), 1);
        let ask = |headers: HashMap<String, String>, body: &[u8], secret: &str, expected| Question {
            headers,
            body: body.to_vec(),
            secret: secret.to_owned(),
            expected,
        };
        let body = &self.request.body;
        let new = self.new_secret.as_str();
        vec![
            ask(headers.clone(), body, new, Expected::Event),
            ask(headers.clone(), body, new, Expected::Repetition),
            // Not in vain: whoever still has the old secret accepts it as well.
            ask(headers.clone(), body, &self.old_secret, Expected::Repetition),
            ask(headers.clone(), body, &self.other_secret, Expected::Rejected),
            ask(headers.clone(), &changed, new, Expected::Rejected),
            ask(with("x-kayle-signature", &stale), body, new, Expected::Rejected),
            ask(with("x-kayle-signature", "t=1,t=2,v1=00"), body, new, Expected::Rejected),
            ask(with("webhook-timestamp", &old.to_string()), body, new, Expected::Rejected),
            ask(with("webhook-id", "evt_other"), body, new, Expected::Rejected),
            ask(with("webhook-signature", "v1,AAAA v2,BBBB"), body, new, Expected::Rejected),
        ]
    }

    /// The answer that a program prints, one word a question; the event's id for an event.
    fn check(&self, answers: &[String]) {
        let questions = self.questions();
        assert_eq!(answers.len(), questions.len(), "{answers:?}");
        for (number, (question, answer)) in questions.iter().zip(answers).enumerate() {
            let expected = match question.expected {
                Expected::Event => self.event_id.as_str(),
                Expected::Repetition => "repetition",
                Expected::Rejected => "rejected",
            };
            assert_eq!(answer, expected, "question {number}");
        }
    }

    fn as_json(&self) -> Value {
        let question = |question: &Question| json!({ "headers": question.headers, "body": STANDARD.encode(&question.body), "secret": question.secret });
        json!({ "pem": self.private_key_pem, "questions": self.questions().iter().map(question).collect::<Vec<_>>() })
    }
}

struct Question {
    headers: HashMap<String, String>,
    body: Vec<u8>,
    secret: String,
    expected: Expected,
}

#[derive(Clone, Copy)]
enum Expected {
    Event,
    Repetition,
    Rejected,
}

#[tokio::test]
async fn the_readmes_rust_receiver_takes_our_webhooks_and_nothing_else() {
    assert_eq!(include_str!("snippet.rs"), fence("rust"), "tests/it/snippet.rs is the README's text");
    let case = Case::make().await;
    let der = STANDARD
        .decode(case.private_key_pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>().as_bytes());
    let key = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(&der.unwrap()).unwrap()).unwrap();
    let mut seen = HashSet::new();
    let answers: Vec<String> = case
        .questions()
        .iter()
        .map(|question| match snippet::receive(&question.headers, &question.body, &question.secret, &key, &mut seen) {
            Ok(Some(event)) => event["metadata"]["event_id"].as_str().unwrap().to_owned(),
            Ok(None) => "repetition".to_owned(),
            Err(_) => "rejected".to_owned(),
        })
        .collect();
    case.check(&answers);
}

#[tokio::test]
async fn the_readmes_python_receiver_takes_our_webhooks_and_nothing_else() {
    let ready = Command::new("python3").args(["-c", "import cryptography"]).stderr(Stdio::null()).status();
    if !ready.is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: there is no python3 with the package `cryptography` here to run the README's receiver with"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.py"), fence("python")).unwrap();
    let main = "
import base64, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from receiver import receive
case = json.load(sys.stdin)
key = load_pem_private_key(case['pem'].encode(), password=None)
seen = set()
for question in case['questions']:
    try:
        event = receive(question['headers'], base64.b64decode(question['body']), question['secret'], key, seen)
        print(event['metadata']['event_id'] if event else 'repetition')
    except Exception as error:
        print('rejected')
        print(repr(error), file=sys.stderr)
";
    std::fs::write(folder.path().join("main.py"), main).unwrap();
    let case = Case::make().await;
    case.check(&run(Command::new("python3").arg("main.py").current_dir(folder.path()), &case));
}

#[tokio::test]
async fn the_readmes_typescript_receiver_takes_our_webhooks_and_nothing_else() {
    if !Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no node here to run the README's receiver with");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("receiver.mjs"), without_types(fence("typescript"))).unwrap();
    let main = "
import { readFileSync } from 'node:fs';
import { createPrivateKey } from 'node:crypto';
import { receive } from './receiver.mjs';
const { pem, questions } = JSON.parse(readFileSync(0, 'utf8'));
const key = createPrivateKey(pem);
const seen = new Set();
for (const { headers, body, secret } of questions) {
  try {
    const event = receive(headers, Buffer.from(body, 'base64'), secret, key, seen);
    console.log(event ? event.metadata.event_id : 'repetition');
  } catch (error) {
    console.log('rejected');
    console.error(error.message);
  }
}
";
    std::fs::write(folder.path().join("main.mjs"), main).unwrap();
    let case = Case::make().await;
    case.check(&run(Command::new("node").arg("main.mjs").current_dir(folder.path()), &case));
}

/// Node before 22.6 does not pass over types. The README's are of few kinds, which are taken out by name; one of another kind
/// would be a syntax error here.
fn without_types(code: &str) -> String {
    let types = [": Record<string, string>", ": Set<string>", ": KeyObject", ": Buffer[]", ": Buffer", ": string"];
    types.iter().fold(code.replace(", type KeyObject", ""), |code, annotation| code.replace(annotation, ""))
}

/// A program's lines, given a case on its standard input.
fn run(command: &mut Command, case: &Case) -> Vec<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was there before");
    child.stdin.take().unwrap().write_all(case.as_json().to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    // Refused for what is wrong with them, and not because the receiver cannot be run.
    assert!(errors.contains("timestamp") && errors.contains("signature"), "{errors}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
