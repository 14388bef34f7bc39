-- An endpoint's circuit breaker. Only endpoints whose last try failed have a row, so a healthy one costs nothing.
CREATE TABLE endpoint_breakers (
    endpoint_id TEXT NOT NULL PRIMARY KEY REFERENCES webhook_endpoints (id),
    -- Tries in a row that got no answer, or one that says that the endpoint is not well.
    failures    INTEGER NOT NULL CHECK (failures > 0),
    -- How often in a row it opened.
    openings    INTEGER NOT NULL,
    -- Nothing is sent until then; after it, one try at a time. NULL while closed.
    open_until  INTEGER,
    updated_at  INTEGER NOT NULL,
    CHECK ((open_until IS NULL) = (openings = 0))
) STRICT;
-- When the longest schedule that began with this one has ended. Only a delivery that an open breaker holds back can
-- live as long as that.
ALTER TABLE deliveries ADD COLUMN give_up_at INTEGER;
