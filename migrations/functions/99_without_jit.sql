-- No statement of ours runs as long as compiling it takes, and those that may not scan a table in sequence look expensive enough to be
-- compiled each time (measured: an audit 667 ms compiled, 9 ms not). Where PostgreSQL has LLVM it is on unless somebody says no.
do $$
declare
  _function regprocedure;
begin
  for _function in
    select p.oid
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = current_schema() and p.proconfig::text like '%search_path=%' and not 'jit=off' = any (p.proconfig)
    order by 1
  loop
    execute format('alter function %s set jit = off', _function);
  end loop;
end $$;
