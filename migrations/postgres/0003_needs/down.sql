DROP INDEX jobs_urgent;
ALTER TABLE jobs DROP COLUMN needs;
