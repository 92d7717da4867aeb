import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { migrate, printMigrations } from '../../src/postgres/migrate.ts'
import { bench } from './bench.ts'
import { describeSchema } from './schema.ts'

const SNAPSHOT = fileURLToPath(new URL('schema.sql', import.meta.url))

test('the schema is the one in schema.sql (UPDATE_SCHEMA=1 writes it anew)', async () => {
  const b = await bench()
  const schema = await describeSchema(b.pool, 'posthaste')
  if (process.env.UPDATE_SCHEMA) await writeFile(SNAPSHOT, schema)
  expect(schema).toBe(await readFile(SNAPSHOT, 'utf8'))
})

test('a schema of any name is the same', async () => {
  const b = await bench({ alone: true })
  await migrate({ url: b.url, schema: 'another_1' })
  expect(await describeSchema(b.pool, 'another_1')).toBe(await describeSchema(b.pool, 'posthaste'))
})

test('the script for other migration tools makes the same schema', async () => {
  const b = await bench({ alone: true })
  await b.pool.query(await printMigrations({ schema: 'printed' }))
  expect(await describeSchema(b.pool, 'printed')).toBe(await describeSchema(b.pool, 'posthaste'))
})

test('every function that reads a name of the schema fixes its search_path, temporary objects last, and runs as its caller', async () => {
  const b = await bench()
  const { rows } = await b.pool.query(`
    select p.proname as name, p.prosecdef as definer, p.proconfig as config
    from pg_proc p
    where p.pronamespace = 'posthaste'::regnamespace`)
  for (const { name, definer, config } of rows) {
    expect(definer, name).toBe(false)
    const path = (config ?? []).find((setting: string) => setting.startsWith('search_path='))
    if (path !== undefined) expect(path, name).toBe('search_path=posthaste, pg_temp')
  }
  const free = rows.filter(
    ({ config }) => !(config ?? []).some((setting: string) => setting.startsWith('search_path=')),
  )
  expect(free.map(({ name }) => name).toSorted()).toEqual(WITHOUT_PATH)
})

/** They name nothing of the schema, and run where a caller with a search_path of ours calls them, or read built-in names alone. */
const WITHOUT_PATH = [
  'counted',
  'fingerprint_of',
  'first_id',
  'headers_match',
  'is_past',
  'is_v7',
  'json_depth',
  'keep_effect_attempts',
  'key_admitted',
  'lane_of',
  'lock_class',
  'ms_since',
  'must_be_settled',
  'name_problem',
  'parks_keys',
  'prepare_to_wait',
  'refuse_message',
  'refuse_unreadable',
  'uuid_v7',
  'without_words',
  'xid_of_publisher',
]

test('no statement of a function is compiled: it takes longer than it runs', async () => {
  const b = await bench()
  const { rows } = await b.pool.query(`
    select p.proname as name
    from pg_proc p
    where p.pronamespace = 'posthaste'::regnamespace
      and p.proconfig::text like '%search_path=%' and not 'jit=off' = any (p.proconfig)`)
  expect(rows).toEqual([])
})

test('what runs for each message reads the tables that grow by their indexes, also by a plan that was made when they were empty', async () => {
  const b = await bench()
  const { rows } = await b.pool.query(`
    select p.proname as name, p.prosrc as body
    from pg_proc p
    where p.pronamespace = 'posthaste'::regnamespace and not coalesce('enable_seqscan=off' = any (p.proconfig), false)`)
  const reading = rows.filter(({ body }) => READS_WHAT_GROWS.test(body)).map(({ name }) => name)
  expect(reading.toSorted()).toEqual(PLANNED_AS_EVER)
})

const READS_WHAT_GROWS =
  /\b(from|join|update) (attempts|dead_letters|dedupe|effect_attempts|effect_causes|effects|held|inbox|inbox_other|journal|leases|lines|outbox|parked|parked_keys|ready|requests|scheduled|settled)\b/

/** They count, trim or copy much of a table, and are planned for what is there; or people ask them now and then. */
const PLANNED_AS_EVER = [
  'audit',
  'caused_by',
  'contents_of',
  'copies_of',
  'count_stream',
  'cut_off_from',
  'delete_queue',
  'effect_account',
  'effect_attention',
  'empty_partition',
  'erase_message',
  'find_message',
  'forget_parked',
  'group_status',
  'inherit_processed',
  'position_of_message',
  'purge_dead_letters',
  'queue_status',
  'redrive',
  'trace',
  'trim_dead_letters',
  'trim_held',
  'trim_inbox',
  'unrouted',
]
