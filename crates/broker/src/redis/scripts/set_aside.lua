-- ARGV: lane, id, job. What nobody can read goes to the dead entries, alone.
-- A script whose first write needs no memory may go on when Redis is full; this frees some.
redis.call('DEL', P .. 'room')
redis.call('XADD', P .. 'dead', 'MAXLEN', '~', 10000, '*', 'lane', ARGV[1], 'id', ARGV[2], 'job', ARGV[3])
redis.call('HDEL', P .. 'places', ARGV[3])
remove(ARGV[1], ARGV[2])
return 0
