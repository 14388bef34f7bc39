ALTER TABLE deliveries DROP COLUMN retry_requested_at;
DROP INDEX sessions_withdrawing;
ALTER TABLE sessions DROP COLUMN withdrawal_requested_at;
