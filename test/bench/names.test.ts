import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const PEERS = [
  'publish.tx.16',
  'publish.bulk',
  'drain.noop',
  'drain.effect',
  'drain.100',
  'latency.idle.p50',
  'latency.idle.p99',
  'fanout.10',
  'idle.statements',
  'producers.256',
  'spike.producer.p99',
  'memory',
  'backlog.5M',
  'held.10min',
]
const CORE = [
  'publish.tx',
  'route',
  'drain.noop',
  'latency.idle.p50',
  'latency.idle.p99',
  'wakeup.32',
  'idle.statements',
  'hot.rows',
]
const QUEUES = [
  'backlog.ready',
  'held.claim.p99',
  'status.10M',
  'fair.p99',
  'limits.exceeded',
  'routes.10k',
  'plain.unchanged',
]

const STREAMS = [
  'stream.read',
  'stream.effect',
  'stream.publish.10',
  'stream.wal',
  'stream.memory',
  'stream.scan',
  'stream.held',
  'sensors',
]

test.each([
  ['streams', STREAMS],
  ['queues', QUEUES],
  ['peers', PEERS],
  ['core', CORE],
])('the bench reports every target of the suite %s under its name, run or not', async (suite, names) => {
  const { stdout } = await promisify(execFile)(process.execPath, ['bench/main.ts', suite, '--names', '--json'])
  const { targets } = JSON.parse(stdout.trim().split('\n').at(-1)!)

  expect(targets.map(({ name }: { name: string }) => name)).toEqual(names)
  for (const target of targets) {
    expect(target).toEqual({
      name: target.name,
      ours: null,
      baseline: null,
      unit: expect.any(String),
      ratio: null,
      target: expect.any(Number),
      met: null,
      runs: 0,
      reason: expect.any(String),
    })
  }
})

test('the bench refuses a workload it does not know with a usage error', async () => {
  const refused = promisify(execFile)(process.execPath, ['bench/main.ts', 'core/nothing'])
  await expect(refused).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('publish.tx') })
})
