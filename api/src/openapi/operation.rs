//! What a route does, as its row in the table of routes says it.

use proofmill_contract::ErrorCode;
use serde_json::Value;

/// The description of one route.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: String,
    /// Schema of the `{id}` in the path.
    pub(super) names: Option<&'static str>,
    pub(super) query: Vec<QueryParameter>,
    /// Whether parameters that are not listed are passed over: for pages, whose links people and mailers decorate.
    pub(super) any_query: bool,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    pub(super) errors: Vec<ErrorCode>,
    pub(super) idempotent: bool,
    pub(super) links: Vec<(&'static str, Value)>,
    pub(super) callbacks: Option<Value>,
}

/// A query parameter.
#[derive(Clone, Debug)]
pub struct QueryParameter {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: Value,
}

/// A request body.
#[derive(Clone, Debug)]
pub struct Body {
    pub(super) kind: BodyKind,
    pub(super) schema: Value,
    pub(super) required: bool,
    pub(super) examples: Vec<Example>,
}

/// How a request body is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyKind {
    /// One JSON object.
    Json,
    /// Named parts.
    Form,
    /// One JSON object a line.
    Lines,
}

/// A request that works, and how it is answered.
#[derive(Clone, Debug)]
pub struct Example {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) value: Value,
    pub(super) status: u16,
}

/// An answer that is no error.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) content: Content,
}

/// What an answer holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// `data` in the envelope.
    Data(Value),
    /// A list in the envelope, with `pagination`.
    Page(Value),
    /// No body.
    Nothing,
    /// A page for people.
    Html,
    /// A JSON document without the envelope.
    Document(Value),
    /// One JSON object a line.
    Lines(Value),
}

impl Operation {
    /// An operation: a unique id, the group it belongs to, what it does in a few words.
    pub fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            description: String::new(),
            names: None,
            query: Vec::new(),
            any_query: false,
            body: None,
            answers: Vec::new(),
            errors: Vec::new(),
            idempotent: false,
            links: Vec::new(),
            callbacks: None,
        }
    }

    /// What else there is to know.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// The `{id}` in the path is of this schema.
    pub fn names(mut self, schema: &'static str) -> Self {
        self.names = Some(schema);
        self
    }

    /// Takes a query parameter.
    pub fn query(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.query.push(QueryParameter { name, description, schema });
        self
    }

    /// Passes over unknown query parameters.
    pub fn any_query(mut self) -> Self {
        self.any_query = true;
        self
    }

    /// Takes a body that must be there.
    pub fn takes(self, kind: BodyKind, schema: Value) -> Self {
        self.with_body(kind, schema, true)
    }

    /// Takes a JSON object that may be left out.
    pub fn may_take(self, schema: Value) -> Self {
        self.with_body(BodyKind::Json, schema, false)
    }

    fn with_body(mut self, kind: BodyKind, schema: Value, required: bool) -> Self {
        self.body = Some(Body { kind, schema, required, examples: Vec::new() });
        self.errors(&[ErrorCode::PayloadTooLarge, ErrorCode::UnsupportedMediaType])
    }

    /// A body that is answered with `status`.
    pub fn example(mut self, name: &'static str, summary: &'static str, status: u16, value: Value) -> Self {
        if let Some(body) = &mut self.body {
            body.examples.push(Example { name, summary, value, status });
        }
        self
    }

    /// Answers so when all is well.
    pub fn answers(mut self, status: u16, description: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, description, content });
        self
    }

    /// A list: its filters are query parameters, and so are `limit` and `starting_after`.
    pub fn pages(self, description: &'static str, item: Value, cursor: &'static str) -> Self {
        use super::schemas;
        self.query("limit", "How many.", schemas::page_limit())
            .query("starting_after", "`next_cursor` of the page before: its last id.", schemas::reference(cursor))
            .answers(200, description, Content::Page(item))
            .errors(&[ErrorCode::InvalidCursor])
    }

    /// May also fail with these, besides what every route of its kind can fail with.
    pub fn errors(mut self, codes: &[ErrorCode]) -> Self {
        self.errors.extend_from_slice(codes);
        self
    }

    /// Takes an `Idempotency-Key`.
    pub fn idempotent(self) -> Self {
        self.keyed().errors(&[ErrorCode::IdempotencyInProgress, ErrorCode::IdempotencyKeyReused])
    }

    /// Takes an `Idempotency-Key` whose conflicts are told elsewhere than in the status.
    pub fn keyed(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// What can be done next with what was answered.
    pub fn link(mut self, name: &'static str, link: Value) -> Self {
        self.links.push((name, link));
        self
    }

    /// Requests that this one makes us send.
    pub fn callbacks(mut self, callbacks: Value) -> Self {
        self.callbacks = Some(callbacks);
        self
    }

    /// The query parameters it takes; `None` when it passes over any.
    pub fn query_names(&self) -> Option<Vec<&'static str>> {
        (!self.any_query).then(|| self.query.iter().map(|parameter| parameter.name).collect())
    }
}
