ALTER TABLE endpoint_breakers DROP COLUMN last_tries;
DROP INDEX deliveries_held;
