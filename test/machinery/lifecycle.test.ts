import { expect, test, vi } from 'vitest'
import { Lifecycle } from '../../src/machinery/lifecycle.ts'

function bench(start: (signal: AbortSignal) => Promise<void> | void = () => {}) {
  const story: string[] = []
  const lifecycle = new Lifecycle<{ timeoutMs: number }>({
    async start(signal) {
      story.push('start')
      await start(signal)
      story.push('started')
    },
    async stop(options) {
      story.push(options ? `stop ${options.timeoutMs}` : 'stop')
      await new Promise((resolve) => setImmediate(resolve))
      story.push('stopped')
    },
  })
  return { lifecycle, story }
}

test('twice is once, for start and for stop', async () => {
  const { lifecycle, story } = bench()
  await lifecycle.stop()
  await Promise.all([lifecycle.start(), lifecycle.start()])
  await lifecycle.start()
  await Promise.all([lifecycle.stop({ timeoutMs: 7 }), lifecycle.stop()])
  await lifecycle.stop()
  expect(story).toEqual(['start', 'started', 'stop 7', 'stopped'])
})

test('a start during a stop begins after it', async () => {
  const { lifecycle, story } = bench()
  await lifecycle.start()
  const stopped = lifecycle.stop()
  await lifecycle.start()
  await stopped
  expect(lifecycle.running).toBe(true)
  expect(story).toEqual(['start', 'started', 'stop', 'stopped', 'start', 'started'])
})

test('a stop during a start interrupts it', async () => {
  const { lifecycle, story } = bench(
    (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  )
  const started = lifecycle.start()
  await vi.waitFor(() => expect(story).toEqual(['start']))
  await lifecycle.stop()
  await started
  expect(story).toEqual(['start', 'started', 'stop', 'stopped'])
  expect(lifecycle.running).toBe(false)
})

test('a start that was stopped before it began does nothing', async () => {
  const { lifecycle, story } = bench()
  await lifecycle.start()
  const stopped = lifecycle.stop()
  void lifecycle.start()
  await lifecycle.stop()
  await stopped
  expect(story.filter((word) => word === 'start')).toHaveLength(1)
})

test('a start that fails is cleaned up, told, and may be tried again', async () => {
  let broken = true
  const { lifecycle, story } = bench(() => {
    if (broken) throw new Error('no database')
  })
  await expect(lifecycle.start()).rejects.toThrow('no database')
  expect(lifecycle.running).toBe(false)
  broken = false
  await lifecycle.start()
  await lifecycle.stop()
  expect(story).toEqual(['start', 'stop', 'stopped', 'start', 'started', 'stop', 'stopped'])
})
