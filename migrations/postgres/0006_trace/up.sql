-- The trace (W3C traceparent) that messages and batches belong to; empty where there is none. That of a job is among its options.
ALTER TABLE deliveries ADD COLUMN trace_parent TEXT;
ALTER TABLE batches ADD COLUMN trace_parent TEXT;
