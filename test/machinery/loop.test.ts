import { afterEach, expect, test, vi } from 'vitest'
import { Loop, UNTIL_WOKEN } from '../../src/machinery/loop.ts'

const loops: Loop[] = []
afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(loops.splice(0).map((loop) => loop.stop()))
})

function looping(...args: ConstructorParameters<typeof Loop>): Loop {
  const loop = new Loop(...args)
  loops.push(loop)
  return loop
}

test('a wake-up cuts a rest short', async () => {
  const steps = vi.fn(async () => UNTIL_WOKEN)
  const loop = looping(steps)
  loop.start()
  await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(1))
  loop.wake()
  await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(2))
})

test('a wake-up during a step is seen by a step that begins after it', async () => {
  const first = Promise.withResolvers<number>()
  const steps = vi.fn(() => (steps.mock.calls.length === 1 ? first.promise : Promise.resolve(UNTIL_WOKEN)))
  const loop = looping(steps)
  loop.start()
  await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(1))
  loop.wake()
  first.resolve(UNTIL_WOKEN)
  await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(2))
})

test('a step never runs beside itself, however often it is woken', async () => {
  let running = 0
  let most = 0
  let steps = 0
  const loop = looping(async () => {
    most = Math.max(most, ++running)
    steps += 1
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
    return 0
  })
  loop.start()
  for (let i = 0; i < 100; i++) {
    loop.wake()
    loop.start()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(steps).toBeGreaterThan(10)
  expect(most).toBe(1)
})

test('no error ends it, thrown or rejected, and each pause is longer up to the limit', async () => {
  const pauses: number[] = []
  let last = performance.now()
  let healed = false
  const loop = looping(
    (() => {
      pauses.push(performance.now() - last)
      last = performance.now()
      if (pauses.length === 1) throw undefined
      if (pauses.length < 7) return Promise.reject(new Error('down'))
      healed = true
      return Promise.resolve(UNTIL_WOKEN)
    }) as () => Promise<number>,
    { backoff: { minMs: 4, maxMs: 32 }, onError: () => void failAgain() },
  )
  loop.start()
  await vi.waitFor(() => expect(healed).toBe(true))
  expect(pauses.at(-1)).toBeGreaterThan(14)
  expect(pauses.at(-1)).toBeLessThan(2_000)
})

function failAgain(): never {
  throw new Error('the reporter fails too')
}

test('a wake-up does not make what fails fail faster', async () => {
  const steps = vi.fn(async () => {
    throw new Error('down')
  })
  const loop = looping(steps, { backoff: { minMs: 60_000, maxMs: 60_000 } })
  loop.start()
  await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(1))
  for (let i = 0; i < 10; i++) {
    loop.wake()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(steps).toHaveBeenCalledTimes(1)
})

test('stop aborts the step under way, waits for it, and cuts rests and pauses short', async () => {
  let begun = false
  let ended = false
  const loop = looping(async (signal) => {
    begun = true
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    await new Promise((resolve) => setImmediate(resolve))
    ended = true
    return 60_000
  })
  loop.start()
  await vi.waitFor(() => expect(begun).toBe(true))
  await loop.stop()
  expect(ended).toBe(true)

  const failing = looping(() => Promise.reject(new Error('down')), { backoff: { minMs: 60_000, maxMs: 60_000 } })
  failing.start()
  await new Promise((resolve) => setImmediate(resolve))
  await failing.stop()
})

test('it may be started again, also before a stop has come to its end', async () => {
  const steps = vi.fn(async () => UNTIL_WOKEN)
  const loop = looping(steps)
  loop.start()
  await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(1))
  const stopped = loop.stop()
  loop.start()
  await stopped
  await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(2))
  expect(loop.running).toBe(true)
  await loop.stop()
  await loop.stop()
  expect(loop.running).toBe(false)
})

test('a rest longer than a timer can count is not a rest of nothing', async () => {
  for (const rest of [2 ** 31, 1e15, Number.MAX_VALUE]) {
    const steps = vi.fn(async () => rest)
    const loop = looping(steps)
    loop.start()
    await vi.waitFor(() => expect(steps).toHaveBeenCalledTimes(1))
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(steps).toHaveBeenCalledTimes(1)
  }
})
