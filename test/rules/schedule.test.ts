import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dueTicks, firstTick, type MissedTicks } from '../../src/rules/schedule.ts'

const at = (text: string) => new Date(`${text}Z`)
const berlin = (cron: string, missed: MissedTicks = 'all') => ({ cron, timeZone: 'Europe/Berlin', missed })
const utc = (cron: string, missed: MissedTicks) => ({ cron, timeZone: 'UTC', missed })

describe('summer time', () => {
  test('a tick in the hour that does not exist comes once, when the clock has sprung', () => {
    const due = dueTicks('s', berlin('30 2 * * *'), { from: at('2026-03-28T01:30'), now: at('2026-03-31T12:00') })
    expect(due.ticks).toEqual([
      at('2026-03-28T01:30'),
      at('2026-03-29T01:00'),
      at('2026-03-30T00:30'),
      at('2026-03-31T00:30'),
    ])
  })

  test('a tick in the hour that comes twice comes once, and an hourly one keeps its beat', () => {
    const daily = dueTicks('s', berlin('30 2 * * *'), { from: at('2026-10-24T00:30'), now: at('2026-10-26T12:00') })
    expect(daily.ticks).toEqual([at('2026-10-24T00:30'), at('2026-10-25T00:30'), at('2026-10-26T01:30')])
    const hourly = dueTicks('s', berlin('0 * * * *'), { from: at('2026-10-24T23:00'), now: at('2026-10-25T03:00') })
    expect(hourly.ticks.map((tick) => tick.getUTCHours())).toEqual([23, 0, 1, 2, 3])
  })
})

describe('ticks that were missed', () => {
  const outage = { from: at('2026-01-01T00:00'), now: at('2026-01-01T05:10') }

  test('all: each is published', () => {
    expect(dueTicks('s', utc('0 * * * *', 'all'), outage)).toMatchObject({
      ticks: { length: 6 },
      next: at('2026-01-01T06:00'),
    })
  })

  test('once: the last is', () => {
    expect(dueTicks('s', utc('0 * * * *', 'once'), outage)).toEqual({
      ticks: [at('2026-01-01T05:00')],
      next: at('2026-01-01T06:00'),
    })
  })

  test('skip: none is; what a busy relay is less than a minute late for was not missed', () => {
    expect(dueTicks('s', utc('0 * * * *', 'skip'), outage)).toEqual({ ticks: [], next: at('2026-01-01T06:00') })
    const late = { from: at('2026-01-01T05:00'), now: at('2026-01-01T05:00:59') }
    expect(dueTicks('s', utc('0 * * * *', 'skip'), late).ticks).toEqual([at('2026-01-01T05:00')])
  })

  test('all: a long outage is made up for in parts', () => {
    const { ticks, next } = dueTicks('s', utc('* * * * * *', 'all'), {
      from: at('2026-01-01T00:00'),
      now: at('2026-01-02T00:00'),
    })
    expect(ticks).toHaveLength(1_000)
    expect(next!.getTime()).toBe(ticks.at(-1)!.getTime() + 1_000)
  })

  test('once: a year of seconds is not walked through', () => {
    const { ticks } = dueTicks('s', utc('* * * * * *', 'once'), {
      from: at('2025-01-01T00:00'),
      now: at('2026-01-01T00:00'),
    })
    expect(ticks).toHaveLength(61)
    expect(ticks[0]).toEqual(at('2025-12-31T23:59'))
  })

  test('once publishes the last tick that all misses and what is not missed, skip only that; the next is the same', () => {
    const crons = ['*/7 * * * *', '13 4 * * *', '0 0 1 * *', '5,50 */3 * * 1-5', '30 2 * * 0']
    fc.assert(
      fc.property(
        fc.constantFrom(...crons),
        fc.constantFrom('UTC', 'America/New_York', 'Australia/Lord_Howe'),
        fc.integer({ min: 0, max: 525_600 }),
        fc.integer({ min: 0, max: 3_000 }),
        (cron, timeZone, minute, span) => {
          const start = new Date(Date.UTC(2026, 0, 1) + minute * 60_000)
          const from = firstTick('s', { cron, timeZone, missed: 'all' }, start)
          const now = new Date(from.getTime() + span * 60_000)
          const all = dueTicks('s', { cron, timeZone, missed: 'all' }, { from, now })
          const once = dueTicks('s', { cron, timeZone, missed: 'once' }, { from, now })
          const border = now.getTime() - 60_000
          const [old, recent] = [
            all.ticks.filter((tick) => tick.getTime() <= border),
            all.ticks.filter((tick) => tick.getTime() > border),
          ]
          expect(once).toEqual({ ticks: [...old.slice(-1), ...recent], next: all.next })
          expect(dueTicks('s', { cron, timeZone, missed: 'skip' }, { from, now })).toEqual({
            ticks: recent,
            next: all.next,
          })
        },
      ),
      { numRuns: 50 },
    )
  })
})

test.each([
  ['0 0 30 2 *', 'UTC', 'cron "0 0 30 2 *" never fires'],
  ['every day', 'UTC', '"every day" is no cron expression'],
  ['61 * * * *', 'UTC', '"61 * * * *" is no cron expression'],
  ['0 0 * * *', 'Mars/Phobos', 'there is no time zone "Mars/Phobos"'],
])('%j in %j is refused', (cron, timeZone, reason) => {
  expect(() => firstTick('s', { cron, timeZone, missed: 'once' }, at('2026-01-01T00:00'))).toThrow(
    expect.objectContaining({ code: 'INVALID_SCHEDULE', message: expect.stringContaining(reason) }),
  )
})
