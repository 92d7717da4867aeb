import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { InvalidOption } from './errors.ts'
import { eraseMessage, isPast } from './postgres/erasure.ts'
import { milliseconds, parseOptions, shape } from './rules/options.ts'

/** Who asks for it, and how long it may take. */
export interface EraseOptions {
  /** Who does it, for the journal. @default an unknown hand */
  readonly by?: string | undefined
  /** How long to wait for transactions that may be writing the payload down elsewhere just now, in milliseconds. @default 5_000 */
  readonly timeoutMs?: number | undefined
}

/** What was erased. */
export interface Erased {
  /** Whether anything was known of the message. */
  readonly found: boolean
  /** Copies that dead letter routes had published: their payloads are gone too. */
  readonly copies: readonly string[]
  /** A transaction that was open meanwhile has not ended; what it kept of the payload is not looked for: erase again later. */
  readonly underWay: boolean
}

const OPTIONS = shape((z) => z.strictObject({ by: z.string().optional(), timeoutMs: milliseconds().default(5_000) }))
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const AGAIN_MS = 25

/**
 * Takes the payload of a message away wherever it stands. A handler that was given it before may be writing a dead letter just now,
 * which nobody sees yet: so it is looked for once more when every transaction that was open has ended.
 */
export async function erase(context: Context, messageId: string, options: EraseOptions = {}): Promise<Erased> {
  const { by = null, timeoutMs } = parseOptions(OPTIONS, options)
  if (!UUID.test(messageId)) throw new InvalidOption('messageId', 'it is not a uuid')
  const { tables } = context
  const deadline = performance.now() + timeoutMs
  const [first] = await ask(context, eraseMessage(tables, { messageId, by, note: true }))
  const { found, copies, xid } = first!
  if (!found) return { found, copies, underWay: false }
  for (;;) {
    const [{ past } = { past: false }] = await ask(context, isPast(tables, xid))
    if (past || performance.now() > deadline) {
      const [again] = await ask(context, eraseMessage(tables, { messageId, by, note: false }))
      return { found, copies: again!.copies, underWay: !past }
    }
    await sleep(AGAIN_MS)
  }
}
