import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { createDatabase } from '../support/database.ts'
import { firstLine, ROOT } from '../support/process.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/until.ts'
import { judge, shopOn, TABLES } from './shop.ts'

const ROLES = ['producer', 'producer', 'relay', 'relay', 'consumer', 'consumer'] as const
const SEED = Number(process.env.SEED ?? Date.now() % 100_000)
const KILLS = Number(process.env.KILLS ?? 15)

it(`producers, relays and consumers are killed ${KILLS} times at random: nothing is lost, doubled or phantom, nothing is a dead letter (seed ${SEED})`, async () => {
  await using database = await createDatabase()
  await database.pool.query(TABLES)
  await declare(database.url)
  const random = seeded(SEED)
  const actors = await Promise.all(ROLES.map((role, n) => startActor(role, database.url, SEED * 10 + n)))
  onTestFinished(() => {
    for (const { child } of actors) child.kill('SIGKILL')
  })

  for (let kills = 0; kills < KILLS; kills += 1) {
    await sleep(random() * 300) // the moment is what the seed decides
    const n = Math.floor(random() * actors.length)
    await kill(actors[n]!.child)
    actors[n] = spawnActor(actors[n]!.role, database.url, SEED * 10 + 100 + kills)
    expect((await judge(database.pool)).difference, 'the account is balanced at every moment').toBe(0)
  }

  for (const { role, child } of actors) if (role === 'producer') await kill(child)
  await until(async () => (await judge(database.pool)).waiting === 0, {
    timeoutMs: 30_000,
    what: 'the queues to be empty',
  })
  const verdict = await judge(database.pool)
  expect(verdict).toMatchObject({ lost: 0, doubled: 0, phantom: 0, difference: 0 })
  expect(verdict.orders).toBeGreaterThan(50)
  const { rows } = await database.pool.query('select count(*)::int as n from posthaste.dead_letters')
  expect(rows[0].n).toBe(0)
}, 120_000)

async function declare(url: string): Promise<void> {
  const shop = shopOn(url)
  await shop.posthaste.declare()
  await shop.close()
}

async function startActor(...of: Parameters<typeof spawnActor>) {
  const actor = spawnActor(...of)
  await firstLine(actor.child)
  return actor
}

function spawnActor(role: (typeof ROLES)[number], url: string, seed: number) {
  const child = spawn(process.execPath, [join(ROOT, 'test/chaos/actor.ts'), role, url, String(seed)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  })
  return { role, child }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) throw new Error(`an actor ended by itself with ${child.exitCode}`)
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
