-- What a job's graph needs of a server; empty for jobs accepted before.
ALTER TABLE jobs ADD COLUMN needs TEXT;
-- Waiting jobs in the order of their urgency: for workers whose queue is away.
CREATE INDEX jobs_urgent ON jobs (priority DESC, id) WHERE status = 'queued';
