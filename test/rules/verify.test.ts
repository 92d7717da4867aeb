import { describe, expect, test } from 'vitest'
import { type HandledRecord, handledRecord, Judge } from '../../src/rules/verify.ts'

const LOG = Array.from({ length: 12 }, (_, n) => ({
  id: `m${n}`,
  key: n === 11 ? null : `k${n % 3}`,
  position: `${n + 1}`,
}))
const RECORDS: readonly HandledRecord[] = LOG.map(({ id, key, position }) => ({
  group: 'g',
  messageId: id,
  key,
  position,
}))

function judged(records: readonly HandledRecord[], { repeats = false, excused = [] as string[] } = {}) {
  const judge = new Judge('g', { repeats, most: 100 })
  for (const [n, record] of records.entries()) judge.record({ ...record, line: n + 1 })
  for (const entry of LOG) judge.message(entry, excused.includes(entry.id))
  judge.end()
  return judge.faults.map(({ fault, messageId, line }) => ({ fault, messageId, line }))
}

describe('records of a group', () => {
  test('have no fault when every message is there, once, those of a key in order', () => {
    expect(judged(RECORDS)).toEqual([])
    const otherwiseMixed = RECORDS.toSorted((a, b) => (a.key ?? '').localeCompare(b.key ?? ''))
    expect(judged(otherwiseMixed)).toEqual([])
  })

  test.each(RECORDS.map((_, n) => n))('are missed, whichever it is: %i', (n) => {
    expect(judged(RECORDS.toSpliced(n, 1))).toEqual([{ fault: 'missing', messageId: `m${n}`, line: null }])
    expect(judged(RECORDS.toSpliced(n, 1), { excused: [`m${n}`] })).toEqual([])
  })

  test('are doubled, wherever the second one stands', () => {
    expect(judged([...RECORDS, RECORDS[4]!])).toEqual([{ fault: 'doubled', messageId: 'm4', line: 13 }])
    expect(judged(RECORDS.toSpliced(5, 0, RECORDS[4]!))).toEqual([{ fault: 'doubled', messageId: 'm4', line: 6 }])
    expect(judged([...RECORDS, RECORDS[4]!], { repeats: true })).toEqual([])
  })

  test('are out of order within a key, and one that moved is one fault', () => {
    const moved = (from: number, to: number) => RECORDS.toSpliced(from, 1).toSpliced(to, 0, RECORDS[from]!)
    expect(judged(moved(3, 11))).toEqual([{ fault: 'out-of-order', messageId: 'm6', line: 6 }])
    expect(judged(moved(9, 0))).toEqual([{ fault: 'out-of-order', messageId: 'm9', line: 1 }])
    expect(judged(moved(11, 0))).toEqual([])
    expect(judged(moved(3, 4))).toEqual([])
  })

  test('are unknown, or misplaced', () => {
    expect(judged([...RECORDS, { group: 'g', messageId: 'x', key: 'k0' }])).toEqual([
      { fault: 'unknown', messageId: 'x', line: 13 },
    ])
    expect(judged(RECORDS.with(2, { ...RECORDS[2]!, key: 'k0' }))).toEqual([
      { fault: 'misplaced', messageId: 'm2', line: 3 },
    ])
    expect(judged(RECORDS.with(2, { ...RECORDS[2]!, position: '9' }))).toEqual([
      { fault: 'misplaced', messageId: 'm2', line: 3 },
    ])
    expect(judged(RECORDS.map(({ position: _, ...rest }) => rest))).toEqual([])
  })
})

test('a line is a record when it names a group and a message', () => {
  expect(
    handledRecord('{"group":"g","key":7,"messageId":"ABC","position":12,"at":"2026-01-01T00:00:00Z","more":1}'),
  ).toEqual({
    group: 'g',
    key: '7',
    messageId: 'abc',
    position: '12',
    at: '2026-01-01T00:00:00Z',
  })
  for (const line of ['', '{', '{}', '[]', 'null', '{"group":"g","key":"k"}', '{"group":"g","messageId":"m","key":{}}'])
    expect(handledRecord(line)).toBeUndefined()
})
