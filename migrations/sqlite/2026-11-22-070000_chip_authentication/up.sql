-- The server's side of an attempt's chip authentication (ICAO 9303-11 6.2): the terminal's ephemeral private key, the
-- DG14 that it is bound to and the answer given, sealed in the vault like evidence. The wrapped key goes in the
-- transaction that settles or cancels, so the key never outlives its attempt, and this table never holds it in plain.
ALTER TABLE attempts ADD COLUMN terminal_object TEXT;
ALTER TABLE attempts ADD COLUMN terminal_epoch TEXT;
ALTER TABLE attempts ADD COLUMN terminal_wrapped_key BLOB
    CHECK (terminal_wrapped_key IS NULL OR status = 'in_progress');
CREATE INDEX attempts_terminal ON attempts (terminal_object) WHERE terminal_object IS NOT NULL;
