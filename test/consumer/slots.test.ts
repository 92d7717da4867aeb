import { expect, test } from 'vitest'
import { Slots, type Taken } from '../../src/consumer/slots.ts'
import { until } from '../support/until.ts'

interface Take {
  tell(taken: Taken): void
  end(taken: Taken): void
}

/** Slots whose takes are told and ended by the test. */
function bench(concurrency: number, mayRest = true, mostClaims = concurrency) {
  const takes: Take[] = []
  const errors: unknown[] = []
  const slots = new Slots({
    concurrency,
    mayRest: () => mayRest,
    mostClaims: () => mostClaims,
    onError: (error) => void errors.push(error),
    take: (tell) => new Promise((resolve) => takes.push({ tell, end: resolve })),
  })
  return { slots, takes, errors }
}

const FULL = { asked: 5, claimed: 5 }
const PART = { asked: 5, claimed: 2 }
const NONE = { asked: 5, claimed: 0 }
const settled = () => new Promise((resolve) => setImmediate(resolve))

test('a wake starts one slot, and only a full take starts another', async () => {
  const { slots, takes } = bench(3)
  slots.wake()
  slots.wake()
  expect(takes).toHaveLength(1)
  takes[0]!.tell(FULL)
  expect(takes).toHaveLength(2)
  takes[1]!.tell(PART)
  expect(takes).toHaveLength(2)
})

test('never more than concurrency', async () => {
  const { slots, takes } = bench(2)
  slots.wake()
  takes[0]!.tell(FULL)
  takes[1]!.tell(FULL)
  slots.wake()
  expect(takes).toHaveLength(2)
  expect(slots.busy).toBe(2)
})

test('a wake during a claim that brings nothing is followed by a claim that begins after it', async () => {
  const { slots, takes } = bench(1)
  slots.wake()
  slots.wake()
  takes[0]!.tell(NONE)
  takes[0]!.end(NONE)
  await until(() => takes.length === 2)
  takes[1]!.tell(NONE)
  takes[1]!.end(NONE)
  await settled()
  expect(takes).toHaveLength(2)
  expect(slots.busy).toBe(0)
})

test('a wake while every slot is busy with handlers is not forgotten', async () => {
  const { slots, takes } = bench(1)
  slots.wake()
  takes[0]!.tell(PART)
  slots.wake()
  takes[0]!.end(PART)
  await until(() => takes.length === 2)
})

test('a take that was not full ends the slot, unless nobody would wake it', async () => {
  for (const [mayRest, takesAfter] of [
    [true, 1],
    [false, 2],
  ] as const) {
    const { slots, takes } = bench(1, mayRest)
    slots.wake()
    takes[0]!.tell(PART)
    takes[0]!.end(PART)
    await settled()
    await settled()
    expect(takes).toHaveLength(takesAfter)
  }
})

test('after close nothing begins, and idle waits for what is under way', async () => {
  const { slots, takes } = bench(2)
  slots.wake()
  takes[0]!.tell(FULL)
  slots.close()
  slots.wake()
  expect(takes).toHaveLength(2)
  takes[0]!.end(FULL)
  takes[1]!.end(FULL)
  await slots.idle()
  expect(takes).toHaveLength(2)
})

test('no more claims are under way than may be, and the next begins when one is answered', async () => {
  const { slots, takes } = bench(5, true, 2)
  slots.wake()
  for (let answered = 0; answered < 4; answered += 1) {
    await settled()
    takes[answered]!.tell(FULL)
  }
  await settled()
  expect(slots.busy).toBe(5)
  expect(takes).toHaveLength(5)
  for (const take of takes.splice(0)) take.end(FULL)
  await settled()
  expect(takes).toHaveLength(2)
  takes[0]!.tell(FULL)
  await settled()
  expect(takes).toHaveLength(3)
})

test('slots that wait for their turn when the slots are closed claim nothing and end at once', async () => {
  const { slots, takes } = bench(5, true, 1)
  slots.wake()
  for (let answered = 0; answered < 3; answered += 1) {
    takes[answered]!.tell(FULL)
    await settled()
  }
  for (const take of takes.slice(0, 3)) take.end(FULL)
  await settled()
  expect(slots.busy).toBe(4)
  slots.close()
  await settled()
  expect(slots.busy).toBe(1)
  takes[3]!.tell(NONE)
  takes[3]!.end(NONE)
  await slots.idle()
  expect(takes).toHaveLength(4)
})
