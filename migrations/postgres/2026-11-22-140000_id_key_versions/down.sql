ALTER TABLE sessions DROP COLUMN human_id_key_version;
ALTER TABLE sessions DROP COLUMN document_id_key_version;
DROP TABLE retired_id_keys;
