-- Times are microseconds since the Unix epoch, UTC. Ids are text that sorts by creation time.
-- No table holds document data, MRZ text, images, embeddings or scores: evidence lies sealed in the vault,
-- claims leave only inside a webhook's JWE.

CREATE TABLE organisations (
    id                       TEXT NOT NULL PRIMARY KEY,
    name                     TEXT NOT NULL,
    default_contract_version INTEGER NOT NULL CHECK (default_contract_version IN (1, 2)),
    -- JSON: how borderline documents are treated.
    policy                   TEXT NOT NULL,
    -- Works with specimen documents.
    sandbox                  INTEGER NOT NULL,
    -- Keys of kayle_document_id and kayle_human_id, sealed under the deployment key. Versioned, because a new key
    -- changes every derived id.
    document_id_key_sealed   BLOB NOT NULL,
    document_id_key_version  INTEGER NOT NULL DEFAULT 1,
    human_id_key_sealed      BLOB NOT NULL,
    human_id_key_version     INTEGER NOT NULL DEFAULT 1,
    created_at               INTEGER NOT NULL,
    updated_at               INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id              TEXT NOT NULL PRIMARY KEY,
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    -- The key's first characters: what it is looked up by. Not unique, hence not a secret's oracle.
    prefix          TEXT NOT NULL,
    -- SHA-256 of the whole key. The key has 165 random bits, so no slow hash is needed.
    hash            BLOB NOT NULL,
    -- JSON array of scopes.
    scopes          TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    revoked_at      INTEGER
) STRICT;
CREATE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_organisation ON api_keys (organisation_id);

-- Public keys of readers that sign what they read.
CREATE TABLE reader_keys (
    id              TEXT NOT NULL PRIMARY KEY,
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    name            TEXT,
    -- JSON: the public JWK (ES256 or EdDSA).
    jwk             TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    revoked_at      INTEGER
) STRICT;
CREATE INDEX reader_keys_organisation ON reader_keys (organisation_id);

CREATE TABLE sessions (
    id                   TEXT NOT NULL PRIMARY KEY,
    organisation_id      TEXT NOT NULL REFERENCES organisations (id),
    contract_version     INTEGER NOT NULL CHECK (contract_version IN (1, 2)),
    status               TEXT NOT NULL CHECK (status IN
        ('created', 'in_progress', 'completed', 'succeeded', 'failed', 'expired', 'cancelled')),
    -- JSON: claim key to {required, reason, source}.
    share_fields         TEXT NOT NULL,
    redirect_url         TEXT,
    -- JSON array; NULL is every enabled endpoint that subscribes to the event's type.
    webhook_endpoint_ids TEXT,
    -- Keyed hash; the token itself is not stored.
    cancel_token_hash    BLOB NOT NULL,
    cancel_token_used_at INTEGER,
    nfc_tries_used       INTEGER NOT NULL DEFAULT 0 CHECK (nfc_tries_used BETWEEN 0 AND 3),
    liveness_tries_used  INTEGER NOT NULL DEFAULT 0 CHECK (liveness_tries_used BETWEEN 0 AND 3),
    rejected_attempts    INTEGER NOT NULL DEFAULT 0 CHECK (rejected_attempts >= 0),
    -- In contract 2's words, whatever the session's contract.
    failure_code         TEXT,
    -- Chip evidence that passed, sealed again for a later attempt with selfies only. The wrapped key goes when the
    -- session ends: without it the object is noise.
    kept_object          TEXT,
    kept_epoch           TEXT,
    kept_wrapped_key     BLOB,
    expires_at           INTEGER NOT NULL,
    completed_at         INTEGER,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    CHECK ((completed_at IS NULL) = (status IN ('created', 'in_progress'))),
    CHECK (kept_object IS NULL OR status = 'in_progress')
) STRICT;
CREATE INDEX sessions_list ON sessions (organisation_id, id);
CREATE INDEX sessions_expiry ON sessions (expires_at) WHERE status IN ('created', 'in_progress');

-- An attempt's row is also the outbox (outbox_at) and the work lease (lease_*), so that accepting evidence,
-- publishing it and working on it are compare-and-sets on one row.
CREATE TABLE attempts (
    id                      TEXT NOT NULL PRIMARY KEY,
    session_id              TEXT NOT NULL REFERENCES sessions (id),
    status                  TEXT NOT NULL CHECK (status IN ('in_progress', 'succeeded', 'failed', 'cancelled')),
    lane                    TEXT NOT NULL CHECK (lane IN ('interactive', 'bulk')),
    -- RND.IFD of active authentication (ICAO 9303-11 6.1): random per attempt, single use.
    challenge               BLOB NOT NULL,
    handoff_expires_at      INTEGER NOT NULL,
    -- When evidence was accepted; NULL while it is awaited.
    submitted_at            INTEGER,
    -- HMAC of the evidence under the deployment key: tells a repeat from other bytes. A plain hash would identify
    -- the person.
    evidence_fingerprint    BLOB,
    -- Where the sealed evidence lies. Its wrapped key goes in the transaction that settles or cancels.
    evidence_object         TEXT,
    evidence_epoch          TEXT,
    evidence_wrapped_key    BLOB,
    -- JSON array, sorted.
    selected_field_keys     TEXT,
    chip_evidence_kept_used INTEGER NOT NULL DEFAULT 0,
    failure_code            TEXT,
    -- JSON: the gates.
    checks                  TEXT,
    -- Due for publication from this time on; NULL: nothing to publish. A relay's claim moves it forward.
    outbox_at               INTEGER,
    -- When it last entered the outbox.
    queued_at               INTEGER,
    -- When the broker last confirmed it.
    published_at            INTEGER,
    -- The fence: whoever writes must show the token that stands here.
    lease_token             TEXT,
    lease_until             INTEGER,
    lease_tries             INTEGER NOT NULL DEFAULT 0,
    -- Set aside after repeated system faults; the holder is not charged.
    quarantined_at          INTEGER,
    quarantine_reason       TEXT,
    created_at              INTEGER NOT NULL,
    updated_at              INTEGER NOT NULL,
    completed_at            INTEGER,
    CHECK ((completed_at IS NULL) = (status = 'in_progress')),
    CHECK (status = 'in_progress' OR (evidence_wrapped_key IS NULL AND outbox_at IS NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
) STRICT;
CREATE INDEX attempts_session ON attempts (session_id, id);
-- At most one accepted attempt per session, whatever the code does.
CREATE UNIQUE INDEX attempts_one_accepted ON attempts (session_id) WHERE status = 'succeeded';
-- At most one open attempt per session.
CREATE UNIQUE INDEX attempts_one_open ON attempts (session_id) WHERE status = 'in_progress';
CREATE INDEX attempts_outbox ON attempts (lane, outbox_at, id) WHERE outbox_at IS NOT NULL;
CREATE INDEX attempts_unsettled ON attempts (lane, submitted_at) WHERE status = 'in_progress';
CREATE INDEX attempts_evidence ON attempts (evidence_object) WHERE evidence_object IS NOT NULL;

CREATE TABLE webhook_endpoints (
    id                     TEXT NOT NULL PRIMARY KEY,
    organisation_id        TEXT NOT NULL REFERENCES organisations (id),
    url                    TEXT NOT NULL,
    name                   TEXT,
    -- JSON array.
    labels                 TEXT NOT NULL,
    enabled                INTEGER NOT NULL,
    -- JSON array of event types.
    subscribed_event_types TEXT NOT NULL,
    -- How long a payload is held after delivery or the end of its schedule.
    retention_hours        INTEGER NOT NULL CHECK (retention_hours IN (0, 24, 72, 168)),
    created_at             INTEGER NOT NULL,
    updated_at             INTEGER NOT NULL,
    disabled_at            INTEGER,
    -- Deleted endpoints stay, unseen, for the deliveries that name them.
    deleted_at             INTEGER,
    CHECK (enabled = (disabled_at IS NULL))
) STRICT;
CREATE INDEX webhook_endpoints_list ON webhook_endpoints (organisation_id, id) WHERE deleted_at IS NULL;

CREATE TABLE signing_secrets (
    endpoint_id TEXT NOT NULL REFERENCES webhook_endpoints (id),
    -- 1, 2, …: the highest is the current one.
    generation  INTEGER NOT NULL,
    -- Sealed under the deployment key.
    sealed      BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    -- NULL on the current one; a rotated one signs until then.
    expires_at  INTEGER,
    PRIMARY KEY (endpoint_id, generation)
) STRICT;
CREATE UNIQUE INDEX signing_secrets_one_current ON signing_secrets (endpoint_id) WHERE expires_at IS NULL;

CREATE TABLE encryption_keys (
    id             TEXT NOT NULL PRIMARY KEY,
    endpoint_id    TEXT NOT NULL REFERENCES webhook_endpoints (id),
    -- The caller's name of the key: the JWE's kid.
    key_id         TEXT NOT NULL,
    -- JSON: the public JWK.
    jwk            TEXT NOT NULL,
    active         INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    deactivated_at INTEGER,
    UNIQUE (endpoint_id, key_id)
) STRICT;
CREATE UNIQUE INDEX encryption_keys_one_active ON encryption_keys (endpoint_id) WHERE active;

-- Events hold no payload.
CREATE TABLE events (
    id               TEXT NOT NULL PRIMARY KEY,
    organisation_id  TEXT NOT NULL REFERENCES organisations (id),
    session_id       TEXT NOT NULL REFERENCES sessions (id),
    attempt_id       TEXT REFERENCES attempts (id),
    event_type       TEXT NOT NULL,
    contract_version INTEGER NOT NULL,
    -- Whether it ended the session.
    terminal         INTEGER NOT NULL,
    -- When a privacy withdrawal replaced it, undelivered.
    superseded_at    INTEGER,
    created_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX events_list ON events (organisation_id, id);
-- A session ends once.
CREATE UNIQUE INDEX events_one_terminal ON events (session_id) WHERE terminal AND superseded_at IS NULL;

CREATE TABLE deliveries (
    id                 TEXT NOT NULL PRIMARY KEY,
    event_id           TEXT NOT NULL REFERENCES events (id),
    endpoint_id        TEXT NOT NULL REFERENCES webhook_endpoints (id),
    organisation_id    TEXT NOT NULL REFERENCES organisations (id),
    session_id         TEXT NOT NULL REFERENCES sessions (id),
    event_type         TEXT NOT NULL,
    status             TEXT NOT NULL CHECK (status IN ('pending', 'sending', 'delivered', 'failed')),
    -- Why it failed.
    reason             TEXT,
    -- The compact JWE (RFC 7516); NULL once destroyed.
    payload            TEXT,
    -- When the payload is to be destroyed; NULL while it is still to be sent.
    payload_expires_at INTEGER,
    -- Tries of the current schedule.
    tries              INTEGER NOT NULL DEFAULT 0,
    next_attempt_at    INTEGER,
    lease_token        TEXT,
    lease_until        INTEGER,
    -- A try ended without a known outcome: a withdrawal must count it as delivered.
    maybe_received     INTEGER NOT NULL DEFAULT 0,
    last_status_code   INTEGER,
    -- Never part of the answer's body.
    last_error         TEXT,
    delivered_at       INTEGER,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    CHECK ((next_attempt_at IS NOT NULL) = (status = 'pending')),
    CHECK (status <> 'pending' OR payload IS NOT NULL),
    CHECK ((lease_token IS NOT NULL) = (status = 'sending')),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
) STRICT;
CREATE INDEX deliveries_list ON deliveries (organisation_id, id);
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_session ON deliveries (session_id);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, next_attempt_at) WHERE status = 'pending';
CREATE INDEX deliveries_sending ON deliveries (lease_until) WHERE status = 'sending';
CREATE INDEX deliveries_scrub ON deliveries (payload_expires_at)
    WHERE payload IS NOT NULL AND payload_expires_at IS NOT NULL;

CREATE TABLE idempotency_keys (
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    route           TEXT NOT NULL,
    key             TEXT NOT NULL,
    -- HMAC of the request.
    fingerprint     BLOB NOT NULL,
    -- Who runs it, and until when that is believed.
    lease_token     TEXT NOT NULL,
    lease_until     INTEGER NOT NULL,
    -- Once finished: the HTTP status and the response, sealed under the deployment key.
    response_status INTEGER,
    response_sealed BLOB,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, route, key)
) STRICT;
CREATE UNIQUE INDEX idempotency_keys_token ON idempotency_keys (lease_token);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
