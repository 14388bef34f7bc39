-- What an endpoint's deletion has to destroy, found without a look at its history.
CREATE INDEX deliveries_held ON deliveries (endpoint_id) WHERE payload IS NOT NULL;
-- An endpoint with deliveries whose time is over and that were never tried: each has its one try although the breaker is
-- open.
ALTER TABLE endpoint_breakers ADD COLUMN last_tries INTEGER NOT NULL DEFAULT 0;
