DROP TABLE reader_keys;
CREATE TABLE reader_keys (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    organisation_id TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
    name            TEXT,
    jwk             TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    revoked_at      BIGINT
);
CREATE INDEX reader_keys_organisation ON reader_keys (organisation_id);
