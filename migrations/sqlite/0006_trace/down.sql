ALTER TABLE batches DROP COLUMN trace_parent;
ALTER TABLE deliveries DROP COLUMN trace_parent;
