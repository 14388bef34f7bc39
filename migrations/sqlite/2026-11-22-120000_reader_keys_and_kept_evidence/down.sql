DROP TABLE reader_keys;
CREATE TABLE reader_keys (
    id              TEXT NOT NULL PRIMARY KEY,
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    name            TEXT,
    jwk             TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    revoked_at      INTEGER
) STRICT;
CREATE INDEX reader_keys_organisation ON reader_keys (organisation_id);
