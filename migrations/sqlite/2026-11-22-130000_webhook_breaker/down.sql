ALTER TABLE deliveries DROP COLUMN give_up_at;
DROP TABLE endpoint_breakers;
