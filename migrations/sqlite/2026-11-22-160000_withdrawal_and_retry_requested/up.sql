-- A withdrawal that waits for a delivery in flight; NULL when none waits. Whoever asked for it may be gone by then.
ALTER TABLE sessions ADD COLUMN withdrawal_requested_at INTEGER;
CREATE INDEX sessions_withdrawing ON sessions (id) WHERE withdrawal_requested_at IS NOT NULL;
-- Another try was asked for while one was under way: when that fails, a fresh schedule begins.
ALTER TABLE deliveries ADD COLUMN retry_requested_at INTEGER;
