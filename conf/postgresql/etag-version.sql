-- SPDX-License-Identifier: Apache-2.0
-- Versions of tables for ETagVersion: a row for each name, raised by whatever changes what the name stands for.
--
-- The row stays locked until the change commits, so numbers are handed out in the order of commits: one that was taken
-- before another never becomes visible after it (txid_current() and max(txid) do not promise that). They follow the
-- clock, so that none comes back after the database was restored from a backup.

CREATE TABLE IF NOT EXISTS etag_version (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9._:/@+-]{1,128}$'),
    n bigint NOT NULL);

-- The trigger's argument is the name; without one, the table's.
CREATE OR REPLACE FUNCTION etag_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    INSERT INTO etag_version VALUES (coalesce(TG_ARGV[0], TG_TABLE_NAME), now_us)
        ON CONFLICT (name) DO UPDATE SET n = greatest(etag_version.n + 1, now_us);
    RETURN NULL;
END $$;

-- For each table that pages are made from:
--   CREATE TRIGGER etag AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON patient EXECUTE FUNCTION etag_changed('Patient');
