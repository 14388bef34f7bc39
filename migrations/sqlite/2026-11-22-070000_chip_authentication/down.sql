DROP INDEX attempts_terminal;
ALTER TABLE attempts DROP COLUMN terminal_wrapped_key;
ALTER TABLE attempts DROP COLUMN terminal_epoch;
ALTER TABLE attempts DROP COLUMN terminal_object;
