import type { Envelope } from './rules/message.ts'

/** For so long an exchange that was there passes for one that is. */
const FRESH_MS = 1_000

/**
 * The exchanges that a session published to a moment ago. To look for one costs a fifth of the insert, and one that is removed
 * within the second might as well have been removed right after.
 */
export class SeenExchanges {
  readonly #sessions = new WeakMap<object, Map<string, number>>()

  /** Was a message like this let in by this session just now? */
  isFresh(session: object, envelope: Envelope): boolean {
    const at = this.#sessions.get(session)?.get(kindOf(envelope))
    return at !== undefined && performance.now() - at < FRESH_MS
  }

  note(session: object, envelope: Envelope): void {
    const seen = this.#sessions.get(session) ?? new Map<string, number>()
    this.#sessions.set(session, seen.set(kindOf(envelope), performance.now()))
  }
}

// A stream may refuse what has no key. No name holds a line break.
function kindOf({ exchange, key }: Envelope): string {
  return key === undefined ? `${exchange}\n` : exchange
}
