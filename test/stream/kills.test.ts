import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { lonelyServer, noLonelyServer } from '../support/database.ts'
import { firstLine } from '../support/process.ts'
import { seeded } from '../support/random.ts'
import { bench, disordered, EFFECT } from './bench.ts'

const CHILD = fileURLToPath(new URL('child.ts', import.meta.url))
const SEED = 11

type Bench = Awaited<ReturnType<typeof bench>>

async function child({ url, stream, exchange }: Bench): Promise<ChildProcess> {
  const reader = spawn(process.execPath, [CHILD, JSON.stringify({ url, stream, exchange })])
  onTestFinished(() => void reader.kill('SIGKILL'))
  expect(await firstLine(reader)).toBe('ready')
  return reader
}

test(`readers that are killed at any moment lose, double and disorder nothing (seed ${SEED})`, async () => {
  const b = await bench()
  const relay = b.process()
  await relay.start()
  const random = seeded(SEED)
  const accountOf = (n: number) => `a${n % 30}`
  let published = 0
  let over = false
  const publishing = async () => {
    while (!over && published < 4_000) {
      await b.publish(40, accountOf, published)
      published += 40
      await sleep(50)
    }
  }
  const killing = async () => {
    const readers = [await child(b), await child(b)]
    for (let kills = 0; kills < 6; kills += 1) {
      await sleep(random() * 400)
      readers.shift()!.kill('SIGKILL')
      readers.push(await child(b))
    }
    over = true
  }
  await Promise.all([publishing(), killing()])
  await b.handled(published, b.stream, 40_000)
  const effects = await b.effects()
  expect(effects.length).toBe(published)
  expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(published)
  expect(disordered(effects)).toEqual([])
}, 90_000)

test.skipIf(noLonelyServer)(
  'a restart of the server loses, doubles and disorders nothing',
  async () => {
    await using lonely = await lonelyServer()
    const b = await bench({}, { ...lonely, drop: async () => {}, [Symbol.asyncDispose]: async () => {} })
    const one = b.process()
    one.consumer(b.stream, { batchSize: 20, concurrency: 3 }).on(b.Moved, async ({ id, payload }, { tx }) => {
      await tx.query(EFFECT, [b.stream, id, payload.account, payload.n])
    })
    await one.start()
    await b.publish(500)
    await b.handled(50)
    await lonely.server.restart()
    await b.publish(500, undefined, 500)
    await b.handled(1_000, b.stream, 40_000)
    const effects = await b.effects()
    expect(new Set(effects.map(({ message_id }) => message_id)).size).toBe(1_000)
    expect(effects.length).toBe(1_000)
    expect(disordered(effects)).toEqual([])
    await one.stop()
  },
  90_000,
)
