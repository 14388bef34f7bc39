-- A list by status must not read past every session in another one.
CREATE INDEX sessions_status ON sessions (organisation_id, status, id);
