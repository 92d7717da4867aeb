import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { cli, spawnCli } from '../support/cli.ts'
import { createDatabase } from '../support/database.ts'
import { lives } from '../support/process.ts'
import { until } from '../support/until.ts'

const TIMEOUT = { timeout: 60_000 }

interface Event {
  readonly version: number
  readonly time: string
  readonly level: string
  readonly event: string
}

function relayOn(url: string, ...args: string[]) {
  const child = spawnCli(['relay', '--json', ...args, '--url', url])
  const events: Event[] = []
  let stderr = ''
  createInterface({ input: child.stdout! }).on('line', (line) => events.push(JSON.parse(line)))
  child.stderr!.on('data', (chunk) => (stderr += chunk))
  const ended = once(child, 'close').then(([code]) => ({ code, stderr }))
  const said = (event: string) => until(() => events.find((each) => each.event === event), { timeoutMs: 30_000 })
  const dispose = () => void (lives(child.pid!) && child.kill('SIGKILL'))
  return { child, events, said, ended, [Symbol.dispose]: dispose }
}

test.each(['SIGINT', 'SIGTERM'] as const)(
  'relay routes until %s, then ends in order with 0',
  TIMEOUT,
  async (signal) => {
    await using database = await createDatabase()
    await database.pool.query(`insert into posthaste.queues (name) values ('mail')`)
    using relay = relayOn(database.url)
    expect(await relay.said('relay-started')).toMatchObject({ version: 1, level: 'info', time: expect.any(String) })
    await relay.said('relay-on-duty')
    expect(JSON.parse((await cli(['status', '--json', '--url', database.url])).stdout).relay).toMatchObject({
      onDuty: true,
      pid: expect.any(Number),
    })

    await cli(['publish', '--routing-key', 'mail', '--payload', '1', '--url', database.url])
    const ready = async () => (await database.pool.query('select 1 from posthaste.ready')).rows.length === 1
    await until(ready)

    relay.child.kill(signal)
    expect(await relay.ended).toEqual({ code: 0, stderr: '' })
    expect(relay.events.at(-1)).toMatchObject({ event: 'relay-stopped' })
  },
)

test('the second signal ends a relay that cannot finish', TIMEOUT, async () => {
  await using database = await createDatabase()
  using relay = relayOn(database.url)
  await relay.said('relay-on-duty')
  const blocker = await database.pool.connect()
  try {
    await blocker.query('begin')
    await blocker.query('lock table posthaste.ticks in access exclusive mode')
    await until(async () => {
      const { rows } = await database.pool.query(
        `select 1 from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query ~ 'relay_cycle'`,
      )
      return rows.length > 0
    })
    relay.child.kill('SIGINT')
    await relay.said('relay-stopping')
    relay.child.kill('SIGINT')
    expect(await relay.ended).toEqual({ code: 1, stderr: '' })
    expect(relay.events.map(({ event }) => event)).not.toContain('relay-stopped')
  } finally {
    blocker.release(true)
  }
})

test('two relays: one is on duty, and the other takes over when it is killed', TIMEOUT, async () => {
  await using database = await createDatabase()
  using first = relayOn(database.url)
  await first.said('relay-on-duty')
  using second = relayOn(database.url)
  await second.said('relay-started')
  first.child.kill('SIGKILL')
  await second.said('relay-on-duty')
  await stopped(second.child)
})

test('relay tells people in lines they can read', TIMEOUT, async () => {
  await using database = await createDatabase()
  const child = spawnCli(['relay', '--url', database.url])
  let out = ''
  child.stdout!.on('data', (chunk) => (out += chunk))
  await until(() => out.includes('relay-on-duty'), { timeoutMs: 30_000 })
  await stopped(child)
  expect(out).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}relay-started host=\S+ port=\d+ database=\S+ pid=\d+$/m)
})

async function stopped(child: ChildProcess): Promise<void> {
  const ended = once(child, 'close')
  child.kill('SIGTERM')
  await ended
}
