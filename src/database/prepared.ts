import { type ClientParts, type PgClient, partsOf } from './pool.ts'

// Clients seen to talk to the server process that greeted them: one process for life, no pooler between.
const direct = new WeakSet<object>()

/** Tells which server process answered. A pooler's clients are greeted with a key that is not the process', and differ. */
export function answeredBy(client: PgClient | object, pid: number): void {
  if (pid === (client as ClientParts).processID) direct.add(client)
}

/** Only a session's own statements may be prepared: a pooler's would turn up in another session. */
export function isDirect(client: object): boolean {
  return direct.has(client)
}

/** Somebody has thrown the session's statements away (DISCARD ALL): what is prepared there may not stay. */
export function mistrust(client: object): void {
  direct.delete(client)
}

/** The server process of a client that is known to be direct. */
export function pidOf(client: PgClient): number | undefined {
  return direct.has(client) ? (partsOf(client).processID ?? undefined) : undefined
}

const names = new Map<string, string>()
const NAMES = 1_000

/** One name per text: the same statement of two schemas is two, and pg refuses one name for both. */
export function nameOf(text: string, name: string): string | undefined {
  const known = names.get(text)
  if (known !== undefined || names.size >= NAMES) return known
  const unique = `posthaste_${name}_${names.size}`
  names.set(text, unique)
  return unique
}
