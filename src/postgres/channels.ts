import type { Query } from './queryable.ts'
import type { Tables } from './tables.ts'

/** Where publishers that find the relay asleep knock; migrations/functions/03_wake_up.sql says the same name. */
export function relayChannel({ schema }: Tables): string {
  return `posthaste.${schema}`
}

/** Where the relay tells that a queue got something; the same as `queue_channel` in SQL. */
export function queueChannel({ schema }: Tables, queue: number): string {
  return `posthaste.${schema}.${queue}`
}

/** Where it is told that a queue was paused, resumed or deleted, or flows by other rules; the same as `flow_channel` in SQL. */
export function flowChannel({ schema }: Tables): string {
  return `posthaste.${schema}.flow`
}

/** Wakes the relay on duty, whichever process it is in: for what was put into `scheduled` outside of its cycle. */
export function notifyRelay(t: Tables): Query<never> {
  return notify(relayChannel(t))
}

/** The payload is empty: a notification is a hint, and equal ones of one transaction are folded into one. */
export function notify(channel: string): Query<never> {
  return { text: `select pg_notify($1, '')`, values: [channel] }
}

export function listen(channel: string): Query<never> {
  return { text: `listen ${quoted(channel)}`, values: [] }
}

export function unlisten(channel: string): Query<never> {
  return { text: `unlisten ${quoted(channel)}`, values: [] }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
