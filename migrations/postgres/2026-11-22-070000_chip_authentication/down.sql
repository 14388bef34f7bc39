DROP INDEX attempts_terminal;
ALTER TABLE attempts
    DROP COLUMN terminal_wrapped_key,
    DROP COLUMN terminal_epoch,
    DROP COLUMN terminal_object;
