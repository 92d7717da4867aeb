import { expect, test } from 'vitest'
import { Thrift } from '../../src/machinery/thrift.ts'

function thriftAt(everyMs: number, mostMs: number) {
  const clock = { ms: 0 }
  return { clock, thrift: new Thrift({ everyMs, mostMs }, () => clock.ms) }
}

test('what was never done is due, and what costs next to nothing is due at the shortest interval', () => {
  const { clock, thrift } = thriftAt(1_000, 60_000)
  expect(thrift.due).toBe(true)
  thrift.took(0.5)
  clock.ms = 999
  expect(thrift.due).toBe(false)
  clock.ms = 1_000
  expect(thrift.due).toBe(true)
})

test('what is long takes a two-hundredth of the time, and is had now and then however long it is', () => {
  const { clock, thrift } = thriftAt(1_000, 60_000)
  thrift.took(100)
  expect(thrift.everyMs).toBe(20_000)
  clock.ms = 20_000
  expect(thrift.due).toBe(true)
  for (let i = 0; i < 3; i += 1) thrift.took(1_000)
  expect(thrift.everyMs).toBe(60_000)
})

test('one that was long by chance changes nothing, three do', () => {
  const { thrift } = thriftAt(1_000, 60_000)
  thrift.took(1)
  thrift.took(400)
  thrift.took(400)
  expect(thrift.everyMs).toBe(1_000)
  thrift.took(300)
  expect(thrift.everyMs).toBe(60_000)
})

test('somebody to whom it is worth more has it sooner', () => {
  const { clock, thrift } = thriftAt(0, 60_000)
  thrift.took(100)
  clock.ms = 5_000
  expect([thrift.due, thrift.isDue(0.02), thrift.dueAt]).toEqual([false, true, 20_000])
})

test('one that fails is not taken for a short one', async () => {
  const { thrift } = thriftAt(0, 600_000)
  expect(await thrift.spend(async () => 'seen')).toBe('seen')
  for (let n = 0; n < 3; n += 1) thrift.took(500)
  const failing = thrift.spend(async () => {
    throw new Error('no connection')
  })
  await expect(failing).rejects.toThrow('no connection')
  expect(thrift.everyMs).toBe(100_000)
})
