import { Cron } from 'croner'
import { InvalidSchedule } from '../errors.ts'

/** What becomes of ticks that passed while no relay was there. */
export type MissedTicks = 'skip' | 'once' | 'all'

/** When a recurring message is published. */
export interface Recurrence {
  readonly cron: string
  readonly timeZone: string
  readonly missed: MissedTicks
}

/** What is to be published now, oldest first, and when to look again; no `next` when no tick will ever come. */
export interface DueTicks {
  readonly ticks: readonly Date[]
  readonly next: Date | undefined
}

/** A tick that is so late was missed; less is a relay that was busy. */
export const MISSED_AFTER_MS = 60_000

/** Of a long outage so many ticks are published at a time. */
const AT_ONCE = 1_000

/** The first tick after an instant; an `InvalidSchedule` for what is no cron expression or no time zone, or will never come. */
export function firstTick(name: string, { cron, timeZone }: Recurrence, after: Date): Date {
  const next = tickAfter(parsed(name, cron, timeZone), after)
  if (next === undefined) throw new InvalidSchedule(name, `cron "${cron}" never fires`)
  return next
}

/**
 * The ticks to publish for a schedule whose tick `from` has come. One that is less than a minute late is published under any policy;
 * of those that were missed, `skip` publishes none, `once` the last, `all` each.
 */
export function dueTicks(
  name: string,
  { cron, timeZone, missed }: Recurrence,
  { from, now }: { from: Date; now: Date },
): DueTicks {
  const job = parsed(name, cron, timeZone)
  const border = new Date(now.getTime() - MISSED_AFTER_MS)
  if (missed === 'all' || from > border) return allOf(job, from, now)
  const last = missed === 'once' ? [lastTick(job, from, border)] : []
  const { ticks, next } = allOf(job, tickAfter(job, border), now)
  return { ticks: [...last, ...ticks], next }
}

function allOf(job: Cron, from: Date | undefined, now: Date): DueTicks {
  const ticks: Date[] = []
  let next: Date | undefined = from
  while (next !== undefined && next <= now && ticks.length < AT_ONCE) {
    ticks.push(next)
    next = tickAfter(job, next)
  }
  return { ticks, next }
}

// Looks back over ever longer spans, so that a tick a second over a year is not walked through.
function lastTick(job: Cron, from: Date, now: Date): Date {
  for (let spanMs = 1_000; now.getTime() - spanMs > from.getTime(); spanMs *= 2) {
    const tick = tickAfter(job, new Date(now.getTime() - spanMs))
    if (tick !== undefined && tick <= now) return lastFrom(job, tick, now)
  }
  return lastFrom(job, from, now)
}

function lastFrom(job: Cron, first: Date, now: Date): Date {
  let last = first
  for (let next = tickAfter(job, last); next !== undefined && next <= now; next = tickAfter(job, last)) last = next
  return last
}

function tickAfter(job: Cron, after: Date): Date | undefined {
  return job.nextRun(after) ?? undefined
}

function parsed(name: string, cron: string, timeZone: string): Cron {
  if (!isTimeZone(timeZone)) throw new InvalidSchedule(name, `there is no time zone "${timeZone}"`)
  try {
    return new Cron(cron, { timezone: timeZone, paused: true })
  } catch (cause) {
    throw new InvalidSchedule(name, `"${cron}" is no cron expression: ${reasonOf(cause)}`, { cause })
  }
}

function reasonOf(cause: unknown): string {
  return (cause as Error).message.replace(/^CronPattern: /, '').replace(/\.$/, '')
}

function isTimeZone(timeZone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone }) !== undefined
  } catch {
    return false
  }
}
