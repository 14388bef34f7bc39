//! An integrator's view of the API: requests, the one response shape, evidence as multipart.

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::wait;

/// A client with or without a key.
#[derive(Clone)]
pub struct ApiClient {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// Evidence of one attempt, as it is submitted.
#[derive(Clone, Default)]
pub struct Submission {
    /// Parts by name, selfies aside, in the order to send.
    pub parts: Vec<(&'static str, Vec<u8>)>,
    /// Selfie frames.
    pub selfies: Vec<Vec<u8>>,
    /// What the holder agreed to share.
    pub selected: Vec<String>,
    /// The reader's signed statement.
    pub reader_attestation: Option<String>,
}

/// An opened attempt.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its id.
    pub attempt_id: String,
    /// The token for the evidence.
    pub write_token: String,
    /// The challenge for active authentication.
    pub challenge: [u8; 8],
}

impl ApiClient {
    /// A client of the API at `http://address`.
    pub fn new(address: &str, key: Option<&str>) -> Self {
        Self { http: reqwest::Client::new(), base: format!("http://{address}"), key: key.map(str::to_owned) }
    }

    /// The same with another key, or none.
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST` with an idempotency key.
    pub async fn post_once(&self, path: &str, key: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// Submits lines of evidence in one request; an answer for each.
    pub async fn post_lines(&self, lines: String) -> Result<Vec<Value>> {
        let request = self.request(Method::POST, "/v1/attempts/batch").header("content-type", "application/x-ndjson");
        let response = request.body(lines).send().await.context("the API does not answer")?;
        let (status, text) = (response.status(), response.text().await.context("the answers broke off")?);
        if status != 200 {
            bail!("the API answered {status}: {text}");
        }
        text.lines().map(|line| serde_json::from_str(line).context("an answer is no JSON")).collect()
    }

    /// `PUT` of evidence under the API key.
    pub async fn put_evidence(&self, attempt: &str, submission: &Submission) -> Result<Answer> {
        let request = self.request(Method::PUT, &format!("/v1/attempts/{attempt}/evidence"));
        self.send(request.multipart(submission.form()?)).await
    }

    /// `PUT` of evidence under an attempt's write token, as a phone does it.
    pub async fn put_evidence_with_token(&self, attempt: &str, token: &str, submission: &Submission) -> Result<Answer> {
        let request = self.http.put(format!("{}/v1/verify/attempts/{attempt}/evidence", self.base));
        self.send(request.bearer_auth(token).multipart(submission.form()?)).await
    }

    /// Begins chip authentication with the server's terminal, as a phone does it: under the write token.
    pub async fn start_chip_authentication(&self, opened: &Opened, dg14: &[u8]) -> Result<Answer> {
        let path = format!("{}/v1/verify/attempts/{}/chip-authentication", self.base, opened.attempt_id);
        let body = json!({ "dg14": STANDARD.encode(dg14) });
        self.send(self.http.post(path).bearer_auth(&opened.write_token).json(&body)).await
    }

    /// A request as it stands.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let response = request.send().await.context("the API does not answer")?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.context("the answer broke off")?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, headers, body })
    }

    /// A new session's object.
    pub async fn create_session(&self, body: &Value) -> Result<Value> {
        self.post("/v1/sessions", body).await?.data()
    }

    /// A session's object.
    pub async fn session(&self, id: &str) -> Result<Value> {
        self.get(&format!("/v1/sessions/{id}")).await?.data()
    }

    /// Opens an attempt.
    pub async fn open_attempt(&self, session: &str) -> Result<Opened> {
        let data = self.post(&format!("/v1/sessions/{session}/attempts"), &json!({})).await?.data()?;
        Opened::read(&data)
    }

    /// The attempt's object once it is settled.
    pub async fn settled(&self, attempt: &str) -> Result<Value> {
        wait::until(&format!("verdict of {attempt}"), || async {
            let attempt = self.get(&format!("/v1/attempts/{attempt}?wait=5")).await?.data()?;
            Ok((attempt["status"] != "in_progress").then_some(attempt))
        })
        .await
    }

    /// A session's attempts, oldest first.
    pub async fn attempts(&self, session: &str) -> Result<Vec<Value>> {
        let mut newest_first = self.all(&format!("/v1/sessions/{session}/attempts")).await?;
        newest_first.reverse();
        Ok(newest_first)
    }

    /// Every item of a list, page by page.
    pub async fn all(&self, path: &str) -> Result<Vec<Value>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let answer = self.get(&format!("{path}{joint}limit=100{cursor}")).await?;
            let pagination = answer.body["pagination"].clone();
            let data = answer.data()?;
            items.extend(data.as_array().context("a list is an array")?.iter().cloned());
            if pagination["has_more"] != true {
                return Ok(items);
            }
            let next = pagination["next_cursor"].as_str().context("a page that is not the last has a cursor")?;
            cursor = format!("&starting_after={next}");
        }
    }
}

impl Answer {
    /// `data` of a success; an error that quotes the API's for anything else.
    pub fn data(self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("the API answered {}: {}", self.status, self.body["error"]);
        }
        Ok(self.body["data"].clone())
    }

    /// The error's code, empty when there is none.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The error's message, empty when there is none.
    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

impl Submission {
    /// Replaces a part or adds it.
    pub fn with(mut self, name: &'static str, bytes: Vec<u8>) -> Self {
        match self.parts.iter_mut().find(|(part, _)| *part == name) {
            Some((_, present)) => *present = bytes,
            None => self.parts.push((name, bytes)),
        }
        self
    }

    /// Leaves a part out.
    pub fn without(mut self, name: &str) -> Self {
        self.parts.retain(|(part, _)| *part != name);
        self
    }

    /// The selfies alone.
    pub fn selfies_only(mut self) -> Self {
        self.parts.clear();
        self.reader_attestation = None;
        self
    }

    /// Other selfie frames.
    pub fn with_selfies(mut self, selfies: Vec<Vec<u8>>) -> Self {
        self.selfies = selfies;
        self
    }

    /// As one line of a bulk request, with what it is for: `{"attempt_id"}` or `{"session"}`.
    pub fn line(&self, target: Value) -> Result<Value> {
        let mut line = target;
        line["selected_field_keys"] = json!(self.selected);
        line["selfie"] = self.selfies.iter().map(|bytes| STANDARD.encode(bytes)).collect();
        if let Some(jws) = &self.reader_attestation {
            line["reader_attestation"] = json!(jws);
        }
        for (name, bytes) in &self.parts {
            line[*name] = match *name {
                "chip_authentication" => serde_json::from_slice(bytes).context("a transcript is JSON")?,
                _ => STANDARD.encode(bytes).into(),
            };
        }
        Ok(line)
    }

    fn form(&self) -> Result<Form> {
        let mut manifest = json!({ "selected_field_keys": self.selected });
        if let Some(jws) = &self.reader_attestation {
            manifest["reader_attestation"] = json!(jws);
        }
        let mut form = Form::new().part("manifest", Part::text(manifest.to_string()).mime_str("application/json")?);
        for (name, bytes) in &self.parts {
            form = form.part(*name, file(bytes, name, "application/octet-stream")?);
        }
        for bytes in &self.selfies {
            form = form.part("selfie", file(bytes, "selfie.jpg", "image/jpeg")?);
        }
        Ok(form)
    }
}

impl Opened {
    /// From the answer that opened the attempt.
    pub fn read(data: &Value) -> Result<Self> {
        let text =
            |name: &str| data[name].as_str().map(str::to_owned).with_context(|| format!("no `{name}` in {data}"));
        Ok(Self {
            attempt_id: text("attempt_id")?,
            write_token: text("mobile_write_token")?,
            challenge: challenge(&text("active_authentication_challenge")?)?,
        })
    }
}

fn challenge(hex: &str) -> Result<[u8; 8]> {
    let number = u64::from_str_radix(hex, 16).with_context(|| format!("{hex} is not hex"))?;
    if hex.len() != 16 {
        bail!("{hex} is not 8 bytes of hex");
    }
    Ok(number.to_be_bytes())
}

fn file(bytes: &[u8], name: &str, mime: &str) -> Result<Part> {
    Ok(Part::bytes(bytes.to_vec()).file_name(name.to_owned()).mime_str(mime)?)
}
