-- Nothing could be written to this table before: it is made again rather than altered.
DROP TABLE reader_keys;
-- Public keys of readers that sign what they read.
CREATE TABLE reader_keys (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organisation_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
    -- What a statement's header calls the key (RFC 7515 4.1.4). Never given again, not even after a revocation: an old
    -- statement must not find another key.
    kid             TEXT NOT NULL,
    name            TEXT,
    -- JSON: the public JWK (P-256 for ES256, Ed25519 for EdDSA).
    jwk             TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    revoked_at      BIGINT,
    UNIQUE (organisation_id, kid)
);
