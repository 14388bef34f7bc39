-- Keys of derived ids that a rotation replaced, sealed under the deployment key. Kept, so that an id given out before can
-- be derived again; the current ones stand in organisations.
CREATE TABLE retired_id_keys (
    organisation_id TEXT NOT NULL REFERENCES organisations (id),
    kind            TEXT NOT NULL CHECK (kind IN ('document', 'human')),
    version         INTEGER NOT NULL CHECK (version > 0),
    sealed          BLOB NOT NULL,
    retired_at      INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, kind, version)
) STRICT;
-- Under which keys a session's derived ids were made; NULL while it has no claims.
ALTER TABLE sessions ADD COLUMN document_id_key_version INTEGER;
ALTER TABLE sessions ADD COLUMN human_id_key_version INTEGER;
