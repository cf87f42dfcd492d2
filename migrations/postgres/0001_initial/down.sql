DROP TABLE trash;
DROP TABLE job_logs;
DROP TABLE outputs;
DROP TABLE jobs;
DROP TABLE workflow_versions;
DROP TABLE workflows;
DROP TABLE settings;
