-- Failed jobs that had lost a worker: few, and looked for among them all.
CREATE INDEX jobs_dead ON jobs (id) WHERE status = 'failed' AND crashes > 0;
