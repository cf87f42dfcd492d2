-- ARGV: a job.
return position(ARGV[1])
