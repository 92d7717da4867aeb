import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { lockSleep } from '../../src/postgres/duty.ts'
import { migrate } from '../../src/postgres/migrate.ts'
import { relayCycle } from '../../src/postgres/relay.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { until } from '../support/until.ts'
import { bench, claimOn, run, t, transaction, uuid7, waiting } from './bench.ts'

describe('publish from SQL', () => {
  test('is one statement, in autocommit or in a transaction', async () => {
    const b = await bench()
    const client = await b.connect()
    await client.query(`select posthaste.publish('', '${b.queue}', '{"n": 1}')`)
    await client.query('begin')
    await client.query(
      `select posthaste.publish('', '${b.queue}', '{"n": 2}', key => 'k', headers => '{"h": 1}', priority => 9)`,
    )
    await client.query('rollback')
    await client.query('begin')
    await client.query(`select posthaste.publish('', '${b.queue}', '{"n": 3}', type => 'three')`)
    await client.query('commit')
    await b.drain()
    const claimed = await transaction(client, () => claimOn(client, b.number, 10))
    expect(claimed.map(({ body }) => [body!.type, body!.payload])).toEqual([
      [b.queue, '{"n": 1}'],
      ['three', '{"n": 3}'],
    ])
  })

  test('answers the id, which is a uuidv7 of now', async () => {
    const b = await bench()
    const { rows } = await b.pool.query('select posthaste.publish($1, $2, $3) as id', ['', b.queue, {}])
    expect(rows[0].id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(Math.abs(Number.parseInt(rows[0].id.replace('-', '').slice(0, 12), 16) - Date.now())).toBeLessThan(60_000)
  })

  test('says everything that a message can have', async () => {
    const b = await bench()
    const id = uuid7()
    await b.pool.query(
      `select posthaste.publish('', $1, '[]', id => $2, type => 'all', key => 'k', version => 3, priority => 4, expires_in => '1 hour',
         delay => '0 s', correlation_id => 'co', causation_id => 'ca', lock_key => true, headers => '{"a": {"b": 1}}')`,
      [b.queue, id],
    )
    await b.drain()
    const client = await b.connect()
    await client.query('begin')
    const [delivery] = await claimOn(client, b.number, 1)
    expect(delivery).toMatchObject({
      messageId: id,
      priority: 5,
      expired: false,
      body: { type: 'all', version: 3, key: 'k', correlationId: 'co', causationId: 'ca', headers: '{"a": {"b": 1}}' },
    })
    await client.query('rollback')
  })

  test('works from a trigger and in a DO block', async () => {
    const b = await bench()
    const client = await b.connect()
    await client.query(`
      create table public.orders_${b.queue} (id integer);
      create function public.announce_${b.queue}() returns trigger language plpgsql as $$
      begin
        perform posthaste.publish('', '${b.queue}', json_build_object('order', new.id));
        return new;
      end $$;
      create trigger announce after insert on public.orders_${b.queue} for each row execute function public.announce_${b.queue}()`)
    await client.query(`insert into public.orders_${b.queue} values (1), (2)`)
    await client.query(`do $$ begin perform posthaste.publish('', '${b.queue}', '{"order": 3}'); end $$`)
    expect(await b.drain()).toBe(3)
  })

  test('resolves its own names under any search_path, among hostile objects', async () => {
    const b = await bench({ alone: true })
    const client = await b.connect()
    await client.query(`
      create schema evil;
      create function evil.uuid_v7() returns uuid language sql as $$ select '00000000-0000-0000-0000-000000000000'::uuid $$;
      create function evil.checked() returns boolean language sql as $$ select true $$;
      create function evil.lower(text) returns text language plpgsql as $$ begin raise 'hijacked'; end $$;
      create function evil.octet_length(text) returns integer language plpgsql as $$ begin raise 'hijacked'; end $$;
      create function evil.json_to_recordset(json) returns setof record language plpgsql as $$ begin raise 'hijacked'; end $$;
      create function evil.hashtext(text) returns integer language plpgsql as $$ begin raise 'hijacked'; end $$;
      create function evil.count(bigint) returns bigint language plpgsql as $$ begin raise 'hijacked'; end $$;
      create operator evil.= (leftarg = text, rightarg = text, function = pg_catalog.textne);
      create temp table outbox (like posthaste.outbox);
      create temp table settings (payload_bytes integer);
      create temp table exchanges (name text);
      create temp table ready (like posthaste.ready);
      create temp table partitions (like posthaste.partitions);
      create temp table inbox (like posthaste.inbox);
      create temp table tally (like posthaste.tally);
      create temp table ticks (like posthaste.ticks);
      set search_path = pg_temp, evil, pg_catalog`)
    await b.publishMany(client, 2, { own_id: true, lock_key: true, key: 'k' })
    await client.query(`select posthaste.publish('', '${b.queue}', '{}', body => null)`)
    expect(await b.cycle({ on: client })).toMatchObject({ messages: 3, deliveries: 3 })
    await client.query('begin')
    const claimed = await claimOn(client, b.number, 2)
    expect(claimed.length).toBe(2)
    await client.query('select posthaste.settle($1, $2, 2)', [b.number, b.queue])
    await client.query('commit')
    const { rows } = await client.query(`select lease_id, token, position from posthaste.receive($1)`, [b.queue])
    await client.query('select posthaste.complete($1, $2, $3)', [rows[0].lease_id, rows[0].token, rows[0].position])
    for (const step of [
      'fold_tally()',
      'trim_logs()',
      'make_partitions(1e9)',
      'empty_partition(1e9)',
      'trim_inbox(1e9)',
      'make_inbox_part()',
    ])
      await client.query(`select posthaste.${step}`)
    await b.audit(client)
    for (const table of ['outbox', 'ready', 'inbox', 'tally', 'ticks'])
      expect((await client.query(`select from pg_temp.${table}`)).rows).toEqual([])
  })
})

describe('what is published comes out', () => {
  test('byte for byte, when it is bytes', async () => {
    const b = await bench()
    const bodies = [Buffer.alloc(0), Buffer.from([0, 255, 0]), randomBytes(100_000)]
    for (const body of bodies) {
      await b.publish(b.pool, { body: body.toString('base64'), content_type: 'application/octet-stream' })
      await b.pool.query(`select posthaste.publish('', $1, null, body => $2, content_type => 'image/png')`, [
        b.queue,
        body,
      ])
    }
    await b.drain()
    const client = await b.connect()
    const claimed = await transaction(client, () => claimOn(client, b.number, 10))
    expect(claimed.map(({ body }) => body!.bytes!.toString('base64'))).toEqual(
      bodies.flatMap((body) => [body.toString('base64'), body.toString('base64')]),
    )
    expect(claimed[0]!.body).toMatchObject({ payload: null, contentType: 'application/octet-stream' })
  })

  test('as it was written, when it is JSON', async () => {
    const b = await bench()
    const texts = [
      '1e400',
      '12345678901234567890.10',
      '{"z": 1, "a": 2, "z": 3}',
      '-0.0',
      '["\\u00e9\\ud83d\\ude00 \\\\u0000 \\\\ud800"]',
      '"é\\\\u0000"',
      '{ "spaces" : [ 1,2 ,3 ] }',
      'false',
      '"}]}"',
      `${'['.repeat(64)}${']'.repeat(64)}`,
      JSON.stringify('[{'.repeat(1_000)),
    ]
    for (const text of texts) {
      await b.pool.query(
        `select posthaste.publish_all('[{"routing_key": "${b.queue}", "type": "t", "payload": ' || $1 || '}]')`,
        [text],
      )
      await b.pool.query(`select posthaste.publish('', $1, $2)`, [b.queue, text])
    }
    await b.drain()
    const client = await b.connect()
    const claimed = await transaction(client, () => claimOn(client, b.number, 100))
    expect(claimed.map(({ body }) => body!.payload)).toEqual(texts.flatMap((text) => [text, text]))
  })
})

describe('publish refuses', () => {
  const secret = '4111111111111111'
  const long = (bytes: number) => 'é'.repeat(bytes / 2)
  const cases: [string, Record<string, unknown>, RegExp][] = [
    ['a priority below 0', { priority: -1 }, /priority is not within 0 and 9/],
    ['a priority above 9', { priority: 10 }, /priority is not within 0 and 9/],
    ['no payload', { payload: undefined }, /payload is missing/],
    ['a payload and a body', { body: 'AAAA', payload: {}, content_type: 'a/b' }, /exclude each other/],
    ['a body without a content type', { body: 'AAAA' }, /content_type is missing/],
    ['a content type without a body', { content_type: 'a/b' }, /content_type is for a body/],
    ['a NUL in a value', { payload: { a: 'x\u0000' } }, /NUL or a lone surrogate/],
    ['a NUL in a name', { payload: { 'a\u0000': 1 } }, /NUL or a lone surrogate/],
    ['a NUL in a header', { headers: { a: '\u0000' } }, /NUL or a lone surrogate/],
    ['half of a surrogate pair', { payload: { a: 'x\ud83d' } }, /NUL or a lone surrogate/],
    ['the other half', { payload: { a: '\ude00\ud83d' } }, /NUL or a lone surrogate/],
    ['half of a pair beside a whole one', { payload: { a: '\\\ud83d\ude00\ud83d' } }, /NUL or a lone surrogate/],
    ['nesting deeper than 64', { payload: nested(65, '[', ']') }, /nested deeper than 64/],
    ['nesting of arrays and objects in turn', { payload: nested(66, '[{"a":', '}]', 33) }, /nested deeper than 64/],
    ['headers nested deeper', { headers: nested(66, '{"a":', '}', 66, '1') }, /nested deeper than 64/],
    [
      'a payload larger than the limit',
      { payload: 'x'.repeat(1_048_575) },
      /payload has 1048577 bytes, the limit is 1048576/,
    ],
    [
      'a body larger than the limit',
      { body: Buffer.alloc(1_048_577).toString('base64'), content_type: 'a/b' },
      /body has 1048577 bytes/,
    ],
    ['headers larger than 64 KB', { headers: { a: 'x'.repeat(65_536) } }, /headers has 6\d+ bytes/],
    ['headers that are no object', { headers: [secret] }, /headers are not an object/],
    ['a nameless header', { headers: { '': 1 } }, /a name in headers is empty/],
    ['an empty key', { key: '' }, /key is empty/],
    ['a key longer than 1,024 bytes', { key: long(1_026) }, /key has more than 1024 bytes/],
    ['a lock for no key', { lock_key: true }, /lock_key is set/],
    ['an empty type', { type: '' }, /type is empty/],
    ['no type', { type: undefined }, /type is missing/],
    ['a type longer than 255 bytes', { type: long(256) }, /type has more than 255 bytes/],
    ['a control character in the type', { type: 'a\nb' }, /type holds a control character/],
    ['a C1 control character in the type', { type: 'a\u0085b' }, /type holds a control character/],
    ['a control character in the routing key', { routing_key: 'a\u007f' }, /routing_key holds a control character/],
    ['a routing key longer than 255 bytes', { routing_key: long(256) }, /routing_key has more than 255 bytes/],
    ['an exchange that does not exist', { exchange: 'nowhere' }, /exchange "nowhere" does not exist/],
    ['version 0', { version: 0 }, /version is not within/],
    ['version 32768', { version: 32_768 }, /version is not within/],
    ['a negative delay', { delay_ms: -1 }, /delay_ms is not within/],
    ['a delay of eleven years', { delay_ms: 11 * 31_536_000_000 }, /delay_ms is not within/],
    ['a delay that is no number', { delay_ms: 'NaN' }, /delay_ms is not within/],
    ['a delay and a time', { delay_ms: 1, deliver_at: '2030-01-01T00:00:00Z' }, /exclude each other/],
    ['a time that never comes', { deliver_at: 'infinity' }, /deliver_at is out of range/],
    ['expiry at once', { expires_in_ms: 0 }, /expires_in_ms is not within/],
    ['a correlation id longer than 255 bytes', { correlation_id: long(256) }, /correlation_id has more than 255 bytes/],
    ['a causation id longer than 255 bytes', { causation_id: long(256) }, /causation_id has more than 255 bytes/],
  ]

  test.each(cases)('%s', async (_, message, reason) => {
    const b = await bench()
    const { payload = 'payload' in message ? undefined : { card: secret }, ...rest } = message
    const wire = { routing_key: b.queue, type: 'order.placed', ...(!('body' in message) && { payload }), ...rest }
    const text = JSON.stringify([{ ...wire, ...('body' in message && 'payload' in message && { payload }) }])
    const failed = await b.pool.query('select posthaste.publish_all($1::text)', [unquoted(text)]).then(
      () => undefined,
      (error) => error,
    )
    expect(failed?.message).toMatch(reason)
    expect(failed?.code).toMatch(/^PH00[12]$/)
    expect(`${failed?.message}${failed?.detail}${failed?.hint}`).not.toContain(secret)
    const { rows } = await b.pool.query('select from posthaste.outbox where routing_key = $1', [b.queue])
    expect(rows).toEqual([])
  })

  test('all of a call when one message is refused', async () => {
    const b = await bench()
    await expect(b.publish(b.pool, {}, { priority: 12 }, {})).rejects.toMatchObject({ code: 'PH001' })
    expect(await b.drain()).toBe(0)
  })

  test('what is at the limit not', async () => {
    const b = await bench()
    await b.publish(
      b.pool,
      { payload: 'x'.repeat(1_048_574) },
      { key: long(1_024), type: long(254), priority: 9, version: 32_767, delay_ms: 315_360_000_000 },
      { headers: { a: 'x'.repeat(65_500) }, correlation_id: 'x', expires_in_ms: 1 },
      { type: 'a\u00a0b', payload: 'é\ud83d\ude00' },
    )
    expect(await b.drain()).toBe(4)
  })
})

/** JSON that JSON.stringify could not have made is quoted with this mark around it. */
const RAW = '@@'

function nested(depth: number, open: string, close: string, times = depth, core = ''): string {
  return `${RAW}${open.repeat(times)}${core || (open.endsWith(':') ? '[]' : '')}${close.repeat(times)}${RAW}`
}

function unquoted(text: string): string {
  return text.replaceAll(new RegExp(`"${RAW}(.*?)${RAW}"`, 'g'), (_, raw) => JSON.parse(`"${raw}"`))
}

describe('an id of the publisher’s own', () => {
  const duplicates = async (on: Parameters<typeof run>[0], messages: unknown[]) =>
    (await on.query('select id, duplicate from posthaste.publish_all($1::text)', [JSON.stringify(messages)])).rows.map(
      ({ duplicate }) => duplicate,
    )
  const own = (b: { queue: string }, id: string | undefined) => ({
    id,
    own_id: true,
    routing_key: b.queue,
    type: 't',
    payload: {},
  })

  test('that was published before adds nothing, in the same call and in another', async () => {
    const b = await bench()
    const [one, two] = [uuid7(), uuid7()]
    expect(await duplicates(b.pool, [own(b, one), own(b, two), own(b, one)])).toEqual(['false', 'false', 'true'])
    expect(await duplicates(b.pool, [own(b, two), own(b, one)])).toEqual(['true', 'true'])
    await b.drain()
    expect(await b.ids()).toEqual([one, two])
  })

  test('stands beside messages that have none', async () => {
    const b = await bench()
    const id = uuid7()
    await duplicates(b.pool, [own(b, id)])
    const mixed = [own(b, id), { ...own(b, undefined), own_id: undefined }, own(b, undefined), own(b, uuid7())]
    expect(await duplicates(b.pool, mixed)).toEqual(['true', 'false', 'false', 'false'])
    expect(await b.drain()).toBe(4)
  })

  test('that another transaction is publishing is waited for, and is a duplicate when that commits', async () => {
    const b = await bench()
    const first = await b.connect()
    const id = uuid7()
    await first.query('begin')
    expect(await duplicates(first, [own(b, id)])).toEqual(['false'])
    const second = duplicates(b.pool, [own(b, id)])
    await until(async () => (await waiting(b.pool)).length > 0)
    await first.query('commit')
    expect(await second).toEqual(['true'])
    expect(await b.drain()).toBe(1)
  })

  test('that another transaction has taken back is new', async () => {
    const b = await bench()
    const first = await b.connect()
    const id = uuid7()
    await first.query('begin')
    await duplicates(first, [own(b, id)])
    const second = duplicates(b.pool, [own(b, id)])
    await until(async () => (await waiting(b.pool)).length > 0)
    await first.query('rollback')
    expect(await second).toEqual(['false'])
    expect(await b.drain()).toBe(1)
  })

  test('is one of many: two calls with the same ids never deadlock', async () => {
    const b = await bench()
    const [one, other] = await Promise.all([b.connect(), b.connect()])
    for (let round = 0; round < 40; round += 1) {
      const ids = Array.from({ length: 10 }, () => own(b, uuid7()))
      await Promise.all([one, other].map((client, n) => duplicates(client, n ? ids : ids.toReversed())))
    }
    await b.drain()
    expect((await b.ids()).length).toBe(400)
  })
})

describe('messages that lock their key', () => {
  test('are routed in the order of their commits', async () => {
    const b = await bench()
    const writers = await Promise.all(Array.from({ length: 8 }, () => b.connect()))
    const order: string[] = []
    await Promise.all(
      writers.map(async (writer, w) => {
        for (let n = 0; n < 20; n += 1) {
          await writer.query('begin')
          const [id] = await b.publish(writer, { key: 'account-1', lock_key: true })
          if ((w + n) % 3 === 0) await writer.query('select pg_sleep(0.001)')
          order.push(id!)
          await writer.query('commit')
          if (n % 5 === 0) await b.cycle({ chunk: 7 })
        }
      }),
    )
    await b.drain(7)
    expect(await b.ids()).toEqual(order)
  })

  test('never deadlock with others of the same call', async () => {
    const b = await bench()
    const writers = await Promise.all([b.connect(), b.connect(), b.connect()])
    const keys = Array.from({ length: 30 }, (_, n) => ({ key: `k${n}`, lock_key: true }))
    for (let round = 0; round < 15; round += 1) {
      await Promise.all(writers.map((writer, n) => b.publish(writer, ...(n === 1 ? keys.toReversed() : keys))))
    }
    expect(await b.drain()).toBe(15 * 3 * 30)
  })
})

describe('two schemas in one database', () => {
  test('neither see nor wake each other', async () => {
    const b = await bench({ alone: true })
    const other = tablesOf('other_one')
    await migrate({ url: b.url, schema: 'other_one' })
    await b.pool.query('insert into other_one.queues (name) values ($1)', [b.queue])
    await b.publish(b.pool, {})
    await b.pool.query(`select other_one.publish('', $1, '{}'), other_one.publish('', $1, '{}')`, [b.queue])
    expect(await b.cycle()).toMatchObject({ messages: 1, deliveries: 1 })
    expect((await run(b.pool, relayCycle(other, { chunk: 10, sweep: false })))[0]).toMatchObject({ messages: 2 })

    const [sleeper, ears] = await Promise.all([b.connect(), b.connect()])
    const heard: string[] = []
    ears.on('notification', ({ channel }) => heard.push(channel))
    await ears.query('listen "posthaste.posthaste"; listen "posthaste.other_one"')
    await run(sleeper, lockSleep(t))
    await b.pool.query(`select other_one.publish('', $1, '{}')`, [b.queue])
    await b.publish(b.pool, {})
    await ears.query('select 1')
    await until(() => heard.length > 0)
    expect(heard).toEqual(['posthaste.posthaste'])

    const turn = await b.connect()
    await turn.query('begin')
    await b.cycle({ on: turn })
    expect((await run(b.pool, relayCycle(other, { chunk: 10, sweep: false })))[0]).toMatchObject({ turn: true })
    await turn.query('rollback')
    const { rows } = await b.pool.query('select * from other_one.audit() where difference <> 0')
    expect(rows).toEqual([])
  })
})
