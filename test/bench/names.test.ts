import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const TARGETS = [
  'publish.tx',
  'route',
  'drain.noop',
  'latency.idle.p50',
  'latency.idle.p99',
  'wakeup.32',
  'idle.statements',
  'hot.rows',
]

test('the bench reports every target of the suite under its name, run or not', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['bench/main.ts', 'core', '--names', '--json'])
  const { targets } = JSON.parse(stdout.trim().split('\n').at(-1)!)

  expect(targets.map(({ name }: { name: string }) => name)).toEqual(TARGETS)
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
