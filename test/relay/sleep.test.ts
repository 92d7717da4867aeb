import pg from 'pg'
import { expect } from 'vitest'
import type { Session } from '../../src/database.ts'
import { pgDatabase } from '../../src/databases/pg.ts'
import { tablesOf } from '../../src/postgres/tables.ts'
import { Sleep } from '../../src/relay/sleep.ts'
import { createDatabase } from '../support/database.ts'
import { proxyBefore } from '../support/proxy.ts'
import { onTestFinished, test } from '../support/side-by-side.ts'
import { until } from '../support/until.ts'
import { sleepLock } from './bench.ts'

async function sleeper(url: string, sessionUrl = url) {
  const pool = new pg.Pool({ connectionString: url })
  onTestFinished(() => pool.end())
  const database = pgDatabase(pool)
  const session = (await database.session!({ applicationName: 'sleeper', url: sessionUrl })) as Session
  onTestFinished(() => session.close())
  const story: string[] = []
  const sleep = new Sleep({
    tables: tablesOf('posthaste'),
    database,
    onSettled: () => void story.push('settled'),
    onBroken: (_, error) => void story.push(`broken: ${error}`),
  })
  return { sleep, session, story, pool }
}

/** As a publisher that is open holds it. */
async function heldShared(pool: pg.Pool): Promise<() => Promise<void>> {
  const client = await pool.connect()
  await client.query('begin')
  await client.query(`select pg_advisory_xact_lock_shared(posthaste.lock_class(), posthaste.lock_object('sleep'))`)
  return async () => {
    await client.query('commit')
    client.release()
  }
}

test('a request is taken back however soon after it was sent, also before the server has it', async () => {
  await using db = await createDatabase()
  await using slow = await proxyBefore(db.url, { delayMs: 40 })
  const { sleep, session, story, pool } = await sleeper(db.url, slow.url)
  const release = await heldShared(pool)
  for (let round = 0; round < 10; round++) {
    sleep.ask(session)
    await new Promise((resolve) => setTimeout(resolve, round * 8))
    await sleep.risen()
    expect(sleep.state).toBe('awake')
    expect(await sleepLock(pool, 'asked for')).toBe(false)
  }
  expect(sleep.cancels).toBe(10)
  await release()
  sleep.ask(session)
  await until(() => sleep.state === 'asleep')
  expect(sleep.cancels).toBe(0)
  expect(story).toEqual(['settled'])
})

test('whether a request is granted or cancelled first, the lock is free when the sleeper has risen', async () => {
  await using db = await createDatabase()
  const { sleep, session, story, pool } = await sleeper(db.url)
  for (let round = 0; round < 60; round++) {
    const release = await heldShared(pool)
    sleep.ask(session)
    const released = new Promise((resolve) => setTimeout(resolve, round / 6)).then(release)
    await Promise.all([sleep.risen(), released])
    expect(sleep.state).toBe('awake')
    expect(await sleepLock(pool, 'held')).toBe(false)
    expect(await sleepLock(pool, 'asked for')).toBe(false)
  }
  expect(story.filter((word) => word !== 'settled')).toEqual([])
})
